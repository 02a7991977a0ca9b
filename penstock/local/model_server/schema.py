"""How a wanted JSON Schema becomes a plan: which field is a choice among labels, which is looked up in the text. Pure.

Of an object the required properties are filled, in the order of `properties`; all of them if `required` is absent.
Taken into account: `type` (also a list with "null"), `enum`, `const`, `anyOf`/`oneOf` (constants with descriptions
are labels; else the first alternative that is not null), `$ref` into `$defs`, `format` (date, date-time, email),
`minItems`, `minimum`, `maximum`, `maxLength`, `description`. What is beyond that is ignored, as a model would.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jsonschema_rs
import orjson

from penstock.local.model_server import extraction
from penstock.local.model_server.extraction import Finder
from penstock.local.model_server.labels import Card, choose_from, same
from penstock.local.model_server.models import Reader
from penstock.local.model_server.prompt import Prompt
from penstock.local.model_server.tokens import Tree

DEEPEST = 8
MOST_ITEMS = 16

_LABEL = re.compile(r"label|intent|categor|class|topic", re.IGNORECASE)
_CONFIDENCE = re.compile(r"confiden|probabilit|score|certain", re.IGNORECASE)
_CITATION = re.compile(r"citation|cited|source|chunk|doc(?:ument)?_?ids?$|reference_?ids?$", re.IGNORECASE)
_QUOTE = re.compile(r"quote|evidence|excerpt|passage", re.IGNORECASE)
_REFERENCE = re.compile(r"(?:_id|_number|_no|_code|reference)$", re.IGNORECASE)


_FINDERS: dict[str, Finder] = {"date": extraction.dates, "date-time": extraction.dates, "email": extraction.emails}


class SchemaError(ValueError):
    """The schema that an answer should follow is no JSON Schema."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same JSON."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Pick:
    """One of the labels on offer; `quoted` puts the JSON quotes around the options."""

    reader: Reader
    tree: Tree
    quoted: bool


@dataclass(frozen=True, slots=True)
class Name:
    """A label for which the prompt offers no names: the model makes one up from the text's own words."""


@dataclass(frozen=True, slots=True)
class Find:
    """What a finder finds in the text, or `absent` (JSON)."""

    finder: Finder
    about: str
    absent: str
    text: bool  # write it as a JSON string
    low: float | None = None
    high: float | None = None

    def allows(self, written: str) -> bool:
        """Whether what was found lies within the limits."""
        return (self.low is None or float(written) >= self.low) and (self.high is None or float(written) <= self.high)


@dataclass(frozen=True, slots=True)
class Sentence:
    """The sentence that fits best, from the sources if there are any."""

    about: str
    longest: int


@dataclass(frozen=True, slots=True)
class Cite:
    """The id of the source that fits best."""


@dataclass(frozen=True, slots=True)
class YesNo:
    """Whether the text speaks of what the field is about."""

    about: str


@dataclass(frozen=True, slots=True, eq=False)
class Confidence:
    """The probability of the answer's label; `pick` is None where there is no label."""

    pick: Pick | None


@dataclass(frozen=True, slots=True)
class Items:
    """An array: `least` items, one where that is 0; empty if it cites and there is nothing to cite."""

    item: "Plan"
    least: int
    cites: bool


@dataclass(frozen=True, slots=True)
class Fields:
    """An object."""

    fields: tuple[tuple[str, "Plan"], ...]


Plan = Constant | Pick | Name | Find | Sentence | Cite | YesNo | Confidence | Items | Fields


