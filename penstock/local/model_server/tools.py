"""Which tool a local model has called: one whose arguments stand in the text, else one that it must call. Pure.

A small extractor's way with tools: it knows no purpose, only what it finds. What a tool said is taken over into fields
of the answer that are called as the tool calls them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from penstock.local.model_server.extraction import best_sentences
from penstock.local.model_server.labels import Card
from penstock.local.model_server.models import Reader
from penstock.local.model_server.prompt import Prompt
from penstock.local.model_server.schema import Constant, Fields, Find, Plan, Planner
from penstock.local.model_server.wire import ChatMessage, ChatRequest, Function, NamedTool, RequestRefusedError


@dataclass(frozen=True, slots=True)
class Wish:
    """A function to be called, and the plan for its arguments."""

    name: str
    plan: Plan


def wish(chat: ChatRequest, prompt: Prompt, text: str, read: Callable[[tuple[Card, ...]], Reader]) -> Wish | None:
    """What the model wants to have called; nothing if it answers. Raises RequestRefusedError for an unknown tool."""
    functions = [tool.function for tool in chat.tools or ()]
    if not functions or chat.tool_choice == "none":
        return None
    plans = {
        one.name: Planner(prompt, one.parameters, read).plan(one.parameters or {"type": "object"}) for one in functions
    }
    if isinstance(chat.tool_choice, NamedTool):
        name = chat.tool_choice.function.name
        if name not in plans:
            raise RequestRefusedError(400, f"tool_choice names {name!r}, which is not in tools.", param="tool_choice")
        return Wish(name, plans[name])
    called = _called_since_the_question(chat.messages)
    new = [one for one in functions if one.name not in called]
    found = [one for one in new if _stands_in(text, plans[one.name])]
    if found:
        best = max(found, key=lambda one: _fit(one, text))
        return Wish(best.name, plans[best.name])
    if chat.tool_choice != "required":
        return None
    judged = [one for one in new if not _is_lookup(plans[one.name])] or new or functions
    best = max(judged, key=lambda one: _fit(one, text))
    return Wish(best.name, plans[best.name])


def told(messages: Sequence[ChatMessage]) -> Mapping[str, Any]:
    """What tools have said, by the names that they gave it; plain values of objects, the innermost last."""
    values: dict[str, Any] = {}
    for message in messages:
        if message.role == "tool":
            try:
                _gather(orjson.loads(message.text), values)
            except orjson.JSONDecodeError:
                continue
    return values


def _gather(value: Any, values: dict[str, Any]) -> None:
    if isinstance(value, dict):
        values.update({name: one for name, one in value.items() if isinstance(one, str | int | float | bool)})
        for one in value.values():
            _gather(one, values)


def _called_since_the_question(messages: Sequence[ChatMessage]) -> set[str]:
    last = max((place for place, one in enumerate(messages) if one.role == "user"), default=0)
    return {call.function.name for one in messages[last:] for call in one.tool_calls or ()}


def _is_lookup(plan: Plan) -> bool:
    """Whether all that is asked for is something to be found, not judged."""
    wanted = [part for _, part in plan.fields] if isinstance(plan, Fields) else []
    return any(isinstance(part, Find) for part in wanted) and all(isinstance(part, Find | Constant) for part in wanted)


def _stands_in(text: str, plan: Plan) -> bool:
    if not isinstance(plan, Fields) or not _is_lookup(plan):
        return False
    looked_up = [part for _, part in plan.fields if isinstance(part, Find)]
    return all(any(part.allows(one.text) for one in part.finder(text, part.about)) for part in looked_up)


def _fit(function: Function, text: str) -> float:
    return max((one.score for one in best_sentences([text], f"{function.name} {function.description}")), default=-9.0)
