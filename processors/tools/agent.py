"""Agent steps: the model asks for tools, gets what they say or that it is unknown, and is asked again.

What a tool could not tell is labelled unknown in what the model reads, and the answer that rests on it is degraded:
validation finds the check `tools` unknown, so nothing downstream can take it for whole.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

import orjson

from processors.checks import strict_json
from processors.checks.strict_json import Parsed
from processors.control import ReadControl
from processors.policy.ladder import stopped
from processors.policy.recovery import backoff_s
from processors.providers.answers import ToolCall
from processors.providers.port import ChatMessage, Reply
from processors.settings import Agent
from processors.tools.definitions import Tool
from processors.tools.port import ToolAnswer, ToolCaller
from schemas.base import json_text, sha256_hex
from schemas.control import SwitchKind
from schemas.envelope import Head
from schemas.stages import ToolUse

LONGEST_WAIT_S: Final = 5.0
"""Seconds between two tries at most: meanwhile the job holds its place and the model's answer waits."""
LONGEST_S: Final = 300.0
"""Seconds that a conversation with tools may take: with its last answer it stays below what counts as stuck."""
OK, FAILED, REFUSED = "ok", "failed", "refused"


@dataclass(frozen=True, slots=True)
class Means:
    """What tools are called with. `sleep` waits seconds, `timer` counts them, `rng` gives a number from 0 up to 1."""

    caller: ToolCaller
    control: ReadControl
    clock: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    rng: Callable[[], float]
    timer: Callable[[], float] = time.perf_counter


