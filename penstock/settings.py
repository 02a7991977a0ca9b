"""Every setting of Penstock, in one place: what it is called, what it defaults to, where it may come from.

A value comes from the environment (`PENSTOCK_BROKER=…`), else from the project's `penstock.toml` (`broker = "…"`), else
from the default below. Secrets come from the environment only. One key of a table is `__` in the environment:
`PENSTOCK_CONCURRENCY__INFERENCE=400`, `PENSTOCK_KAFKA__SASL_PASSWORD=…` (which is librdkafka's `sasl.password`).
"""

import os
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as SourceError

from penstock import settings_checks as checks
from penstock import ways_in
from penstock.ways_in import Permit, SourceOfJobs
from streams import fail_points

ENV_PREFIX: Final = "PENSTOCK_"
PROJECT_FILE: Final = "penstock.toml"
DEFAULT_CONCURRENCY: Final = {
    "intake": 256,
    "routing": 500,
    "inference": 256,
    "validation": 256,
    "grading": 256,
    "reviews": 500,
}

Port = Annotated[int, Field(ge=1, le=65535)]
Url = Annotated[str, AfterValidator(checks.url)]


class SettingsError(Exception):
    """A setting is unknown, wrong or in the wrong place; the text names it, its source and what is expected."""


class Settings(BaseSettings):
    """All settings, frozen. Make one with `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    project: Path = Field(description="folder with penstock.toml, models.toml and workflows/")
    data_dir: Path = Field(
        Path(".penstock"), description="what the embedded stack and the slots keep; relative to the project"
    )
    claims_dir: Path = Field(
        default_factory=lambda data: data.get("data_dir", Path(".penstock")) / "claims",
        description="where values over 256 KiB are kept; several machines need one that all share",
    )
    application: str = Field(
        "penstock", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="names groups and transactional ids"
    )
    prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,100}$", description="put before every topic's name")
    instance: str = Field(default_factory=socket.gethostname, min_length=1, description="names this machine in slots")
    slot: int | None = Field(None, ge=0, description="fixed slot of this process; default: the first that is free")
    max_slots: int = Field(64, ge=1, le=1024, description="processes per machine and stage")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    health_port: Annotated[int, Field(ge=0, le=65535)] | None = Field(
        None, description="first port of the workers' health endpoints; 0: any that is free; default: none"
    )
    drain_s: float = Field(30.0, ge=0, le=3600, description="seconds that a stopping worker waits for work in flight")

    broker_port: Port = Field(19092, description="port of the embedded broker")
    warehouse_port: Port = Field(18123, description="port of the embedded warehouse")
    model_server_port: Port = Field(18080, description="port of the embedded model server")
    broker: Annotated[str, AfterValidator(checks.bootstrap_servers)] = Field(
        default_factory=lambda data: f"127.0.0.1:{data.get('broker_port')}",
        description="host:port[,host:port…] of Kafka",
    )
    warehouse_url: Url = Field(
        default_factory=lambda data: f"http://127.0.0.1:{data.get('warehouse_port')}",
        description="ClickHouse over HTTP",
    )
    warehouse_user: str = "default"
    warehouse_password: SecretStr = SecretStr("")
    warehouse_database: str = Field("default", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    model_server_url: Url = Field(default_factory=lambda data: f"http://127.0.0.1:{data.get('model_server_port')}")

    broker_heap_mb: int = Field(384, ge=192, le=65536, description="heap of the embedded broker, MiB")
    broker_properties: dict[str, SecretStr] = Field(
        {}, description="server properties of the embedded broker, over ours"
    )
    model_server_args: tuple[str, ...] = Field(
        (), description="arguments of the embedded model server, such as latencies"
    )
    maven_repository: Url | None = Field(None, description="where the broker's jars come from; default: Maven Central")
    cache_dir: Path | None = Field(
        None, description="where the broker's jars are kept; default: the user's cache folder"
    )

    transaction_timeout_ms: int = Field(
        10_000, ge=1_000, le=60_000, description="bound on a killed worker's open transaction"
    )
    concurrency: dict[str, int] = Field(
        {}, description="records in work at once, by stage (ordered stages: records a batch)"
    )
    every_topic: bool = Field(
        False, description="also stages of one process that could follow at once pass everything on over its topic"
    )
    kafka: dict[str, SecretStr] = Field({}, description="librdkafka's own settings for reaching the broker")
    replication: int | None = Field(None, ge=1, le=16, description="replicas of new topics; default: the broker's")
    partitions: dict[str, Annotated[int, Field(ge=1, le=1024)]] = Field(
        {}, description="partitions by topic, for those that any stage works on in any order"
    )
    retention_hours: dict[str, Annotated[float, Field(ge=1, le=87_600)]] = Field(
        {}, description="how long a topic keeps records, by topic"
    )

    permit: dict[str, Permit] = Field(
        {}, description="who may send jobs on which of jobs.high, jobs and jobs.low; default: everyone"
    )

    source: dict[str, SourceOfJobs] = Field(
        {}, description="topics that exist for other purposes, and how their records become jobs"
    )

    @field_validator("source", mode="after")
    @classmethod
    def _others_topics(cls, value: dict[str, SourceOfJobs]) -> dict[str, SourceOfJobs]:
        ways_in.require_others(value)
        return value

    @field_validator("permit", mode="after")
    @classmethod
    def _known_ways_in(cls, value: dict[str, Permit]) -> dict[str, Permit]:
        ways_in.require_known(value)
        return value

    @field_validator("concurrency", mode="after")
    @classmethod
    def _complete_concurrency(cls, value: dict[str, int]) -> dict[str, int]:
        return checks.concurrency(value, DEFAULT_CONCURRENCY)

    @field_validator("kafka", mode="after")
    @classmethod
    def _name_kafka(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        return checks.kafka(value)

    @model_validator(mode="after")
    def _ports_differ(self) -> "Settings":
        checks.distinct(
            {name: getattr(self, name) for name in ("broker_port", "warehouse_port", "model_server_port")},
        )
        return self

    @field_validator("project", mode="after")
    @classmethod
    def _absolute_project(cls, value: Path) -> Path:
        return value.expanduser().resolve()

    @field_validator("data_dir", mode="after")
    @classmethod
    def _absolute_data_dir(cls, value: Path, info: ValidationInfo) -> Path:
        project: Path = info.data.get("project", Path.cwd())
        return (project / value.expanduser()).resolve()

    @field_validator("claims_dir", mode="after")
    @classmethod
    def _absolute_claims_dir(cls, value: Path, info: ValidationInfo) -> Path:
        project: Path = info.data.get("project", Path.cwd())
        return (project / value.expanduser()).resolve()

    @property
    def slots_dir(self) -> Path:
        """Folder of the lock files that give each process of this machine its slot."""
        return self.data_dir / "slots"

    def kafka_config(self) -> dict[str, str]:
        """Return what every librdkafka client needs to reach the broker, secrets in plain text: never log it."""
        return {"bootstrap.servers": self.broker} | {k: v.get_secret_value() for k, v in self.kafka.items()}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic-settings passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Rank the sources: arguments, environment, `penstock.toml` of the project."""
        project = init_settings().get("project")
        table = read_project_file(Path(project) / PROJECT_FILE) if project else {}
        return init_settings, env_settings, InitSettingsSource(settings_cls, init_kwargs=table)


