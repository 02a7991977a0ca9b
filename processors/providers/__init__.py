"""Calls to model providers: one port, its dialects, its transports. The only place that knows HTTP."""
