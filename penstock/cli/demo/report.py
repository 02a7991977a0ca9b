"""The demo's account of itself: figures out of what was measured, and what must hold. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import groupby
from statistics import median, quantiles
from typing import Any, Final

from penstock.cli.demo.baseline import Baseline
from penstock.cli.demo.feed import Asked, Tally
from penstock.client import ESCALATED, JobResult
from schemas.stages import Status
from sinks.summary import Summary

MIN_ACCEPTED: Final = 0.5
MIN_SETTLED: Final = 0.95
BINS: Final = ((0.0, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 1.0))


@dataclass(frozen=True, slots=True)
class RungReport:
    """The jobs that ended, or were handed to a person, at one rung."""

    rung: int
    variant: str
    model: str
    jobs: int
    accepted: int
    accuracy: float | None
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Way:
    """A way of answering all the messages: what it cost, and how often it was right. Money is US dollars."""

    name: str
    accepted: int
    right: int
    cost_usd: Decimal | None
    p50_ms: float | None
    p95_ms: float | None

    @property
    def accuracy(self) -> float | None:
        """Right answers among the accepted."""
        return self.right / self.accepted if self.accepted else None

    @property
    def cost_per_accepted_usd(self) -> Decimal | None:
        """All money over the accepted answers."""
        return self.cost_usd / self.accepted if self.accepted and self.cost_usd is not None else None


@dataclass(frozen=True, slots=True)
class Bin:
    """The answers and proposals whose confidence lies in this span: how many there are, how many are right."""

    low: float
    high: float
    jobs: int
    right: int


@dataclass(frozen=True, slots=True)
class Check:
    """Something that must hold, with what was found."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True, slots=True)
