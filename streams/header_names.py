"""The names of our own headers on records that wait, were claimed or redriven, and how a number is read from one."""

from streams.records import Headers

RETURN_TOPIC = "penstock-return-topic"
DUE = "penstock-due"
ROUND = "penstock-round"
FIRST_SEEN = "penstock-first-seen"
ORIGIN = "penstock-origin"
PRODUCERS_KEY = "penstock-key"
CLAIM = "penstock-claim"
"""The value lies in the claim store under this sha256; what travels is a `schemas.claim.Claim`."""
CLAIM_MISSED = "penstock-claim-missed"
"""When a claim's file was first not to be had, in milliseconds since the epoch."""
CUT = "penstock-cut"
"""What a dead letter had to leave out to fit into its topic."""
REDRIVE_OF = "penstock-redrive-of"
"""The dead letter that this record was redriven from."""


def header_text(headers: Headers, name: str) -> str:
    """A header's text, or nothing where it is absent or no UTF-8."""
    for key, value in headers:
        if key == name and value is not None:
            return value.decode(errors="replace")
    return ""


def header_int(headers: Headers, name: str, default: int) -> int:
    """A header's number, or the default where it is absent or none."""
    text = header_text(headers, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else default
