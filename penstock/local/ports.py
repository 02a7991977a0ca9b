"""Knows which local ports are free, and who holds one that is not. Everything here is about 127.0.0.1."""

import contextlib
import socket
from collections.abc import Mapping
from typing import Final

import psutil

from penstock.local.errors import PortTakenError

HOST: Final = "127.0.0.1"


def free_port() -> int:
    """Return a port that nothing listens on now. Nobody reserves it: bind soon."""
    return free_ports(1)[0]


def free_ports(count: int) -> tuple[int, ...]:
    """Return that many different free ports."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return tuple(each.getsockname()[1] for each in sockets)


def is_free(port: int) -> bool:
    """Whether a server could listen on the port."""
    with socket.socket() as probe:
        # As servers do, so that the remains of closed connections don't count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    # On macOS binding the loopback succeeds although another process listens on all addresses.
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) != 0


def require_free(ports: Mapping[str, int]) -> None:
    """Check that the ports can be listened on.

    Args:
        ports: Port by the name of the setting that changes it.

    Raises:
        PortTakenError: names the first that is taken, its setting, and the process that holds it if that can be seen.
    """
    for setting, port in ports.items():
        if not is_free(port):
            raise PortTakenError(
                f"port {port} is taken by {holder(port)}; stop that process, or choose another port with {setting} in "
                f"penstock.toml or PENSTOCK_{setting.upper()}"
            )


def holder(port: int) -> str:
    """Name the process that listens on a port, as well as this user may know it."""
    for process in psutil.process_iter(["name"]):
        # Asked one by one: the system-wide list needs root on macOS.
        with contextlib.suppress(psutil.Error):
            listening = (c.laddr for c in process.net_connections(kind="inet") if c.status == psutil.CONN_LISTEN)
            if any(getattr(address, "port", None) == port for address in listening):
                return f"{process.info['name']} (pid {process.pid})"
    return "a process of another user"
