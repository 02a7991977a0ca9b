"""Ends the processes of an embedded stack when the process that started them dies without doing so, even by SIGKILL.

`python -m penstock.local.stack.leash` reads one process per line (pid, time of birth) from standard input. The end of
the input means that the other side is gone, for the kernel closes a dead process's pipes.
"""

import sys

from penstock.local.process import Identity, stop_all


def main() -> None:
    """Wait for the other side to go, then end what it named."""
    fields = [line.split() for line in sys.stdin]
    stop_all((Identity(int(pid), float(created)) for pid, created in fields), limit_s=0)


if __name__ == "__main__":
    main()