class Report:
    """The whole account."""

    tenant: str
    jobs: int
    by_status: Mapping[str, int]
    by_rung: tuple[RungReport, ...]
    penstock: Way
    largest: Way
    largest_right_on_accepted: float | None
    bins: tuple[Bin, ...]
    checks: tuple[Check, ...]
    rows: Mapping[str, int]
    seconds: float
    example: str

    @property
    def ok(self) -> bool:
        """Whether everything holds that must."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        """With stable keys."""
        ways = {
            name: {**asdict(way), "accuracy": way.accuracy, "cost_per_accepted_usd": way.cost_per_accepted_usd}
            for name, way in (("penstock", self.penstock), ("always_largest", self.largest))
        }
        simple = ("tenant", "jobs", "by_status", "largest_right_on_accepted", "rows", "seconds", "example")
        lists = ("by_rung", "bins", "checks")
        return {
            "ok": self.ok,
            **{name: getattr(self, name) for name in simple},
            "unaccounted": self.jobs - sum(self.by_status.values()),
            **{name: [asdict(one) for one in getattr(self, name)] for name in lists},
            "ways": ways,
        }


def report(tally: Tally, baseline: Baseline, summary: Summary, seconds: float) -> Report:
    """The account of a demo that has run; `summary` is what the warehouse says about the same jobs."""
    known = [(asked, tally.results[asked.job_id]) for asked in tally.asked if asked.job_id in tally.results]
    accepted = [(asked, result) for asked, result in known if result.accepted]
    return Report(
        tenant=tally.tenant,
        jobs=len(tally.asked),
        by_status=dict(tally.by_status.most_common()),
        by_rung=_by_rung(known),
        penstock=_penstock(known, accepted, summary),
        largest=_largest(tally, baseline),
        largest_right_on_accepted=_share([_right(asked, baseline) for asked, _ in accepted]),
        bins=_bins(known),
        checks=checks(tally, summary),
        rows=summary.rows,
        seconds=seconds,
        example=_example(tally),
    )


Known = Sequence[tuple[Asked, JobResult]]


def _by_rung(known: Known) -> tuple[RungReport, ...]:
    def place(pair: tuple[Asked, JobResult]) -> tuple[int, str, str]:
        result = pair[1]
        return result.rung, result.variant or "", result.model or ""

    # An escalation record does not name variant and model: it counts at the rung's own, which any result there names.
    names = {result.rung: place((asked, result))[1:] for asked, result in known if result.variant}
    rows = []
    for rung, group in groupby(sorted(known, key=lambda pair: pair[1].rung), key=lambda pair: pair[1].rung):
        here = list(group)
        accepted = [(asked, result) for asked, result in here if result.accepted]
        p50, p95 = _percentiles([result.timings.total_ms for _, result in here if not result.open])
        variant, model = names.get(rung, ("", ""))
        accuracy = _share([asked.right(result) for asked, result in accepted])
        rows.append(RungReport(rung, variant, model, len(here), len(accepted), accuracy, p50, p95))
    return tuple(rows)


def _penstock(known: Known, accepted: Known, summary: Summary) -> Way:
    """All money counts, that of jobs which a person must answer as well; it is unknown when the price of a call is."""
    p50, p95 = _percentiles([result.timings.total_ms for _, result in known if not result.open])
    right = sum(asked.right(result) for asked, result in accepted)
    cost = summary.cost_usd if summary.price_coverage in {None, 1.0} else None
    return Way("Penstock", len(accepted), right, cost, p50, p95)


def _largest(tally: Tally, baseline: Baseline) -> Way:
    answers = list(baseline.answers.values())
    costs = [answer.cost_usd for answer in answers if answer.cost_usd is not None]
    p50, p95 = _percentiles([answer.ms for answer in answers])
    return Way(
        f"always {baseline.model}",
        accepted=sum(answer.label is not None for answer in answers),
        right=sum(_right(asked, baseline) for asked in tally.asked),
        cost_usd=sum(costs, Decimal(0)) if len(costs) == len(answers) else None,
        p50_ms=p50,
        p95_ms=p95,
    )


def _right(asked: Asked, baseline: Baseline) -> bool:
    answer = baseline.answers.get(asked.job_id)
    return answer is not None and answer.label == asked.message.label


def _bins(known: Known) -> tuple[Bin, ...]:
    found = []
    for low, high in BINS:
        here = [
            asked.right(result)
            for asked, result in known
            if result.confidence is not None and (low <= result.confidence < high or result.confidence == high == 1.0)
        ]
        found.append(Bin(low, high, len(here), sum(here)))
    return tuple(found)


def checks(tally: Tally, summary: Summary) -> tuple[Check, ...]:
    """What must hold of a demo, each with what was found."""
    jobs, status = len(tally.asked), tally.by_status
    accepted, escalated = status[Status.ACCEPTED], status[ESCALATED]
    settled = accepted + escalated
    in_warehouse = summary.jobs
    agree = dict(summary.by_status) == dict(status)
    return (
        Check("every job is accounted for", len(tally.results) == jobs, f"{len(tally.results)} of {jobs}"),
        Check("no job has two results", not tally.doubled, f"{len(tally.doubled)} doubled"),
        Check("no job failed", status[Status.FAILED] == 0, f"{status[Status.FAILED]} failed"),
        Check("at least half are accepted", accepted >= MIN_ACCEPTED * jobs, f"{accepted / jobs:.1%}"),
        Check("95 % are accepted or with a person", settled >= MIN_SETTLED * jobs, f"{settled / jobs:.1%}"),
        Check("the warehouse says the same", agree, f"{in_warehouse} jobs on record"),
    )


def _percentiles(times: list[float]) -> tuple[float | None, float | None]:
    if len(times) < 2:
        return (times[0], times[0]) if times else (None, None)
    return median(times), quantiles(times, n=20, method="inclusive")[-1]


def _share(found: list[bool]) -> float | None:
    return sum(found) / len(found) if found else None


def _example(tally: Tally) -> str:
    """A job worth looking at: one that climbed furthest and was accepted."""
    return max(tally.results.values(), key=lambda result: (result.accepted, result.rung, result.attempts)).job_id
