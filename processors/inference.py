"""Inference: write the prompt, call the provider, try again in place where that helps, and record every attempt."""

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from processors.amending import UNFIT, amendment, unfit
from processors.attempts import BYTES_PER_TOKEN, attempt_of
from processors.catalog import Catalog
from processors.control import ReadControl
from processors.freshness import refused, stale
from processors.models import Capability, Model
from processors.outcome import Escalate, Facts, Outcome, Pass, Reject, Retry
from processors.policy.constraints import Constraint
from processors.policy.failure import settle
from processors.policy.ladder import barred, data_class, open_above, shut_model, stopped, why_closed
from processors.policy.recovery import LATER_S, Again, Elsewhere, Place, recover
from processors.pricing import worst_cost
from processors.prompts import Rendered, RenderError
from processors.providers.errors import ErrorClass
from processors.providers.offering import structure_of, too_long
from processors.providers.port import (
    Answered,
    CompletionRequest,
    Failure,
    OfferedTool,
    Provider,
    Reply,
    Structure,
)
from processors.settings import OnRateLimit, Rung
from processors.showing import Show
from processors.tools.agent import Means, Steps
from processors.tools.definitions import Tool
from processors.tools.port import ToolCaller
from processors.workflow import Workflow
from schemas.envelope import Envelope, Head
from schemas.stages import Answer, Attempt, Completion, Routed, Status, Transition

_ASKED_IN_VAIN = "the model asked for a tool where it may call none, and answered nothing"


@dataclass(frozen=True, slots=True)
class Inference:
    """The third stage's processor. `rng` gives a number from 0 up to 1, `sleep` waits seconds, `timer` counts them."""

    catalog: Catalog
    providers: Mapping[str, Provider]
    control: ReadControl
    clock: Callable[[], datetime]
    sleep: Callable[[float], Awaitable[None]]
    rng: Callable[[], float]
    timer: Callable[[], float] = time.perf_counter
    show: Show | None = None
    tools: ToolCaller | None = None

    async def __call__(self, envelope: Envelope[Routed]) -> Outcome[Answer]:
        """Get an answer from the model that routing chose."""
        head, routed = envelope.head, envelope.payload
        workflow = self.catalog.find(head)
        if isinstance(workflow, Retry):
            return workflow
        rung = workflow.rung(head.rung)
        if rung is None or rung.variant != routed.decision.variant:
            said = f"rung {head.rung} of {workflow.name}@{workflow.version} is not variant {routed.decision.variant!r}"
            return Escalate(said)
        try:
            prompt = workflow.prompt(rung).render(routed.job)
        except RenderError as error:
            return Escalate(f"the prompt can't be written for this input: {error}")
        return await _Round(self, envelope, workflow, rung, prompt).run()


