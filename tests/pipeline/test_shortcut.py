"""The short way between the stages of one process gives what Kafka would have given."""

from schemas.avro import RECORDS, Codec
from streams.shortcut import Shortcut

FLOW = [Codec(name, RECORDS[name]) for name in ("AdmittedRecord", "RoutedRecord", "AnswerRecord", "ValidatedRecord")]
BY_SCHEMA = {codec._prefix: codec for codec in FLOW}


async def test_the_short_way_gives_what_the_bytes_say(long_line, snapshot, monkeypatch):
    """Each envelope that a stage takes is, to the last digit and type, the one that decoding its record gives."""
    taken, take = [], Shortcut.take

    def compared(shortcut, read):
        if (found := take(shortcut, read)) is not None:
            taken.append((found, BY_SCHEMA[read[:10]].decode(read)))
        return found

    monkeypatch.setattr(Shortcut, "take", compared)
    chunk = {"id": "c1", "text": "Cards arrive in five days.", "source": "faq", "score": 1}
    chunk["source_updated_at"] = "2026-01-01T05:30:00.123456+05:30"
    ways = {
        "bare": {},
        "dear": {"max_cost_usd": "0.5", "max_latency_ms": 900, "deadline_ms": 60_000},
        "rich": {
            "context": snapshot(chunks=[chunk], valid_until="2999-01-01T00:00:00+02:00"),
            "messages": [{"role": "user", "content": "hé"}],
            "segments": {"region": "eu"},
            "metadata": {"b": "1", "a": "2"},
            "risk": "high",
            "idempotency_key": "once",
            "user": "u",
            "session": "s",
        },
    }
    for job_id, fields in ways.items():
        job = {"workflow": "sorting", "input": {"text": "my card"}, "job_id": job_id} | fields
        long_line.publish(job, key=b"\xff", headers=(("h", b"\x00"), ("none", None)))
    results = [await long_line.result(job_id) for job_id in ways]
    assert {result["status"] for result in results} == {"accepted"}
    assert len(taken) == 4 * len(ways)
    for short, decoded in taken:
        assert short == decoded
        assert (repr(short.head), repr(short.payload)) == (repr(decoded.head), repr(decoded.payload))
