"""Deterministic checks of what a model answered. A check that can't answer says unknown, never allow."""
