"""The embedded stack: broker, warehouse and model server as processes of this machine, under one supervisor.

For the command line `up`, `down` and `status`; for tests `embedded`. Knows processes, not what the components do.
"""

from penstock.local.errors import LocalExtraMissingError

try:
    import psutil  # noqa: F401 - whoever lacks the `local` extra gets a sentence, not a traceback from deep inside
except ImportError as error:
    raise LocalExtraMissingError("psutil") from error

from penstock.local.stack.control import down, up
from penstock.local.stack.embedded import EmbeddedStack, embedded
from penstock.local.stack.status import ComponentStatus, StackStatus, status

__all__ = ["ComponentStatus", "EmbeddedStack", "StackStatus", "down", "embedded", "status", "up"]
