from datetime import UTC, datetime, timedelta
from decimal import Decimal

import orjson
import pytest

from penstock.client import StaleContext
from penstock.client.result import read_result
from schemas.result import SnapshotStamp
from schemas.stages import Status

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_a_result_is_read_with_its_types(broker):
    """Output is a JSON value, money a decimal, and nothing is lost on the way to JSON."""
    result = read_result("results", broker.result_bytes("j1"))
    assert result.accepted
    assert not result.open
    assert result.output == {"intent": "card_arrival"}
    assert result.cost_usd == Decimal("0.000123")
    assert result.usage.input_tokens == 10
    assert result.to_json()["cost_usd"] == "0.000123"
    assert orjson.loads(orjson.dumps(result.to_json()))["output"] == {"intent": "card_arrival"}


def test_unknown_money_is_none_and_never_zero(broker):
    """A job with a call of unknown price has no cost."""
    result = read_result("results", broker.result_bytes("j1", cost_usd=None))
    assert result.cost_usd is None
    assert result.to_json()["cost_usd"] is None


def test_an_escalated_job_is_open_and_has_no_output(broker):
    """What a person has yet to decide is a proposal, never the answer."""
    result = read_result("escalations", broker.escalation_bytes("j1"))
    assert (result.status, result.open, result.output) == ("escalated", True, None)
    assert result.proposed == {"intent": "card_arrival"}
    assert not result.answered
    assert result.metadata == {"shop": "7"}
    assert result.expires_at is not None


@pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.EXPIRED, Status.OVER_BUDGET])
def test_only_answers_count_as_answered(broker, status):
    """A terminal status without an answer is not one."""
    assert not read_result("results", broker.result_bytes("j1", status, output=None)).answered


def test_fields_of_a_newer_version_are_no_error(broker):
    """A consumer goes on when Penstock adds a field or a status."""
    fields = orjson.loads(broker.result_bytes("j1")) | {"brand_new": 1, "status": "brand_new_status"}
    fields["usage"]["brand_new"] = 2
    assert read_result("results", orjson.dumps(fields)).status == "brand_new_status"


@pytest.mark.parametrize("value", [b"", b"nope", b"[]", b"{}", b'{"job_id":"a"}'])
def test_what_is_no_result_is_said_to_be_none(value):
    """Foreign bytes on the topic raise an error that says what is wrong."""
    with pytest.raises(ValueError, match=r".+"):
        read_result("results", value)


def stamped(broker, valid_until):
    stamp = SnapshotStamp(id="kb", version="7", valid_until=valid_until)
    return read_result("results", broker.result_bytes("j1", snapshot=stamp))


def test_a_fresh_answer_may_be_committed(broker):
    """Up to the moment named, the snapshot holds; without one there is nothing to be stale."""
    result = stamped(broker, NOW + timedelta(seconds=1))
    assert result.assert_fresh(NOW) is result
    plain = read_result("results", broker.result_bytes("j1"))
    assert plain.assert_fresh() is plain


def test_a_stale_answer_may_not_be_committed(broker):
    """From the moment named on, the answer rests on old facts, and the error says which."""
    with pytest.raises(StaleContext, match="snapshot kb version 7"):
        stamped(broker, NOW).assert_fresh(NOW)


def test_a_time_without_zone_is_utc(broker):
    """A snapshot's naive time can be compared."""
    with pytest.raises(StaleContext):
        stamped(broker, NOW.replace(tzinfo=None) - timedelta(seconds=1)).assert_fresh(NOW)