def pick(cards: tuple[Card, ...], read: Callable[[tuple[Card, ...]], Reader], *, as_json: bool) -> Pick:
    """A choice among cards, written as plain text or as JSON strings."""
    names = [orjson.dumps(card.name).decode()[1:-1] if as_json else card.name for card in cards]
    return Pick(read(cards), Tree(names), quoted=as_json)


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes the plan for one prompt and its schema."""

    prompt: Prompt
    root: Any
    read: Callable[[tuple[Card, ...]], Reader]

    def plan(self, schema: Any, name: str = "answer", depth: int = 0) -> Plan:
        """The plan for a part of the schema, found under the property `name`."""
        schema = self._resolve(schema)
        if depth > DEEPEST or not isinstance(schema, dict):
            return Constant("null")
        if "const" in schema:
            return Constant(orjson.dumps(schema["const"]).decode())
        offered = _offered(schema)
        if offered:
            return self._choice(offered)
        alternatives = schema.get("anyOf") or schema.get("oneOf") or []
        wanted = [part for part in alternatives if self._resolve(part) != {"type": "null"}]
        if wanted:
            found = self.plan(wanted[0], name, depth + 1)
            return (
                replace(found, absent="null") if len(wanted) < len(alternatives) and isinstance(found, Find) else found
            )
        return self._typed(schema, name, depth)

    def _typed(self, schema: dict[str, Any], name: str, depth: int) -> Plan:
        kinds = schema.get("type", "object" if "properties" in schema else "string")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        kind = next((kind for kind in kinds if kind != "null"), "null")
        about = f"{name} {schema.get('description', '')}"
        match kind:
            case "object":
                return self._object(schema, depth)
            case "array":
                item = self.plan(schema.get("items", {}), name, depth + 1)
                return Items(item, min(int(schema.get("minItems", 0)), MOST_ITEMS), bool(_CITATION.search(name)))
            case "number" | "integer":
                absent = "null" if "null" in kinds else "0"
                return _number(schema, name, about, absent)
            case "boolean":
                return YesNo(about)
            case _:
                return Constant("null") if kind == "null" else self._string(schema, name, about, kinds)

    def _string(self, schema: dict[str, Any], name: str, about: str, kinds: list[str]) -> Plan:
        absent = "null" if "null" in kinds else '""'
        finder = _FINDERS.get(str(schema.get("format"))) or (extraction.references if _REFERENCE.search(name) else None)
        if finder:
            return Find(finder, about, absent, text=True)
        if _CITATION.search(name) or (name == "id" and self.prompt.sources):
            return Cite()
        if _LABEL.search(name) and self.prompt.classify:
            return pick(self.prompt.cards, self.read, as_json=True) if self.prompt.cards else Name()
        # A quote must fit the question, not the name of its field.
        return Sentence("" if _QUOTE.search(name) else about, int(schema.get("maxLength", extraction.LONGEST_SENTENCE)))

    def _object(self, schema: dict[str, Any], depth: int) -> Fields:
        properties = schema.get("properties") or {}
        required = schema.get("required", list(properties))
        names = [name for name in properties if name in required]
        plans = [self.plan(properties[name], name, depth + 1) for name in names]
        labelled = next((plan for plan in plans if isinstance(plan, Pick)), None)
        plans = [Confidence(labelled) if isinstance(plan, Confidence) else plan for plan in plans]
        return Fields(tuple(zip(names, plans, strict=True)))

    def _choice(self, offered: list[tuple[Any, str]]) -> Plan:
        """A choice among constants; each is described by the schema, or else by the prompt."""
        if all(isinstance(value, str) and value for value, _ in offered):
            cards = choose_from([value for value, _ in offered], self.prompt.cards)
            said = {same(value): text for value, text in offered if text}
            cards = tuple(replace(card, description=said.get(same(card.name), card.description)) for card in cards)
            return pick(cards, self.read, as_json=True)
        written = dict.fromkeys(orjson.dumps(value).decode() for value, _ in offered)
        return Pick(self.read(choose_from(written, self.prompt.cards)), Tree(list(written)), quoted=False)

    def _resolve(self, schema: Any) -> Any:
        for _ in range(DEEPEST):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#"):
                return schema
            schema = self.root
            for step in reference[1:].strip("/").split("/"):
                schema = schema.get(step) if isinstance(schema, dict) else None
        return None


def check(schema: Any) -> None:
    """Raises SchemaError unless this is a JSON Schema; it is read as draft 2020-12, whatever it says it is."""
    try:
        # A `$schema` of its own would be looked up, over the network if it is an unknown one.
        jsonschema_rs.meta.validate(schema | {"$schema": "https://json-schema.org/draft/2020-12/schema"})
    except jsonschema_rs.ValidationError as error:
        raise SchemaError(f"/{'/'.join(map(str, error.instance_path))}: {error.message}") from error


def _number(schema: dict[str, Any], name: str, about: str, absent: str) -> Plan:
    if _CONFIDENCE.search(name):
        return Confidence(None)
    whole = schema.get("type") == "integer"
    finder = extraction.whole_numbers if whole else extraction.numbers
    return Find(finder, about, absent, text=False, low=schema.get("minimum"), high=schema.get("maximum"))


def _offered(schema: dict[str, Any]) -> list[tuple[Any, str]]:
    """The values that a schema allows, with descriptions where it has them."""
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return [(value, "") for value in schema["enum"]]
    for key in ("oneOf", "anyOf"):
        parts = schema.get(key)
        if isinstance(parts, list) and parts and all(isinstance(part, dict) and "const" in part for part in parts):
            return [(part["const"], str(part.get("description", ""))) for part in parts]
    return []