@dataclass
class Steps:
    """The tools' part in one trip of one job through inference; `began` is when that began, on the timer."""

    means: Means
    head: Head
    tools: Mapping[str, Tool]
    limits: Agent
    left_s: Callable[[], float]
    began: float
    uses: list[ToolUse] = field(default_factory=list)
    taken: int = 0
    _known: dict[str, "_Used"] = field(default_factory=dict)
    _repeats: bool = False

    @property
    def over(self) -> bool:
        """Whether the model must answer now, with what it has."""
        steps_left, calls_left = self.limits.max_steps - self.taken, self.limits.max_calls - len(self.uses)
        return steps_left <= 0 or calls_left <= 0 or self._repeats or self._late()

    def _late(self) -> bool:
        return self.means.timer() - self.began >= LONGEST_S

    @property
    def degraded(self) -> tuple[str, ...]:
        """What could not be found out, one sentence for each call."""
        return tuple(f"{use.tool}: {use.error}" for use in self.uses if use.status != OK)

    async def take(self, reply: Reply, attempt_id: str) -> tuple[ChatMessage, ...]:
        """Call what the model asked for, one after the other; the turns that the conversation goes on with."""
        self.taken += 1
        calls = self._named(reply.tool_calls)
        told = [await self._told(call, attempt_id) for call in calls]
        return ChatMessage("assistant", "", tool_calls=calls), *told

    def refuse(self, reply: Reply, attempt_id: str) -> None:
        """Put on record what a model asked for that had to answer: its answer lacks that."""
        for call in self._named(reply.tool_calls):
            used = _Used(REFUSED, "it was asked for where an answer was due")
            self._note(call, attempt_id, used, self.means.clock(), 0.0)

    def _named(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """The calls, each with an id of its own; of more than may be made, one stands for the rest."""
        allowed = max(self.limits.max_calls - len(self.uses), 0) + 1
        seen: set[str] = set()
        named = []
        for number, call in enumerate(calls[:allowed], len(self.uses) + 1):
            own = call if call.id and call.id not in seen else replace(call, id=f"call_{number}")
            seen.add(own.id)
            named.append(own)
        return tuple(named)

    async def _told(self, call: ToolCall, attempt_id: str) -> ChatMessage:
        """One call, on record; what the model is told of it."""
        started, begun = self.means.clock(), self.means.timer()
        use = await self._use(call)
        self._note(call, attempt_id, use, started, (self.means.timer() - begun) * 1000)
        told = {"data": orjson.Fragment(use.data)} if use.status == OK else {"unknown": use.error}
        return ChatMessage("tool", orjson.dumps(told).decode(), answers=call.id, name=call.name)

    def _note(self, call: ToolCall, attempt_id: str, use: "_Used", started: datetime, took_ms: float) -> None:
        self.uses.append(
            ToolUse.made(
                attempt_id=attempt_id,
                n=len(self.uses) + 1,
                call_id=call.id,
                tool=call.name,
                arguments=call.arguments,
                status=use.status,
                error=use.error,
                response=use.response,
                http_status=use.http_status,
                tries=use.tries,
                idempotency_key=use.key,
                started_at=started,
                total_ms=took_ms,
            )
        )

    async def _use(self, call: ToolCall) -> "_Used":
        if len(self.uses) >= self.limits.max_calls:
            return _Used(REFUSED, f"a job may call tools {self.limits.max_calls} times")
        tool = self.tools.get(call.name)
        if tool is None:
            return _Used(REFUSED, f"there is no such tool; there is {', '.join(self.tools) or 'none'}")
        parsed = strict_json.parse(call.arguments or "{}")
        if not isinstance(parsed, Parsed):
            return _Used(REFUSED, f"its arguments are no JSON ({parsed.reason})")
        if objection := tool.objection(parsed.value):
            return _Used(REFUSED, objection)
        wish = json_text([self.head.tenant, self.head.job_id, tool.name, parsed.value])
        if (known := self._known.get(wish)) is not None:
            # A model that asks the same again goes round in circles: it gets the same answer, and must give its own.
            self._repeats = True
            return replace(known, tries=0)
        self._known[wish] = used = await self._called(tool, parsed.value, sha256_hex(wish)[:32])
        return used

    async def _called(self, tool: Tool, arguments: dict[str, Any], key: str) -> "_Used":
        """Try until it answers, or until another try is of no use, does harm, comes too late or is forbidden."""
        tries = 0
        while True:
            if (why := self._forbidden(tool)) is not None:
                return _Used(FAILED if tries else REFUSED, why, tries=tries, key=key)
            tries += 1
            answer = await self.means.caller.call(tool, arguments, key, min(tool.settings.timeout_s, self.left_s()))
            wait_s = self._wait_s(tool, answer, tries)
            if wait_s is None:
                return _judged(tool, answer, tries, key)
            await self.means.sleep(wait_s)

    def _forbidden(self, tool: Tool) -> str | None:
        """Why a tool may not be called now: a switch was thrown, or time is over."""
        control = self.means.control()
        if control.killed(SwitchKind.TOOL, tool.name):
            return "it is killed"
        if (why := stopped(self.head, control)) is not None:
            return why
        if self.left_s() <= 0:
            return "the deadline has passed"
        return f"tools have taken {LONGEST_S:g} s" if self._late() else None

    def _wait_s(self, tool: Tool, answer: ToolAnswer, tries: int) -> float | None:
        """Seconds until the next try; nothing if there is none."""
        harmless = tool.settings.idempotent or not answer.arrived
        if answer.error is None or not answer.again or not harmless or tries > tool.settings.retries:
            return None
        jittered = self.means.rng() * backoff_s(tries)
        wait_s = min(LONGEST_WAIT_S, jittered) if answer.retry_after_s is None else answer.retry_after_s
        return wait_s if wait_s <= LONGEST_WAIT_S and wait_s < self.left_s() else None


@dataclass(frozen=True, slots=True)
class _Used:
    """How a call went. `response` is what came, `data` the same as JSON text where it is `ok`."""

    status: str
    error: str | None = None
    response: str | None = None
    http_status: int | None = None
    tries: int = 0
    key: str = ""
    data: str = "null"


def _judged(tool: Tool, answer: ToolAnswer, tries: int, key: str) -> _Used:
    """What an answer is worth: only what fits the tool's output schema counts."""
    response = answer.body.decode("utf-8", "replace") if answer.body else None
    if answer.error is not None:
        return _Used(FAILED, answer.error, response, answer.status, tries, key)
    parsed = strict_json.parse(response or "")
    if not isinstance(parsed, Parsed):
        return _Used(FAILED, f"its answer is no JSON ({parsed.reason})", response, answer.status, tries, key)
    if wrong := tool.gives.violations(parsed.value):
        return _Used(FAILED, f"its answer does not fit: {'; '.join(wrong)}", response, answer.status, tries, key)
    return _Used(OK, None, response, answer.status, tries, key, parsed.text)
