"""A local model's answer to one request: plan under the instructions (kept), then parts for the text at hand. Pure.

Greedy unless the request asks for a temperature; then choices are drawn from the probabilities at that temperature,
while the log probabilities reported stay those of temperature 1.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any, assert_never

import numpy as np
import orjson
from numpy.typing import NDArray

from penstock.local.model_server import extraction
from penstock.local.model_server.extraction import Candidate
from penstock.local.model_server.models import Model
from penstock.local.model_server.prompt import Prompt, Turn, understand
from penstock.local.model_server.schema import (
    Cite,
    Confidence,
    Constant,
    Fields,
    Find,
    Items,
    Name,
    Pick,
    Plan,
    Planner,
    Sentence,
    YesNo,
    check,
    pick,
)
from penstock.local.model_server.tokens import Choice, Fixed, Part, Tree

_YES_NO = Tree(["false", "true"])


@dataclass(frozen=True, slots=True, eq=False)
class Brief:
    """What one model has understood of some instructions; `plan` is None for free text."""

    prompt: Prompt
    plan: Plan | None


@lru_cache(maxsize=256)
def brief(model: Model, instructions: tuple[Turn, ...], response_format: bytes) -> Brief:
    """Read the instructions: milliseconds the first time, nothing after that. Raises SchemaError for a bad schema."""
    prompt = understand(instructions, response_format)
    check(prompt.wanted.schema or {})
    if prompt.wanted.form == "json":
        return Brief(prompt, Planner(prompt, prompt.wanted.schema, model.read).plan(prompt.wanted.schema))
    return Brief(prompt, pick(prompt.cards, model.read, as_json=False) if prompt.cards else None)


@dataclass(frozen=True, slots=True)
class Answering:
    """One answer in the making."""

    prompt: Prompt
    text: str
    temperature: float
    random: Random
    known: Mapping[str, Any] = field(default_factory=dict)
    """What tools have said, by name."""

    def parts(self, plan: Plan | None) -> Iterator[Part]:
        """The answer."""
        match plan:
            case None:
                yield from self._freely()
            case Constant(text):
                yield Fixed(text)
            case Pick():
                yield from self._picked(plan)
            case Fields(fields):
                yield from self._object(fields)
            case Items():
                yield from self._array(plan)
            case Confidence(labelled):
                sure = 0.5 if labelled is None else float(labelled.reader.probabilities(self.text).max())
                yield Fixed(f"{sure:.2f}")
            case YesNo(about):
                yield self._yes_or_no(about)
            case Name() | Find() | Sentence() | Cite():
                yield from self._looked_up(plan)
            case _:
                assert_never(plan)

    def _looked_up(self, plan: Name | Find | Sentence | Cite) -> Iterator[Part]:
        match plan:
            case Name():
                return self._one_of(extraction.keywords(self.text), '"unknown"', text=True)
            case Find():
                found = plan.finder(self.text, plan.about)
                return self._one_of([c for c in found if plan.allows(c.text)], plan.absent, text=plan.text)
            case Sentence(about, longest):
                found = extraction.best_sentences(self._material(), self._sought(about))
                return self._one_of([c for c in found if len(c.text) <= longest], '""', text=True)
            case Cite():
                return self._one_of(self._cited(), '""', text=True)

    def _yes_or_no(self, about: str) -> Choice:
        fit = max((c.score for c in extraction.best_sentences([self.text], about)), default=-2.0)
        yes = 1 / (1 + math.exp(2.0 - 2.0 * fit))
        return self._choose(_YES_NO, np.array([1 - yes, yes]))

    def _picked(self, plan: Pick) -> Iterator[Part]:
        choice = self._choose(plan.tree, plan.reader.probabilities(self.text))
        yield from (Fixed('"'), choice, Fixed('"')) if plan.quoted else (choice,)

    def _object(self, fields: tuple[tuple[str, Plan], ...]) -> Iterator[Part]:
        yield Fixed("{")
        for place, (name, plan) in enumerate(fields):
            yield Fixed(("," if place else "") + orjson.dumps(name).decode() + ":")
            yield from (Fixed(self._said(name)),) if self._fits(name, plan) else self.parts(plan)
        yield Fixed("}")

    def _fits(self, name: str, plan: Plan) -> bool:
        """Whether a tool has said this, and it can stand here."""
        if name not in self.known or isinstance(plan, Fields | Items | Constant):
            return False
        return not isinstance(plan, Pick) or self._said(name).strip('"') in plan.tree.options

    def _said(self, name: str) -> str:
        return orjson.dumps(self.known[name]).decode()

    def _array(self, plan: Items) -> Iterator[Part]:
        wanted = 0 if plan.cites and not self.prompt.sources else max(plan.least, 1)
        yield Fixed("[")
        for place in range(max(wanted, plan.least)):
            yield from (Fixed(","),) if place else ()
            yield from self.parts(plan.item)
        yield Fixed("]")

    def _one_of(self, found: list[Candidate], absent: str, *, text: bool) -> Iterator[Part]:
        """One of the candidates in JSON, or `absent` (already JSON)."""
        if not found:
            yield Fixed(absent)
            return
        written = [orjson.dumps(c.text).decode()[1:-1] if text else c.text for c in found]
        choice = self._choose(Tree(written), extraction.weigh(found))
        yield from (Fixed('"'), choice, Fixed('"')) if text else (choice,)

    def _freely(self) -> Iterator[Part]:
        """No JSON, no labels: a topic of its own making if it was to classify, else the sentence that fits best."""
        found = extraction.keywords(self.text) if self.prompt.classify else self._best()
        if not found:
            yield Fixed("I don't know.")
            return
        choice = self._choose(Tree([c.text for c in found]), extraction.weigh(found))
        yield from (Fixed("This is about "), choice, Fixed(".")) if self.prompt.classify else (choice,)
        if not self.prompt.classify and self.prompt.sources:
            yield Fixed(f" [{self._source_of(choice.text)}]")

    def _best(self) -> list[Candidate]:
        return extraction.best_sentences(self._material(), self.text)

    def _sought(self, about: str) -> str:
        """Sources are searched for what the text asks; the text itself for what the field is about."""
        return f"{self.text} {about}" if self.prompt.sources else about

    def _material(self) -> list[str]:
        """What an answer is taken from: the source that fits best, else the text itself."""
        ranked = self._cited()
        return [source.text for source in self.prompt.sources if ranked and source.id == ranked[0].text] or [self.text]

    def _cited(self) -> list[Candidate]:
        """The sources, the one that fits best first."""
        return extraction.best_sources({source.id: source.text for source in self.prompt.sources}, self.text)

    def _source_of(self, sentence: str) -> str:
        return next((source.id for source in self.prompt.sources if sentence in source.text), self.prompt.sources[0].id)

    def _choose(self, tree: Tree, probabilities: NDArray[np.float64]) -> Choice:
        if self.temperature <= 0:
            return Choice(tree, probabilities, int(probabilities.argmax()))
        heated = np.cumsum(np.exp(np.log(probabilities / probabilities.max()) / self.temperature))
        drawn = int(np.searchsorted(heated, self.random.random() * heated[-1], side="right"))
        return Choice(tree, probabilities, min(drawn, len(heated) - 1))
