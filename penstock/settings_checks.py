"""Checks of single settings that pydantic's own constraints can't state; pure, each raises ValueError and says why."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr

MAX_UNFINISHED: Final = 1_500
"""Records in work at once per partition that fit in an offset commit's metadata."""

_SECRET: Final = re.compile(r"password|secret|jaas|key[._]pem|oauthbearer[._]config")
# The delivery promises rest on these; the runner sets them itself.
_OURS: Final = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "group.id",
        "group.instance.id",
        "isolation.level",
        "transaction.timeout.ms",
        "transactional.id",
    }
)


def url(value: str) -> str:
    """Accept an http(s) address; a trailing slash is dropped."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be an address like http://127.0.0.1:8123")
    if parts.username or parts.password:
        raise ValueError("must not hold a user or password: they have settings of their own")
    return value.rstrip("/")


def bootstrap_servers(value: str) -> str:
    """Accept host:port, several separated by commas."""
    for server in value.split(","):
        host, _, port = server.strip().rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65_536:
            raise ValueError(f"must be host:port[,host:port…]; {server.strip()!r} is not")
    return ",".join(server.strip() for server in value.split(","))


def concurrency(value: Mapping[str, int], defaults: Mapping[str, int]) -> dict[str, int]:
    """Fill in the stages that are not named; refuse unknown stages and what the commit's metadata can't hold."""
    for stage, count in value.items():
        if stage not in defaults:
            raise ValueError(f"{stage!r} is no stage; stages are {', '.join(defaults)}")
        if not 1 <= count <= MAX_UNFINISHED:
            raise ValueError(f"{stage} = {count} is outside 1 to {MAX_UNFINISHED}")
    return dict(defaults) | dict(value)


def kafka(value: Mapping[str, SecretStr]) -> dict[str, SecretStr]:
    """Name the keys as librdkafka does (dots), and refuse those that the delivery promises rest on."""
    named = {key.lower().replace("_", "."): secret for key, secret in value.items()}
    if ours := sorted(_OURS & named.keys()):
        hint = " (the setting is called `broker`)" if ours[0] == "bootstrap.servers" else ""
        raise ValueError(f"{ours[0]} can't be set here: what Penstock promises rests on it{hint}")
    return named


def is_secret(key: str) -> bool:
    """Whether a librdkafka setting holds a credential."""
    return bool(_SECRET.search(key.lower()))


def distinct(ports: Mapping[str, int]) -> None:
    """Refuse two components on one port."""
    seen: dict[int, str] = {}
    for name, port in ports.items():
        if port in seen:
            raise ValueError(f"{seen[port]} and {name} are both {port}; they must differ")
        seen[port] = name


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Turn TOML's nested tables (`security.protocol = …`) back into dotted keys and text values, as Kafka has them."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat
