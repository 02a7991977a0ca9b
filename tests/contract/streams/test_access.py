"""The pipeline on a broker that lets nobody do what it has no right to; through TLS, each component its own user."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from penstock.local.stack import embedded
from streams.kafka.acls import allow, components
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.kafka.facts import ask
from streams.kafka.lags import behind, lags

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PREFIX = "guarded."
INSTANCE = "here"
ADMIN = ("admin", "the-admin-s-own")
JOBS = 12
PROCESSES = ("intake", "routing", "inference", "validation", "grading", "reviews", "sink")


class Guarded:
    """A broker with access control, its users, and what a client of each needs."""

    def __init__(self, stack, certificate):
        self.broker = stack.broker
        self._certificate = certificate
        self.admin = self.connection(*ADMIN)

    def settings(self, user, password=None):
        """Settings of a user's Kafka client; passwords are the users' names, backwards."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self._certificate),
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": user,
            "sasl.password": password or user[::-1],
        }

    def connection(self, user, password=None):
        """A connection of the project's as this user."""
        return Connection(self.broker, prefix=PREFIX, instance=INSTANCE, security=self.settings(user, password))

    def client(self, user):
        """The settings of a bare client."""
        return {"bootstrap.servers": self.broker, "log_level": 0, **self.settings(user)}

    def add_users(self, names):
        admin = self.admin.admin()
        info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        wanted = [UserScramCredentialUpsertion(name, info, name[::-1].encode()) for name in names]
        for future in admin.alter_user_scram_credentials(wanted).values():
            future.result(30)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """Give a broker that speaks TLS, knows its users by SCRAM-SHA-512, and gives them what `penstock acls` prints."""
    folder = tmp_path_factory.mktemp("guarded")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1")
    subprocess.run(
        (*made, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)),
        check=True,
        capture_output=True,
    )
    ours = "listener.name.clients.ssl."
    tls = {
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT",
        f"{ours}keystore.type": "PEM",
        f"{ours}keystore.key": key.read_text(),
        f"{ours}keystore.certificate.chain": certificate.read_text(),
        f"{ours}truststore.type": "PEM",
        f"{ours}truststore.certificates": certificate.read_text(),
    }
    with embedded(folder, ("broker",), broker_admin=ADMIN, broker_properties=tls) as running:
        found = Guarded(running, certificate)
        wanted = components(found.admin, [INSTANCE])
        found.add_users([*wanted, "nobody"])
        for name, grants in wanted.items():
            allow(found.admin, f"User:{name}", grants)
        ensure_topics(found.connection("operator"))  # it may make them
        yield found


@pytest.fixture
def workers(stack, project, tmp_path):
    """Run each stage and the sink as a process and a user of its own, for as long as the test runs."""
    with contextlib.ExitStack() as ends:
        running = []
        for component in PROCESSES:
            secret = {"PENSTOCK_KAFKA__SASL_USERNAME": component, "PENSTOCK_KAFKA__SASL_PASSWORD": component[::-1]}
            log = ends.enter_context((tmp_path / f"{component}.log").open("wb"))
            command = (sys.executable, "-m", "penstock.cli", "--project", str(project), "run", "--stages", component)
            worker = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(secret)
            )
            ends.enter_context(worker)  # which waits for its end
            ends.callback(worker.kill)
            running.append(worker)
        yield running
        for worker in running:
            worker.terminate()
        assert [worker.wait(60) for worker in running] == [0] * len(running)


def environment(more):
    return {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")} | more


@pytest.fixture
def project(guarded, stack, tmp_path):
    """A project with the repository's models and workflows, whose file holds all but the secrets."""
    root = Path(__file__).parents[3]
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "workflows").symlink_to(root / "workflows")
    (folder / "models.toml").symlink_to(root / "models.toml")
    told = guarded.settings("", "-")
    lines = [
        f'broker = "{guarded.broker}"',
        f'prefix = "{PREFIX}"',
        f'instance = "{INSTANCE}"',
        f'data_dir = "{tmp_path / "data"}"',
        f'warehouse_url = "{stack.warehouse_url}"',
        'warehouse_database = "guarded"',
        f'model_server_url = "{stack.model_server_url}"',
        "[kafka]",
        *(f'"{name}" = "{value}"' for name, value in told.items() if name not in {"sasl.username", "sasl.password"}),
    ]
    (folder / "penstock.toml").write_text("\n".join(lines) + "\n")
    publish = (sys.executable, "-m", "penstock.cli", "--project", str(folder), "publish", "--activate")
    secret = {"PENSTOCK_KAFKA__SASL_USERNAME": "operator", "PENSTOCK_KAFKA__SASL_PASSWORD": "operator"[::-1]}
    subprocess.run(publish, env=environment(secret), check=True, capture_output=True)
    return folder


