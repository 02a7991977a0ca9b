"""The names of our own headers on records that wait, and how a number is read from one."""

from streams.records import Headers

RETURN_TOPIC = "penstock-return-topic"
DUE = "penstock-due"
ROUND = "penstock-round"
FIRST_SEEN = "penstock-first-seen"
ORIGIN = "penstock-origin"
PRODUCERS_KEY = "penstock-key"


def header_text(headers: Headers, name: str) -> str:
    """A header's text, or nothing where it is absent or no UTF-8."""
    found = next((value for key, value in headers if key == name and value is not None), b"")
    return found.decode(errors="replace")


def header_int(headers: Headers, name: str, default: int) -> int:
    """A header's number, or the default where it is absent or none."""
    text = header_text(headers, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else default
