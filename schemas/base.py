"""What every wire model shares: frozen, closed to unknown fields, finite numbers; JSON text and money as types."""

import functools
import hashlib
import json
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Annotated, Any, NewType, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

JsonText = NewType("JsonText", str)
"""A JSON value as text. Values that no stage may change travel as text: immutable, hashed and stored as they are."""

MONEY_PLACES = Decimal("0.000000001")
Money = Annotated[Decimal, Field(max_digits=18, decimal_places=9)]
"""US dollars as Decimal(18, 9): a token of the cheapest models costs 1e-8."""


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{moment.isoformat()} lies before the year 1 or after the year 9999 in UTC") from error


Time = Annotated[datetime, AfterValidator(_in_utc)]
"""A time that somebody outside gives: in UTC, whatever zone it was written in; without a zone it is UTC already."""


class Record(BaseModel):
    """A frozen wire model; an unknown field is an error, not something to drop."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def made(cls, **fields: Any) -> Self:
        """A record of values that our own code has just computed: all fields are given, none is validated.

        For the hot path: measured at a tenth of `model_construct`, which fills in defaults and looks for aliases.
        """
        return cls.of(fields)

    @classmethod
    def of(cls, fields: dict[str, Any]) -> Self:
        """The same from a mapping, which from now on belongs to the record."""
        record = _new(cls)
        _set_values(record, fields)
        _set_given(record, _all_fields(cls))
        return record

    def but(self, **changes: Any) -> Self:
        """The same record with these fields changed, unvalidated: a third of what `model_copy` takes."""
        return self.of({**self.__dict__, **changes})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """What is not there: of a record that was made, what pydantic keeps beside the fields, which is nothing.

            To set these two for each record took two fifths of the time to make one.
            """
            return None if name in _BESIDE else super().__getattr__(name)


_BESIDE = frozenset({"__pydantic_extra__", "__pydantic_private__"})
_new = object.__new__
_set_values = BaseModel.__dict__["__dict__"].__set__
_set_given = BaseModel.__dict__["__pydantic_fields_set__"].__set__


@functools.cache
def _all_fields(model: type[Record]) -> set[str]:
    """The names of a model's fields: one set for all its records, which nothing changes (a copy has its own)."""
    return set(model.model_fields)


def money(amount: Decimal) -> Decimal:
    """Round to the nine places that money has on the wire (banker's rounding, so sums don't drift)."""
    return amount.quantize(MONEY_PLACES, rounding=ROUND_HALF_EVEN)


def json_text(value: Any) -> JsonText:
    """Canonical JSON text: sorted keys, no blanks, no escapes beyond what JSON needs.

    Raises:
        ValueError: the value holds NaN, infinity, a lone surrogate, or something that is no JSON value.
    """
    if type(value) is dict and all(type(part) is str for pair in value.items() for part in pair):
        return _flat(value)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, RecursionError, UnicodeEncodeError) as error:
        raise ValueError(f"not a JSON value: {error}") from error
    return JsonText(text)


def _flat(texts: dict[str, str]) -> JsonText:
    """The same of an object of texts, as most inputs and answers are: for a tenth of the price."""
    try:
        return JsonText(orjson.dumps(texts, option=orjson.OPT_SORT_KEYS).decode())
    except TypeError as error:
        raise ValueError(f"not a JSON value: {error}") from error


_HASHED_IN_PLACE = 2047
"""Bytes that are hashed without letting other threads run."""
_WORTH_A_SWITCH = 64 * 1024


def sha256_hex(text: str | bytes) -> str:
    """SHA-256 of text (as UTF-8) or bytes, 64 hex digits.

    From 2,048 bytes on hashlib lets other threads run meanwhile. Waking one costs as much as hashing some kilobytes,
    so what is longer is hashed in pieces, unless it is so long that the others should run.
    """
    data = text.encode() if isinstance(text, str) else text
    if not _HASHED_IN_PLACE < len(data) < _WORTH_A_SWITCH:
        return hashlib.sha256(data).hexdigest()
    digest = hashlib.sha256()
    for start in range(0, len(data), _HASHED_IN_PLACE):
        digest.update(data[start : start + _HASHED_IN_PLACE])
    return digest.hexdigest()


def to_the_microsecond(ms: float) -> float:
    """Milliseconds to three places, as rows and paths hold them: `round` takes five times as long."""
    return int(ms * 1000 + 0.5) / 1000


def to_millis(moment: datetime) -> int:
    """Milliseconds since the epoch, as a broker's timestamps are."""
    return int(moment.timestamp() * 1000)


def from_millis(millis: int) -> datetime:
    """A broker's timestamp, milliseconds since the epoch, as UTC."""
    return datetime.fromtimestamp(millis / 1000, tz=UTC)
