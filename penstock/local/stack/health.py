"""Asks each component whether it serves, in its own language, and says in a sentence what is wrong."""

import http.client
import socket
import ssl
import struct
from typing import Final

from penstock.local.ports import HOST
from penstock.local.stack.logs import display
from penstock.local.stack.plan import Component

TIMEOUT_S: Final = 2.0

# ApiVersions, version 0, correlation id 1, no client id: what every client asks first, before it authenticates.
_API_VERSIONS: Final = struct.pack(">hhih", 18, 0, 1, -1)


def problem(component: Component, timeout_s: float = TIMEOUT_S) -> str | None:
    """Return None if the component answers as it should, else the sentence that says what it does instead."""
    try:
        if component.health_path is None:
            found = _ask_kafka(component.port, timeout_s, tls=component.tls)
        else:
            found = _ask_http(component.port, component.health_path, timeout_s)
    except (OSError, http.client.HTTPException) as error:
        found = f"does not answer: {_reason(error, timeout_s)}"
    return found and f"the {component.title} at {component.address} {found}; see {display(component.log)}"


def _ask_http(port: int, path: str, timeout_s: float) -> str | None:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(200).decode(errors="replace").strip()
    finally:
        connection.close()
    return None if response.status == 200 else f"answers {path} with {response.status}: {body or response.reason}"


def _ask_kafka(port: int, timeout_s: float, *, tls: bool) -> str | None:
    """Ask for the API versions. A mere connection proves nothing: the kernel accepts it for a process that hangs."""
    with socket.create_connection((HOST, port), timeout=timeout_s) as plain, _encrypted(plain, tls=tls) as connection:
        connection.sendall(struct.pack(">i", len(_API_VERSIONS)) + _API_VERSIONS)
        answer = b""
        while len(answer) < 10 and (more := connection.recv(4096)):
            answer += more
    if len(answer) < 10:
        return "closes the connection instead of answering"
    _, correlation, error = struct.unpack_from(">iih", answer)
    return None if (correlation, error) == (1, 0) else f"does not speak Kafka's protocol (error code {error})"


def _encrypted(plain: socket.socket, *, tls: bool) -> socket.socket:
    if not tls:
        return plain
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is asked whether it serves, not who it is
    return context.wrap_socket(plain)


def _reason(error: Exception, timeout_s: float) -> str:
    match error:
        case ConnectionRefusedError():
            return "connection refused"
        case TimeoutError():
            return f"nothing within {timeout_s:g} s"
        case _:
            return str(error) or type(error).__name__