def load_settings(start: Path | None = None, **overrides: Any) -> Settings:
    """Find the project and read its settings.

    Args:
        start: Where to look for the project, there and in the folders above; default: `PENSTOCK_PROJECT`, else the
            working directory.
        overrides: Settings that win over environment and file, such as a command's options.

    Raises:
        SettingsError: a setting is unknown or wrong, or `PENSTOCK_PROJECT` names no project.
    """
    project = find_project(start)
    _refuse_unknown_environment(os.environ)
    try:
        return Settings(project=project, **overrides)
    except ValidationError as error:
        # `from None`: pydantic's own text may quote values, and a value may be a secret.
        raise SettingsError(
            checks.explain(error, project / PROJECT_FILE, ENV_PREFIX, list(Settings.model_fields), overrides)
        ) from None
    except SourceError as error:
        raise SettingsError(
            f"environment: {error}; a table takes JSON or one variable per key: PENSTOCK_<TABLE>__<KEY>"
        ) from None


def find_project(start: Path | None = None) -> Path:
    """Return the project's folder: the nearest with a `penstock.toml`, else the starting point itself.

    Raises:
        SettingsError: `PENSTOCK_PROJECT` names neither a `penstock.toml` nor a folder with one.
    """
    named = os.environ.get(f"{ENV_PREFIX}PROJECT")
    if start is None and named:
        folder = Path(named).expanduser().resolve()
        folder = folder.parent if folder.name == PROJECT_FILE else folder
        if not (folder / PROJECT_FILE).is_file():
            raise SettingsError(f"PENSTOCK_PROJECT names {named}, and there is no {PROJECT_FILE} there")
        return folder
    here = (start or Path.cwd()).resolve()
    return next((folder for folder in (here, *here.parents) if (folder / PROJECT_FILE).is_file()), here)


def read_project_file(path: Path) -> dict[str, Any]:
    """Read `penstock.toml`, dotted tables flattened to the names that the environment uses; a missing file is empty.

    Raises:
        SettingsError: the file is not TOML, or holds a secret.
    """
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    for name in ("kafka", "broker_properties", "partitions", "retention_hours"):
        if isinstance(table.get(name), dict):
            table[name] = checks.flatten(table[name])
    secrets = [
        f"{name}.{key}"
        for name in ("kafka", "broker_properties")
        for key in table.get(name, ())
        if checks.is_secret(key)
    ]
    secrets += [name for name in ("warehouse_password",) if name in table]
    if secrets:
        variable = ENV_PREFIX + secrets[0].replace(".", "__", 1).replace(".", "_").upper()
        raise SettingsError(
            f"{path}: {secrets[0]} is a secret, and secrets come from the environment only: set {variable}"
        )
    if isinstance(
        table.get("kafka"), dict
    ):  # in the environment's spelling, so that a variable replaces the file's key
        table["kafka"] = {key.replace(".", "_"): value for key, value in table["kafka"].items()}
    if "project" in table:
        raise SettingsError(f"{path}: `project` is where this file is; remove it")
    return table


def _refuse_unknown_environment(environ: Mapping[str, str]) -> None:
    """A misspelt variable must not be ignored in silence. Names ending in _API_KEY are left to models.toml."""
    known = [*(ENV_PREFIX + name.upper() for name in Settings.model_fields), fail_points.VARIABLE]
    for name in environ:
        upper = name.upper()
        if upper.startswith(ENV_PREFIX) and upper.partition("__")[0] not in known and not upper.endswith("_API_KEY"):
            raise SettingsError(f"environment: {name} is no setting{checks.nearest(upper, known)}")
