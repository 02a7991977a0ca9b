"""What routing's own decision costs, in CPU microseconds a job, beside its Kafka work: bare, with rules, with a prior.

One decision is all that the stage's processor does for a job: freshness, kill switches, the workflow's version, the
route and the inputs on record. Printed is the median of five runs of 5,000 decisions each, on real messages.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from penstock.local.banking77 import split
from processors.bundle import PRIOR, SETTINGS, read_bundle
from processors.catalog import Catalog
from processors.control import ControlState
from processors.models import load_models
from processors.policy.prior import SHAPE, Measured, Prior, Scale, tokens
from processors.routing import Routing
from processors.workflow import compile_workflow
from schemas.base import json_text
from schemas.control import Bundle
from schemas.envelope import Envelope, Head, Origin
from schemas.job import Job
from schemas.stages import Admitted

ROOT = Path(__file__).parents[1]
RUNS, DECISIONS = 5, 5_000
RULES = """
[[routing.rules]]
name = "long"
when = "size > 4000 && segments.length_bucket == 'very_long'"
start = "B"

[[routing.rules]]
name = "hurry"
when = "has(limits.latency_ms) && limits.latency_ms < 100.0"
start = "A"
"""


def bundles() -> dict[str, Bundle]:
    """The repository's workflow as it is, with two rules, and with a prior of 3,000 words."""
    bare = read_bundle(ROOT / "workflows" / "banking_intent")
    ruled = bare.but(files={**bare.files, SETTINGS: bare.files[SETTINGS] + RULES})
    compiled = compile_workflow(bare)
    words = sorted({word for message in split("train") for word in tokens(message.text)})[:3000]
    known = Measured(apgr=0.8, apgr_low=0.8, apgr_high=0.8, length_apgr=0.5, jobs=0.5, recovered=0.8)
    scales = tuple(
        Scale(
            variant=variant,
            intercept=0.1,
            shape=(0.1,) * len(SHAPE),
            words=dict.fromkeys(words, 0.01),
            start_at=0.5,
            held_out=known,
        )
        for variant in list(compiled.variant_hashes)[1:]
    )
    prior = Prior(
        variants=dict(compiled.variant_hashes), scales=scales, n=1000, source="made up", fitted_on=date(2026, 1, 1)
    )
    learned = bare.but(files={**bare.files, PRIOR: prior.model_dump_json()})
    return {"as it is": bare, "with two rules": ruled, "with a prior of 3,000 words": learned}


def admitted(bundle: Bundle) -> list[Envelope[Admitted]]:
    """Real messages as routing reads them."""
    now = datetime.now(UTC)
    texts = [message.text for message in split("unseen")]
    return [
        Envelope[Admitted](
            head=Head(
                tenant="default",
                job_id=f"job-{n}",
                workflow=bundle.workflow,
                workflow_version=bundle.version,
                created_at=now,
                deadline=now + timedelta(hours=1),
                trace="00-" + "0" * 31 + "1-" + "0" * 15 + "1-00",
                origin=Origin(topic="jobs", partition=0, offset=n),
                segments={"length_bucket": "short"},
            ),
            payload=Admitted(job=Job(workflow=bundle.workflow, input=json_text({"text": texts[n % len(texts)]}))),
        )
        for n in range(DECISIONS)
    ]


async def cpu_us(routing: Routing, envelopes: list[Envelope[Admitted]]) -> float:
    """CPU microseconds a decision."""
    began = time.process_time()
    for envelope in envelopes:
        await routing(envelope)
    return (time.process_time() - began) / len(envelopes) * 1e6


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    told = parser.parse_args()
    models = load_models(ROOT / "models.toml", environ={})
    found = {}
    for name, bundle in bundles().items():
        catalog = Catalog(models)
        catalog.add(bundle)
        routing = Routing(catalog, ControlState, lambda: datetime.now(UTC))
        envelopes = admitted(bundle)
        found[name] = statistics.median(asyncio.run(cpu_us(routing, envelopes)) for _ in range(RUNS))
    if told.json:
        print(json.dumps(found, indent=2))
        return 0
    table = Table("the workflow", "CPU a decision", box=None, pad_edge=False)
    for name, us in found.items():
        table.add_row(name, f"{us:.1f} µs")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
