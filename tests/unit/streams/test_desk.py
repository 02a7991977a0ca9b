import pytest
from confluent_kafka import KafkaError, KafkaException

from streams.errors import BrokerAway, SlotTaken
from streams.kafka.connection import Connection
from streams.kafka.desk import Desk


class Overtaken:
    """A producer that is shut out between its transaction and the abort: only the abort says so for certain."""

    def __init__(self, *, fatal):
        self.fatal = fatal

    def begin_transaction(self):
        raise KafkaException(KafkaError(KafkaError._STATE, "the transaction has failed", False))

    def abort_transaction(self, _):
        code = KafkaError._FENCED if self.fatal else KafkaError._TIMED_OUT
        raise KafkaException(KafkaError(code, "fenced by a newer instance", self.fatal))


@pytest.mark.parametrize(("fatal", "error"), [(True, SlotTaken), (False, BrokerAway)])
def test_who_is_shut_out_while_aborting_has_been_overtaken(monkeypatch, fatal, error):
    """A worker that starts beside others then looks again, instead of ending because the broker is away."""
    monkeypatch.setattr(Connection, "transactional_producer", lambda *_, **__: Overtaken(fatal=fatal))
    monkeypatch.setattr(Connection, "admin", lambda _: None)
    desk = Desk(Connection("127.0.0.1:1"), "switchboard", "penstock versions")
    with pytest.raises(error, match="fenced by a newer instance"):
        desk.commit([])
