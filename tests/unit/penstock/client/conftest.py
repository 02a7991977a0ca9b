import time

import pytest

from penstock.client import Options
from penstock.client.link import Link
from schemas.base import JsonText
from schemas.job import Job
from schemas.result import Result, ResultUsage, Timings
from schemas.side import Delta, Escalation
from schemas.stages import Status
from streams.kafka.clients import Read
from streams.records import Address, Raw
from streams.topics import DELTAS, ESCALATIONS, RESULTS


class Broker:
    """A broker in memory behind the two ports of the client's link; it can hold back or refuse to acknowledge."""

    def __init__(self):
        self.published = []
        self.held = []
        self.hold = False
        self.refuse = None
        self.records = []
        self.closed = 0
        self.deltas = None
        self.reads = 0

    def publish(self, topic, value, key, headers, acknowledged):
        self.published.append((topic, value, key, dict(headers)))
        address = Address(topic, 0, len(self.published) - 1)
        if self.hold:
            self.held.append(lambda: acknowledged(address, None))
        elif self.refuse:
            acknowledged(None, self.refuse)
        else:
            acknowledged(address, None)

    def read(self, limit, wait_s):
        self.reads += 1
        if not self.records:
            time.sleep(min(wait_s, 0.005))
            return []
        taken, self.records[:] = self.records[:limit], self.records[limit:]
        return taken

    def put(self, topic, value):
        self.records.append(Read(Address(topic, 0, 0), Raw(b"key", value), 0))

    def end(self, job_id, status=Status.ACCEPTED, tenant="default", output='{"intent":"card_arrival"}', **more):
        self.put(RESULTS.name, result_bytes(job_id, status, tenant, output, **more))

    def escalate(self, job_id, tenant="default"):
        self.put(ESCALATIONS.name, escalation_bytes(job_id, tenant))

    def write(self, text, job_id="j1", attempt_id="default/j1/0/0/1", seq=0, **more):
        """A piece of an answer."""
        fields = {"job_id": job_id, "attempt_id": attempt_id, "seq": seq, "text": text, "tenant": "default"}
        piece = Delta(**fields | more)
        self.deltas.records.append(Read(Address(DELTAS.name, 0, 0), Raw(job_id.encode(), piece.to_json()), 0))

    def close(self):
        self.closed += 1


def result_bytes(job_id, status=Status.ACCEPTED, tenant="default", output='{"intent":"card_arrival"}', **more):
    known = {
        "job_id": job_id,
        "tenant": tenant,
        "status": status,
        "output": None if output is None else JsonText(output),
        "confidence": 0.93,
        "workflow": "banking_intent",
        "workflow_version": "c60783ff640e1800",
        "variant": "small",
        "model": "local-small",
        "rung": 0,
        "tier": "A",
        "usage": ResultUsage(input_tokens=10, output_tokens=2),
        "cost_usd": "0.000123",
        "timings": Timings(total_ms=12.5),
        "attempts": 1,
        "trace_id": "a" * 32,
    }
    return Result(**known | more).to_json()


def escalation_bytes(job_id, tenant="default"):
    return Escalation(
        escalation_id=f"{tenant}/{job_id}/2/0",
        job_id=job_id,
        tenant=tenant,
        workflow="banking_intent",
        workflow_version="c60783ff640e1800",
        stage="grading",
        reason="confidence 0.4 < 0.85 on the last rung",
        rung=2,
        job=Job(workflow="banking_intent", input=JsonText('{"text":"hm"}'), metadata={"shop": "7"}),
        proposed=JsonText('{"intent":"card_arrival"}'),
        confidence=0.4,
        attempts=3,
        cost_usd="0.01",
        escalated_at="2026-01-01T00:00:00Z",
        expires_at="2026-01-08T00:00:00Z",
        trace_id="b" * 32,
    ).to_json()


Broker.result_bytes = staticmethod(result_bytes)
Broker.escalation_bytes = staticmethod(escalation_bytes)


@pytest.fixture
def broker():
    made = Broker()
    made.deltas = Broker()
    return made


@pytest.fixture
def opened(broker, monkeypatch):
    """Give a function that opens a client of either kind on the broker in memory."""

    def open_link(_settings, _broker, options):
        return Link(broker, broker if options.read_results else None, options, lambda: broker.deltas)

    def make(kind, **options):
        client = kind(options=Options(**options))
        monkeypatch.setattr(client, "_open", lambda: open_link(None, None, Options(**options)))
        return client

    return make
