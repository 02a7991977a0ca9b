import psutil
import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from penstock.local.stack import embedded

pytestmark = pytest.mark.stack

SASL = {
    "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "sasl.enabled.mechanisms": "PLAIN",
    "sasl.mechanism.inter.broker.protocol": "PLAIN",
    "listener.name.clients.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required "
        'username="broker" password="b" user_broker="b" user_app="right";'
    ),
}


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Give a broker that may be killed."""
    with embedded(tmp_path_factory.mktemp("own"), ("broker",)) as running:
        yield running


def make_topic(broker, name, **config):
    topic = NewTopic(name, num_partitions=1, replication_factor=1, config=config)
    admin = AdminClient({"bootstrap.servers": broker})  # the future dies with its client
    admin.create_topics([topic])[name].result(30)


def transactional(broker):
    producer = Producer({"bootstrap.servers": broker, "transactional.id": "t", "transaction.timeout.ms": 10_000})
    producer.init_transactions(30)
    return producer


def read(broker, topic, count, isolation="read_committed"):
    """Read that many values from the start of a topic, and make sure that no more follow."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker,
            "group.id": f"{topic}-{isolation}",
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe([topic])
    values = []
    try:
        while True:
            record = consumer.poll(30)
            assert record is not None, f"{len(values)} of {count} records, then silence"
            if record.error() is None:
                values.append(record.value())
            elif len(values) >= count:
                return values
    finally:
        consumer.close()


def test_broker_answers_with_the_settings_of_the_protocol(stack):
    """The broker is one node whose settings are those that the delivery promises need."""
    admin = AdminClient({"bootstrap.servers": stack.broker})
    metadata = admin.list_topics(timeout=30)
    assert [f"{node.host}:{node.port}" for node in metadata.brokers.values()] == [stack.broker]
    resource = ConfigResource(ConfigResource.Type.BROKER, "1")
    config = {key: entry.value for key, entry in admin.describe_configs([resource])[resource].result(30).items()}
    assert config["auto.create.topics.enable"] == "false"
    assert config["transaction.abort.timed.out.transaction.cleanup.interval.ms"] == "5000"
    assert int(config["message.max.bytes"]) > 8 * 1024 * 1024
    assert int(config["offsets.retention.minutes"]) >= 30 * 24 * 60
    assert int(config["group.consumer.min.session.timeout.ms"]) == 3000
    assert int(config["group.min.session.timeout.ms"]) <= 6000
    assert config["group.initial.rebalance.delay.ms"] == "0"


def test_nothing_listens_beyond_the_loopback(stack):
    """No component of the stack can be reached from another machine."""
    for name in ("broker", "warehouse", "model_server"):
        connections = psutil.Process(stack.pid(name)).net_connections(kind="inet")
        listening = {c.laddr.ip for c in connections if c.status == psutil.CONN_LISTEN}
        assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}, name


def test_topics_are_not_made_by_accident(stack):
    """A record for a topic that nobody made is refused, so that a misspelt name shows."""
    failures = []
    producer = Producer({"bootstrap.servers": stack.broker, "message.timeout.ms": 1500})
    producer.produce("no-such-topic", b"x", on_delivery=lambda error, _: failures.append(error))
    producer.flush(30)
    assert failures[0] is not None


def test_large_records_pass(stack):
    """A topic takes records of 8 MiB."""
    make_topic(stack.broker, "large", **{"max.message.bytes": str(9 * 1024 * 1024)})
    failures = []
    producer = Producer({"bootstrap.servers": stack.broker, "message.max.bytes": 9 * 1024 * 1024})
    producer.produce("large", b"x" * 8 * 1024 * 1024, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(30) == 0
    assert failures == [None]


@pytest.mark.parametrize("kill", [False, True])
def test_broker_keeps_what_it_acknowledged(own, kill):
    """Stopped or killed in mid-transaction, the broker comes back with all that was committed, and only that."""
    topic = f"kept-{kill}"
    make_topic(own.broker, topic)
    producer = transactional(own.broker)
    for number in range(3):
        producer.begin_transaction()
        producer.produce(topic, f"{number}".encode())
        producer.commit_transaction(30)
    producer.begin_transaction()
    producer.produce(topic, b"open")
    producer.flush(30)
    own.restart("broker", kill=kill)
    again = transactional(own.broker)  # the same id fences the first producer and aborts what it left open
    again.begin_transaction()
    again.produce(topic, b"3")
    again.commit_transaction(30)
    assert read(own.broker, topic, 4) == [b"0", b"1", b"2", b"3"]
    assert read(own.broker, topic, 5, "read_uncommitted") == [b"0", b"1", b"2", b"open", b"3"]


@pytest.mark.parametrize("kill", [True, False])
def test_an_ended_broker_is_fenced_before_its_successor_starts(own, eventually, tmp_path, kill):
    """Its successor is let in at once and sees no leaders before: a coordinator without leaders drops markers."""
    name = f"led-{kill}"
    make_topic(own.broker, name)
    producer = Producer({"bootstrap.servers": own.broker})
    producer.produce(name, b"x")
    assert producer.flush(30) == 0
    log = own.settings(tmp_path).data_dir / "logs" / "broker.log"
    before = log.stat().st_size
    own.restart("broker", kill=kill)

    def said(*words):
        return [line for line in log.read_bytes()[before:].decode().splitlines() if all(word in line for word in words)]

    eventually(lambda: said(f"Leader {name}-0 ", "starts at leader epoch"))
    assert "Current leader is -1" in said(f" {name}-0 ", "starts at leader epoch")[0]
    assert not said("DUPLICATE_BROKER_REGISTRATION")


def test_open_transaction_of_a_dead_writer_ends_within_the_stated_bound(own, eventually):
    """The broker ends an abandoned transaction after its time-out and its scan every five seconds, not later."""
    make_topic(own.broker, "stalled")
    config = {"bootstrap.servers": own.broker, "transactional.id": "dead", "transaction.timeout.ms": 1_000}
    producer = Producer(config)
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce("stalled", b"x")
    producer.flush(30)
    consumer = Consumer(
        {
            "bootstrap.servers": own.broker,
            "group.id": "stalled",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
        }
    )
    consumer.subscribe(["stalled"])

    def position():
        consumer.poll(0.1)
        (at,) = consumer.position(consumer.assignment()) or [None]
        return at is not None and at.offset > 0

    eventually(position, limit_s=8)
    consumer.close()


def test_properties_can_be_added(tmp_path):
    """A broker that wants passwords lets in those who have one, and nobody else."""
    with embedded(tmp_path, ("broker",), broker_properties=SASL) as running:
        base = {"bootstrap.servers": running.broker, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
        right = AdminClient(base | {"sasl.username": "app", "sasl.password": "right"})
        assert len(right.list_topics(timeout=30).brokers) == 1
        wrong = AdminClient(base | {"sasl.username": "app", "sasl.password": "wrong"}, logger=_Silent())
        with pytest.raises(KafkaException):
            wrong.list_topics(timeout=2)


class _Silent:
    """librdkafka repeats on standard error what the test expects anyway."""

    def log(self, *_):
        pass
