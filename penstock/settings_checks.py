"""Checks of single settings that pydantic's own constraints can't state, and the sentences for those that fail.

Each check is pure and raises ValueError, whose text follows the setting's name.
"""

import difflib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError

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


def explain(error: ValidationError, path: Path, env_prefix: str, known: list[str], overrides: Mapping[str, Any]) -> str:
    """Say what is wrong with settings: where each wrong value came from, and what is expected instead."""
    text = path.read_text() if path.is_file() else ""
    sentences = []
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        keys = [str(key) for key in problem["loc"]]
        name = ".".join(keys)
        what = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            what = "unknown setting" + nearest(name, known)
        where = _origin(keys, path, text, env_prefix, overrides)
        sentences.append(where + (f"{name}: {what}" if name else what))
    return "; ".join(sentences)


def _origin(keys: list[str], path: Path, text: str, env_prefix: str, overrides: Mapping[str, Any]) -> str:
    """Say where a wrong value came from, as far as that can be told."""
    if not keys or keys[0] in overrides:
        return ""
    variables = [name for name in os.environ if name.upper().partition("__")[0] == (env_prefix + keys[0]).upper()]
    if variables:
        return f"environment {variables[0]}: "
    pattern = re.compile(rf"^\s*\[?\s*[\"']?{re.escape(keys[-1]).replace('_', '[_.]')}\b", re.MULTILINE)
    match = pattern.search(text) or re.search(rf"^\s*\[?\s*{re.escape(keys[0])}\b", text, re.MULTILINE)
    return f"{path}, line {text.count(chr(10), 0, match.end()) + 1}: " if match else f"{path}: "


def nearest(name: str, known: list[str]) -> str:
    """Say which known name was probably meant, else which there are."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