def test_jobs_pass_through_components_that_have_no_more_than_they_need(guarded, workers, tmp_path, eventually):
    """Each component under its own user, with exactly the printed rights: every job ends, and its rows are stored."""
    producer = Producer(guarded.client("producer") | {"enable.idempotence": True})
    failed = []
    for number in range(JOBS):
        job = {"workflow": "banking_intent", "job_id": f"g{number}", "input": {"text": "My card has not arrived yet."}}
        told = lambda error, _: failed.append(error) if error else None  # noqa: E731 -- in place it reads best
        producer.produce(f"{PREFIX}jobs", json.dumps(job).encode(), on_delivery=told)
    assert producer.flush(30) == 0
    assert not failed

    def alive():
        dead = [name for name, worker in zip(PROCESSES, workers, strict=True) if worker.poll() is not None]
        assert not dead, (tmp_path / f"{dead[0]}.log").read_text()[-3000:]
        return True

    operator = guarded.connection("operator")
    ended = eventually(lambda: alive() and counted(guarded, ("results", "escalations")) >= JOBS, limit_s=120)
    assert ended
    eventually(lambda: alive() and behind(lags(operator))["sink"] == 0, limit_s=60)


def counted(guarded, topics):
    """Committed records on topics, as the operator may read them."""
    consumer = Consumer(
        guarded.client("operator") | {"group.id": f"{PREFIX}penstock.reader", "enable.auto.commit": False}
    )
    places = [TopicPartition(PREFIX + topic, partition, 0) for topic in topics for partition in range(6)]
    try:
        consumer.assign(places)
        found = 0
        while (message := consumer.poll(1)) is not None:
            found += message.error() is None
        return found
    finally:
        consumer.close()


@pytest.mark.parametrize(
    ("user", "topic"),
    [
        ("producer", "results"),
        ("reader", "jobs"),
        ("reviewer", "results"),
        ("inference", "control"),
        ("worker", "registry"),
        ("sink", "results"),
        ("nobody", "jobs"),
    ],
)
def test_a_component_is_refused_what_it_should_not_write(guarded, user, topic):
    """Nobody but the operator throws switches; nobody publishes where it has no business."""
    refused = []
    producer = Producer(guarded.client(user) | {"message.timeout.ms": 8000})
    producer.produce(PREFIX + topic, b"{}", on_delivery=lambda error, _: refused.append(error and error.name()))
    producer.flush(20)
    assert refused == ["TOPIC_AUTHORIZATION_FAILED"]


@pytest.mark.parametrize(("user", "topic"), [("producer", "jobs"), ("reader", "escalations"), ("inference", "jobs")])
def test_a_component_is_refused_what_it_should_not_read(guarded, user, topic, eventually):
    """Who publishes jobs can't read others', inference none that intake has not admitted."""
    consumer = Consumer(guarded.client(user) | {"group.id": "x", "enable.auto.commit": False})
    try:
        consumer.assign([TopicPartition(PREFIX + topic, 0, 0)])
        message = eventually(lambda: (got := consumer.poll(0.1)) is not None and got.error() is not None and got)
        assert message.error().name() in {"TOPIC_AUTHORIZATION_FAILED", "GROUP_AUTHORIZATION_FAILED"}
    finally:
        consumer.close()


def test_a_worker_can_t_take_another_s_transactions_or_make_topics(guarded):
    """Fencing another stage's worker, and making a topic, are refused."""
    other = guarded.connection("inference").group(f"{INSTANCE}.routing.0")
    producer = Producer(guarded.client("inference") | {"transactional.id": other})
    with pytest.raises(Exception, match=r"[Aa]uthoriz"):
        producer.init_transactions(20)
    admin = AdminClient(guarded.client("inference"))
    with pytest.raises(Exception, match=r"[Aa]uthoriz"):
        admin.create_topics([NewTopic(f"{PREFIX}mine", 1, 1)])[f"{PREFIX}mine"].result(20)


def test_the_operator_may_look_at_everything(guarded):
    """Lag, doctor and the clock need no more than the operator's rights."""
    operator = guarded.connection("operator")
    facts = ask(operator)
    assert facts.clock_ahead_s is not None
    assert facts.config["transaction.state.log.min.isr"] == "1"
    assert facts.changes == ()
    assert set(behind(facts.lags)) >= {"intake", "sink"}