class _Round:
    """One trip of one job through inference: its attempts, one after the other."""

    def __init__(
        self, on: Inference, envelope: Envelope[Routed], workflow: Workflow, rung: Rung, prompt: Rendered
    ) -> None:
        self.on = on
        self.head: Head = envelope.head
        self.routed: Routed = envelope.payload
        self.workflow = workflow
        self.rung = rung
        self.prompt = prompt
        self.data = data_class(envelope.payload.job.data_class, workflow.settings)
        self.attempts: list[Attempt] = []
        self.news: list[Transition] = []
        self.targets = list(self._open_targets())
        self.target = self.targets.pop(0) if self.targets else rung.model
        self.turns = 0
        self.waits: list[float] = []
        self.messages = prompt.messages
        self.steps = self._steps() if rung.tools else None
        self.structure = Structure.PROMPT
        self.amended = 0

    async def run(self) -> Outcome[Answer]:
        """Attempts until one answers, or until something else is better than another attempt."""
        while True:
            if (ended := self._stopped()) is not None:
                return ended
            if (spent := self._over_budget()) is not None:
                return spent
            provider = self.on.providers[self.on.catalog.models.models[self.target].provider]
            answered = await self._attempt(provider)
            if isinstance(answered, Reply):
                led_to = await self._taken(answered, provider)
                if led_to is None:
                    continue
                if isinstance(led_to, Pass):
                    return led_to
                answered = led_to
            recovery = recover(answered, self._place(), self.on.rng(), self._facts(), provider.may_repeat)
            if isinstance(recovery, Elsewhere):
                self.waits.append(LATER_S if answered.retry_after_s is None else answered.retry_after_s)
                self.target, self.turns = self.targets.pop(0), 0
                continue
            if isinstance(recovery, Again):
                await self.on.sleep(recovery.after_s)
                continue
            if isinstance(recovery, Retry) and self.waits:  # of several targets the first that is back will do
                recovery = replace(recovery, after_s=min(recovery.after_s, *self.waits))
            return settle(recovery, self.workflow)

    async def _taken(self, reply: Reply, provider: Provider) -> Pass[Answer] | Failure | None:
        """What a reply leads to: an answer, a failure, or nothing yet, because the model is to be asked again."""
        if self.steps is not None and reply.tool_calls and not self.steps.over:
            self.messages += await self.steps.take(reply, self.attempts[-1].attempt_id)
            self.turns = 0
            return None
        if self.steps is not None and reply.tool_calls:
            self.steps.refuse(reply, self.attempts[-1].attempt_id)
        if not reply.text:
            return Failure(reply.exchange, ErrorClass.RETRYABLE_ELSEWHERE, _ASKED_IN_VAIN)
        if (why := self._unfit(reply.text)) is not None and self._may_amend(provider):
            self.attempts[-1] = self.attempts[-1].but(error_class=UNFIT, error=why)
            self.messages += amendment(reply.text, why)
            self.amended += 1
            return None
        return self._answer(reply, self.attempts[-1])

    def _unfit(self, text: str) -> str | None:
        """What is wrong with an answer that nobody has held to the schema."""
        schema = self.workflow.output_schema
        return None if schema is None or self.structure is Structure.NATIVE else unfit(text, schema)

    def _may_amend(self, provider: Provider) -> bool:
        """Whether to ask once more: a job with a limit of cost pays nothing twice before routing has weighed that."""
        capped = self.routed.job.max_cost_usd is not None
        return self.amended < self.workflow.settings.amend_times and not capped and provider.may_repeat()

    async def _attempt(self, provider: Provider) -> Answered:
        """Ask the target once; what was really asked is an attempt."""
        request = self._request(self.on.catalog.models.models[self.target])
        # What is written into a tool is no text that anybody could read along.
        readable = self.head.shown and request.structure is not Structure.TOOL
        showing = self.on.show.begin(self.head, request.attempt_id) if self.on.show and readable else None
        if showing is not None:
            request = replace(request, on_text=showing.add)
        started, begun = self.on.clock(), self.on.timer()
        answered = too_long(request) or await provider.complete(request)
        if showing is not None:
            showing.end()
        took_ms = (self.on.timer() - begun) * 1000
        self.turns += 1
        self.news += provider.news()
        if isinstance(answered, Reply) or answered.attempted:
            provider_settings = self.on.catalog.models.providers[request.model.provider]
            self.attempts.append(attempt_of(answered, request, provider_settings, self.prompt.sha256, started, took_ms))
        return answered

    def _open_targets(self) -> Iterator[str]:
        """The rung's model and its fallbacks, as far as none is killed and all may see the job's data."""
        models = self.on.catalog.models
        for name in (self.rung.model, *self.rung.fallbacks):
            if shut_model(name, models, self.on.control()) is None and barred(name, models, self.data) is None:
                yield name

    def _stopped(self) -> Escalate | Retry | Reject | None:
        """Why no attempt may start now: the data is not for it, a switch was thrown, it is too late, or stale."""
        models, control = self.on.catalog.models, self.on.control()
        if why := barred(self.target, models, self.data):
            closed = why_closed(self.rung, models, control, self.data)
            if closed is not None and closed[0] is Constraint.DATA:
                return Escalate(why, facts=self._facts())
            # A fallback may see the data; it was switched off since the job was routed, or is back by now.
            return Retry(why if closed is None else closed[1], facts=self._facts())
        if why := shut_model(self.target, models, control) or stopped(self.head, control):
            return Retry(why, facts=self._facts())
        now = self.on.clock()
        if now >= self.head.deadline:
            return Reject(
                Status.EXPIRED, f"the deadline {self.head.deadline.isoformat()} has passed", None, self._facts()
            )
        if old := stale(self.routed.job, now, control.snapshots):
            return refused(old, self.workflow, self._facts())
        return None

    def _over_budget(self) -> Reject | None:
        """The end of a job with a limit of cost whose next step could go beyond it; the first call routing has weighed.

        A call whose cost nobody knows counts as what it probably cost.
        """
        limit = self.routed.job.max_cost_usd
        if limit is None or self.steps is None or not self.steps.taken:
            return None
        model = self.on.catalog.models.models[self.target]
        provider = self.on.catalog.models.providers[model.provider]
        read = -(-sum(len(turn.content) for turn in self.messages) // BYTES_PER_TOKEN)
        written = self.rung.params.max_tokens or model.max_output_tokens
        costs = [one.estimated_usd if one.cost_usd is None else one.cost_usd for one in self.attempts]
        costs.append(worst_cost(provider, model, read, written, self.on.clock()))
        known = sum((one for one in costs if one is not None), self.head.spent.cost_usd)
        if all(one is not None for one in costs) and known <= limit:
            return None
        said = f"another step with tools could cost the job ${known:f} of its ${limit:f}"
        return Reject(Status.OVER_BUDGET, said, facts=self._facts())

    def _request(self, model: Model) -> CompletionRequest:
        head, rung = self.head, self.rung
        provider = self.on.catalog.models.providers[model.provider]
        logprobs = Capability.LOGPROBS in model.capabilities
        structure = self.structure = structure_of(model, provider.dialect, with_tools=self.steps is not None)
        return CompletionRequest(
            attempt_id=f"{head.tenant}/{head.job_id}/{head.rung}/{head.round}/{len(self.attempts) + 1}",
            model=model,
            messages=self.messages,
            max_tokens=rung.params.max_tokens or model.max_output_tokens,
            total_timeout_s=rung.total_timeout_s or provider.total_timeout_s,
            left_s=self._left_s(),
            connect_timeout_s=rung.connect_timeout_s or provider.connect_timeout_s,
            temperature=rung.params.temperature,
            logprobs=logprobs,
            top_logprobs=rung.params.top_logprobs,
            output_schema=None if structure is Structure.PROMPT else self.workflow.output_fragment,
            structure=structure,
            stream=provider.stream,
            first_token_timeout_s=provider.first_token_timeout_s,
            between_tokens_timeout_s=provider.between_tokens_timeout_s,
            tools=tuple(map(_offered, self.steps.tools.values())) if self.steps is not None else (),
            must_answer=self.steps is not None and self.steps.over,
            repeats=self.turns > 0,
        )

    def _steps(self) -> Steps:
        on, tools = self.on, {name: self.workflow.tools[name] for name in self.rung.tools}
        assert on.tools is not None, f"{self.workflow.name} has tools, and nobody to call them"
        means = Means(on.tools, on.control, on.clock, on.sleep, on.rng, on.timer)
        return Steps(means, self.head, tools, self.workflow.settings.agent, self._left_s, on.timer())

    def _left_s(self) -> float:
        return (self.head.deadline - self.on.clock()).total_seconds()

    def _place(self) -> Place:
        models = self.on.catalog.models
        above = open_above(self.workflow, models, self.on.control(), self.head.rung, self.data)
        here = models.models[self.target].provider
        return Place(
            attempts=self.turns,
            round=self.head.round,
            left_s=self._left_s(),
            higher=bool(above),
            elsewhere=any(higher.model != self.rung.model for higher in above),
            other_provider=any(models.models[higher.model].provider != here for higher in above),
            capped=self.routed.job.max_cost_usd is not None,
            fallback=bool(self.targets),
            parks=self.rung.on_rate_limit is OnRateLimit.PARK,
        )

    def _facts(self) -> Facts:
        uses = () if self.steps is None else tuple(self.steps.uses)
        return Facts(attempts=tuple(self.attempts), news=tuple(self.news), tool_uses=uses)

    def _answer(self, reply: Reply, attempt: Attempt) -> Pass[Answer]:
        completion = Completion.made(
            attempt_id=attempt.attempt_id,
            model=attempt.model_answered or self.rung.model,
            text=reply.text,
            finish_reason=attempt.finish_reason or "",
            refusal=None,
            prompt_sha256=self.prompt.sha256,
            tokens=reply.tokens,
            logprobs=reply.logprobs,
            answered_at=self.on.clock(),
            degraded=() if self.steps is None else self.steps.degraded,
        )
        answer = Answer.made(job=self.routed.job, decision=self.routed.decision, completion=completion)
        return Pass(answer, self._facts())


def _offered(tool: Tool) -> OfferedTool:
    return OfferedTool(tool.name, tool.settings.description, tool.parameters)
