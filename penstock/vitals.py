"""Whether this worker lives, whether it is ready, and its metrics, over HTTP on the loopback: for who watches it.

    /healthz   200 while the process does its work; 503 says what has ended that should not have
    /readyz    200 while it takes records; 503 before it has begun, once it is stopping, and while the sink can't store
    /metrics   Prometheus' text format; `streams.metrics` names them all

Nothing is counted or served unless the setting `health_port` is given.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from penstock.settings import Settings, SettingsError
from sinks.port import Sink
from streams import metrics
from streams.kafka.follower import Follower
from streams.kafka.sink_runner import SinkRunner
from streams.kafka.source import KafkaSource
from streams.metered import MeteredPublisher, MeteredSink
from streams.publisher import Publisher

log = structlog.get_logger(__name__)

HOST: Final = "127.0.0.1"
PORTS_TRIED: Final = 64
"""Several workers with one setting: each takes the first port from there on that is free."""


class VitalsError(SettingsError):
    """The endpoint can't be opened."""


@dataclass
class Vitals:
    """What is known about this process; the parts are put in as they come to be."""

    settings: Settings
    worker: str
    parts: Sequence[str]
    control_version: Callable[[], int]
    sources: list[tuple[str, KafkaSource]] = field(default_factory=list)
    """By the name of their group."""
    sink: SinkRunner | None = None
    follower: Follower | None = None
    ready: bool = False
    stopping: bool = False
    port: int | None = None
    _runner: web.AppRunner | None = None

    @property
    def wanted(self) -> bool:
        """Whether anybody watches."""
        return self.settings.health_port is not None

    # --- what is put in ---------------------------------------------------------------------------------------------

    def publisher(self, publisher: Publisher) -> Publisher:
        """The publisher, counted if somebody watches."""
        return MeteredPublisher(publisher) if self.wanted else publisher

    def store(self, sink: Sink) -> Sink:
        """The sink, counted if somebody watches."""
        return MeteredSink(sink) if self.wanted else sink

    # --- what is said -----------------------------------------------------------------------------------------------

    def ills(self) -> list[str]:
        """What has ended that should not have: the process should be started anew."""
        if self.follower is not None and self.ready and not self.stopping and not self.follower.following:
            return ["control is not followed any more: kill switches would not reach this worker"]
        return []

    def obstacles(self) -> list[str]:
        """Why it takes no records now."""
        said = self.ills()
        if not self.ready:
            said.append("it has not begun yet")
        if self.stopping:
            said.append("it is stopping: what is in flight is finished, nothing more is taken")
        if self.sink is not None and self.sink.away_because is not None:
            said.append(f"the warehouse is away: {self.sink.away_because}")
        return said

    def owned(self) -> list[metrics.Owned]:
        """The partitions of each stage."""
        found = ((group.partition(".")[0], one) for group, source in self.sources for one in source.located())
        return [metrics.Owned(stage, one.topic, len(one.position.unfinished)) for stage, one in found]

    # --- the endpoint -----------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Serve from now on, if somebody watches.

        Raises:
            VitalsError: none of the ports is free.
        """
        if not self.wanted:
            return
        from streams import metrics  # noqa: PLC0415 -- as above

        now = metrics.Now(self.worker, ",".join(self.parts), self.owned, self.control_version)
        now.ready = lambda: not self.obstacles()
        if self.sink is not None:
            now.sink_away = functools.partial(_is_away, self.sink)
        metrics.REGISTRY.register(now)
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", functools.partial(self._answer, self.ills)),
                web.get("/readyz", functools.partial(self._answer, self.obstacles)),
                web.get("/metrics", self._exposition),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        self.port = await self._listen(self._runner)
        log.info("health", url=f"http://{HOST}:{self.port}")

    async def close(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> int:
        first = self.settings.health_port or 0
        for port in range(first, first + PORTS_TRIED) if first else (0,):
            try:
                await web.TCPSite(runner, HOST, port).start()
            except OSError:
                continue
            return int(runner.addresses[0][1])
        raise VitalsError(
            f"no port from {first} to {first + PORTS_TRIED - 1} is free on {HOST} for the health endpoint; choose "
            "others with health_port in penstock.toml or PENSTOCK_HEALTH_PORT, or 0 for any that is free"
        )

    async def _answer(self, ask: Callable[[], list[str]], _: web.Request) -> web.Response:
        problems = ask()
        said = {"ok": not problems, "problems": problems, "worker": self.worker, "parts": list(self.parts)}
        return web.json_response(said, status=503 if problems else 200)

    async def _exposition(self, _: web.Request) -> web.Response:
        from streams import metrics  # noqa: PLC0415 -- as above

        # Here, not on a thread: what is in work changes only where the runners run.
        return web.Response(body=metrics.exposition(), headers={"Content-Type": metrics.CONTENT_TYPE})


def _is_away(sink: SinkRunner) -> bool:
    return sink.away_because is not None
