"""Agent steps: the model asks for tools, gets what they say or that it is unknown, and is asked again.

What a tool could not tell is labelled unknown in what the model reads, and the answer that rests on it is degraded:
validation finds the check `tools` unknown, so nothing downstream can take it for whole.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from processors.control import ReadControl
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
    """The tools' part in one trip of one job through inference."""

    means: Means
    head: Head
    tools: Mapping[str, Tool]
    limits: Agent
    left_s: Callable[[], float]
    uses: list[ToolUse] = field(default_factory=list)
    taken: int = 0
    _asked: Counter[str] = field(default_factory=Counter)

    @property
    def over(self) -> bool:
        """Whether the model must answer now, with what it has."""
        steps_left, calls_left = self.limits.max_steps - self.taken, self.limits.max_calls - len(self.uses)
        return steps_left <= 0 or calls_left <= 0

    @property
    def degraded(self) -> tuple[str, ...]:
        """What could not be found out, one sentence for each call."""
        return tuple(f"{use.tool}: {use.error}" for use in self.uses if use.status != OK)

    async def take(self, reply: Reply, attempt_id: str) -> tuple[ChatMessage, ...]:
        """Call what the model asked for, one after the other; the turns that the conversation goes on with."""
        self.taken += 1
        asked = ChatMessage("assistant", reply.text, tool_calls=reply.tool_calls)
        return asked, *[await self._told(call, attempt_id) for call in reply.tool_calls]

    async def _told(self, call: ToolCall, attempt_id: str) -> ChatMessage:
        """One call, on record; what the model is told of it."""
        started, begun = self.means.clock(), self.means.timer()
        use = await self._use(call)
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
                total_ms=(self.means.timer() - begun) * 1000,
            )
        )
        told = {"data": orjson.Fragment(use.response or "null")} if use.status == OK else {"unknown": use.error}
        return ChatMessage("tool", orjson.dumps(told).decode(), answers=call.id, name=call.name)

    async def _use(self, call: ToolCall) -> "_Used":
        if len(self.uses) >= self.limits.max_calls:
            return _Used(REFUSED, f"a job may call tools {self.limits.max_calls} times")
        tool = self.tools.get(call.name)
        if tool is None:
            return _Used(REFUSED, f"there is no such tool; there is {', '.join(self.tools) or 'none'}")
        if self.means.control().killed(SwitchKind.TOOL, tool.name):
            return _Used(REFUSED, "it is killed")
        try:
            arguments = orjson.loads(call.arguments or "{}")
        except orjson.JSONDecodeError as error:
            return _Used(REFUSED, f"its arguments are no JSON ({error})")
        if objection := tool.objection(arguments):
            return _Used(REFUSED, objection)
        return await self._called(tool, arguments, self._key(tool, arguments))

    def _key(self, tool: Tool, arguments: dict[str, Any]) -> str:
        """Equal for the same wish of the same job, whichever worker, rung or round it comes from."""
        wish = json_text([self.head.tenant, self.head.job_id, tool.name, arguments])
        self._asked[wish] += 1
        return sha256_hex(f"{wish}#{self._asked[wish]}")[:32]

    async def _called(self, tool: Tool, arguments: dict[str, Any], key: str) -> "_Used":
        """Try until it answers, or until another try is of no use, does harm, or comes too late."""
        tries = 0
        while True:
            tries += 1
            answer = await self.means.caller.call(tool, arguments, key, min(tool.settings.timeout_s, self.left_s()))
            wait_s = self._wait_s(tool, answer, tries)
            if wait_s is None:
                return _judged(tool, answer, tries, key)
            await self.means.sleep(wait_s)

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
    """How a call went. `response` is JSON text where it is `ok`, else what came, if anything did."""

    status: str
    error: str | None = None
    response: str | None = None
    http_status: int | None = None
    tries: int = 0
    key: str = ""


def _judged(tool: Tool, answer: ToolAnswer, tries: int, key: str) -> _Used:
    """What an answer is worth: only what fits the tool's output schema counts."""
    response = answer.body.decode("utf-8", "replace") if answer.body else None
    error = answer.error or _misfit(tool, answer.body)
    return _Used(FAILED if error else OK, error, response, answer.status, tries, key)


def _misfit(tool: Tool, body: bytes) -> str | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return f"its answer is no JSON ({error})"
    wrong = tool.gives.violations(value)
    return f"its answer does not fit: {'; '.join(wrong)}" if wrong else None


def offered(tools: Mapping[str, Tool], names: Sequence[str]) -> dict[str, Tool]:
    """The tools that a rung offers its model."""
    return {name: tools[name] for name in names}
