"""Writes Avro with functions made from the schemas: one expression for each field, joined in order.

The bytes are those that fastavro writes. Its writer asks the schema again for every value and tries the branches of
every union: for the records and rows of a job that was a fifth of the worker's CPU, and straight-line code takes a
quarter of it.
"""

import functools
import itertools
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from typing import Any, Final

Write = Callable[[Any], bytes]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_NANOS: Final = 10**18
_WIDE: Final = Context(prec=100_000)  # so that no digit is rounded away before it is looked at
_COMMON_LONGS: Final = range(-1, 4096)


class _Longs(dict[int, bytes]):
    """An integer's bytes: zigzag, seven bits in each; the common ones are there already."""

    def __missing__(self, number: int) -> bytes:
        if not -(2**63) <= number < 2**63:
            raise OverflowError(f"{number} does not fit into the 64 bits of an Avro long")
        left, written = (number << 1) ^ (number >> 63), bytearray()
        while left > 127:
            written.append(left & 127 | 128)
            left >>= 7
        written.append(left)
        return bytes(written)


LONG: Final = _Longs()
LONG.update({number: LONG[number] for number in _COMMON_LONGS})


@functools.lru_cache(1024)  # the rows of a stage, and what is said of a job, share their times
def _micros(moment: datetime) -> bytes:
    """A time's bytes: microseconds since 1970, which are eight bytes from 1978 to 4253."""
    since = moment - _EPOCH
    number = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    n = number << 1
    if not 1 << 49 <= n < 1 << 56:
        return LONG[number]
    low = (n & 127 | 128, n >> 7 & 127 | 128, n >> 14 & 127 | 128, n >> 21 & 127 | 128)
    return bytes((*low, n >> 28 & 127 | 128, n >> 35 & 127 | 128, n >> 42 & 127 | 128, n >> 49))


def _decimal(amount: Decimal) -> bytes:
    """Money's bytes: billionths as a big-endian integer."""
    nanos = amount.scaleb(9, _WIDE)
    number = int(nanos)
    if number != nanos or not -_MOST_NANOS < number < _MOST_NANOS:
        raise ValueError(f"{amount} is no decimal of 18 digits, 9 of them behind the point")
    written = number.to_bytes((number.bit_length() + 8) // 8, "big", signed=True)
    return LONG[len(written)] + written


def _doubles(numbers: tuple[float, ...]) -> bytes:
    """An array of doubles: its values stand side by side."""
    count = len(numbers)
    return LONG[count] + struct.pack(f"<{count}d", *numbers) + b"\0" if count else b"\0"


class _Maker:
    """Writes the source of the functions, one for each record that the schema holds."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "LONG": LONG,
            "DOUBLE": struct.Struct("<d").pack,
            "micros": _micros,
            "decimal": _decimal,
            "doubles": _doubles,
        }
        self._fresh = (f"x{number}" for number in itertools.count())

    def parts(self, schema: Any, value: str) -> list[str]:  # noqa: PLR0911 -- one line per kind of type
        """Expressions whose bytes, joined, are those of `value`."""
        x = next(self._fresh)
        match schema:
            case "string":
                return [f"LONG[len({x} := {value}.encode())]", x]
            case "bytes":
                return [f"LONG[len({x} := {value})]", x]
            case "long":
                return [f"LONG[{value}]"]
            case "double":
                return [f"DOUBLE({value})"]
            case "boolean":
                return [f"LONG[-1 if {value} else 0]"]  # the byte 1, the byte 0
            case str() as named:
                return [f"{named}[{value}]" if isinstance(self.names.get(named), Mapping) else f"{named}({value})"]
            case list() as union:
                return [self._union(union, value, x)]
            case _:
                return [self._complex(schema, value, x)]

    def _one(self, schema: Any, value: str) -> str:
        return " + ".join(self.parts(schema, value))

    def _union(self, union: list[Any], value: str, x: str) -> str:
        kinds = [kind for kind in union if kind != "null"]
        if len(union) != 2 or len(kinds) != 1:
            raise TypeError(f"a union is of null and one other type, found {union!r}")
        null, other = f"LONG[{union.index('null')}]", f"LONG[{union.index(kinds[0])}]"
        return f"{null} if ({x} := {value}) is None else {other} + ({self._one(kinds[0], x)})"

    def _complex(self, schema: dict[str, Any], value: str, x: str) -> str:  # noqa: PLR0911 -- as above
        match schema:
            case {"logicalType": "timestamp-micros"}:
                return f"micros({value})"
            case {"logicalType": "decimal", "scale": 9, "precision": 18}:
                return f"decimal({value})"
            case {"type": "array", "items": "double"}:
                return f"doubles({value})"
            case {"type": "array", "items": items}:
                each = f"[{self._one(items, f'{x}i')} for {x}i in {x}]"
                return f'LONG[len({x})] + b"".join({each}) + b"\\0" if ({x} := {value}) else b"\\0"'
            case {"type": "map", "values": values}:
                pair = f"{self._one('string', f'{x}k')} + {self._one(values, f'{x}v')}"
                each = f"[{pair} for {x}k, {x}v in {x}.items()]"
                return f'LONG[len({x})] + b"".join({each}) + b"\\0" if ({x} := {value}) else b"\\0"'
            case {"type": "enum", "name": name, "symbols": symbols}:
                self.names[name] = {symbol: LONG[number] for number, symbol in enumerate(symbols)}
                return f"{name}[{value}]"
            case {"type": "record", "name": name, "fields": fields}:
                self._record(name, fields)
                return f"{name}({value})"
            case _:
                raise TypeError(f"no way is known to write {schema!r}")

    def _record(self, name: str, fields: list[dict[str, Any]]) -> None:
        parts = [part for field in fields for part in self.parts(field["type"], f"fields[{field['name']!r}]")]
        self.lines += [f"def {name}(value):", " fields = value.__dict__", ' return b"".join((']
        self.lines += [f"  {part}," for part in parts] + [" ))"]


def writer(schema: Any) -> Write:
    """What writes a record (a model's instance) of this schema: a record schema, as JSON.

    Raises:
        TypeError: the schema holds a type that no wire model has.
    """
    maker = _Maker()
    maker.parts(schema, "value")
    exec("\n".join(maker.lines), maker.names)  # noqa: S102 -- made from our own released schemas, as dataclasses are
    made: Write = maker.names[schema["name"]]
    return made
