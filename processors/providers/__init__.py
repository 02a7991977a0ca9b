"""Calls to model providers: one port, its dialects, its transports. The only place that knows HTTP."""

from processors.models import Dialect
from processors.providers.answers import Completion, Ended, ProviderFailure, ToolCall
from processors.providers.parsing import parse

__all__ = ["Completion", "Dialect", "Ended", "ProviderFailure", "ToolCall", "parse"]
