"""The composition root, second half: one process's stages and sink, from the slot to the last commit."""

import asyncio
import getpass
import random
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
import uvloop

from penstock import memory, wanted
from penstock.compose import models, sources
from penstock.lines import connection, warehouse
from penstock.logs import name_process
from penstock.releases import activate_missing
from penstock.settings import Settings
from penstock.vitals import Vitals
from processors.catalog import Catalog
from processors.control import ControlState
from processors.grading import Grading
from processors.inference import Inference
from processors.intake import Intake, Permitted
from processors.policy.health import Health
from processors.providers.http import connect
from processors.providers.port import Provider
from processors.providers.tools_http import HttpTools
from processors.releases import Act
from processors.reviewing import Reviewing
from processors.routing import Routing
from processors.validation import Validation
from sinks import migrations
from streams.awake import Awake
from streams.claim_store import ClaimStore
from streams.control import ControlHistory
from streams.deltas import Deltas
from streams.kafka.admin import require_topics
from streams.kafka.connection import Connection
from streams.kafka.follower import Follower
from streams.kafka.pausable import PausableKafkaSource
from streams.kafka.publisher import KafkaPublisher
from streams.kafka.sink_runner import SinkRunner
from streams.kafka.teller import KafkaTeller
from streams.kafka.waiting import WaitingRecords
from streams.pipeline import REVIEWS, STAGES, Processors, pipeline
from streams.pressure import TIMES_CONCURRENCY, Gate
from streams.slots import Slot, take_slot
from streams.stage import Stage
from streams.state import Changelog
from streams.topics import ROUTED
from streams.worker import Worker, utc_now

log = structlog.get_logger(__name__)

SINK = "sink"
PARTS = (*STAGES, REVIEWS, SINK)
"""What a process can run."""


def run_worker(settings: Settings, parts: tuple[str, ...] = PARTS, on_ready: Callable[[], None] = lambda: None) -> None:
    """Run stages (and the sink, if it is among `parts`) until SIGINT or SIGTERM; `on_ready` is called once.

    Raises:
        StreamsError: the broker is away, the slot is taken, a position is lost, too many bugs: it says what to do.
        ModelsError: models.toml is wrong.
        WorkflowError: a workflow of the project does not compile.
        MigrationError: the warehouse's tables are not those of this version.
    """
    uvloop.run(Process(settings, parts).run(on_ready))


@dataclass
class Process:
    """One process of the pipeline, and what must be ended with it."""

    settings: Settings
    parts: tuple[str, ...]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._link: Connection = connection(self.settings)
        self._catalog = Catalog(models(self.settings))
        self._history = ControlHistory(self._catalog)
        self._teller = KafkaTeller(self._link)
        self._health = Health()
        self._stages = tuple(part for part in STAGES if part in self.parts)
        self._sources = sources(self.settings) if STAGES[0] in self.parts else ()
        self._name = "all" if set(self.parts) == set(PARTS) else "-".join(part for part in PARTS if part in self.parts)

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Everything from the slot to the last commit, in the order that the promises need."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stopping.set)
        # 1. a slot of our own; 2. the topics
        slot = take_slot(self.settings.slots_dir, self._name, self.settings.max_slots, self.settings.slot)
        self._vitals = Vitals(self.settings, self._worker_name(slot), self.parts, lambda: self._history.state.version)
        name_process(worker=self._vitals.worker)
        await asyncio.to_thread(wanted.ensure, self.settings, self._link)
        if self._sources:
            await asyncio.to_thread(require_topics, self._link, [source.topic for source in self._sources])
        # 3. the sink is made first, so that it hears control from its start
        sink = self._sink(slot) if SINK in self.parts else None
        if sink:
            memory.keep_what_is_freed()
        self._history.heard = sink.heard if sink else None
        history = self._history
        # 4. control is read to its end, and workflows that have no active version get one
        follower = Follower(self._link, history.on_control, history.on_bundle, history.on_snapshot)
        self._vitals.sink, self._vitals.follower = sink, follower
        awake = Awake()
        watching = asyncio.create_task(awake.run())
        providers = connect(self._catalog.models, before_call=awake.before_call)
        self._tools = HttpTools(awake.before_call)
        await self._vitals.open()
        try:
            await asyncio.to_thread(follower.start)
            await asyncio.to_thread(self._activate_missing)
            memory.settle()
            # 5. stages and sink
            await self._run_parts(slot, sink, providers, on_ready)
        finally:
            watching.cancel()
            follower.close()
            await self._vitals.close()
            await asyncio.to_thread(self._teller.close)
            await asyncio.gather(self._tools.aclose(), *(provider.aclose() for provider in providers.values()))
            slot.close()

    def _activate_missing(self) -> None:
        act = Act(getpass.getuser(), "no version was active", utc_now())
        activate_missing(self.settings, act, has_version=lambda name: name in self._history.state.active)

    async def _run_parts(
        self, slot: Slot, sink: SinkRunner | None, providers: dict[str, Provider], on_ready: Callable[[], None]
    ) -> None:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        thread = _in_thread(sink, ended) if sink else None
        worker = self._worker(slot, providers) if self._stages or REVIEWS in self.parts else None
        running = asyncio.create_task(worker.run()) if worker else None
        stop = asyncio.create_task(self.stopping.wait())
        ends = [one for one in (stop, ended, running) if one]
        if worker is not None:
            begun = asyncio.create_task(worker.ready.wait())
            await asyncio.wait([begun, *ends], return_when=asyncio.FIRST_COMPLETED)
            begun.cancel()
        if not any(one.done() for one in ends):
            self._vitals.ready = True
            on_ready()
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        self._vitals.stopping = True
        # 6. stages first: what they commit now, the sink may still store
        if worker is not None and running is not None:
            worker.stop()
            await asyncio.wait([running])
        if sink is not None and thread is not None:
            sink.stop()
            await asyncio.to_thread(thread.join)
        stop.cancel()
        for one in (running, ended):
            if one is not None and one.done() and (error := one.exception()) is not None:
                raise error

    def _sink(self, slot: Slot) -> SinkRunner:
        store = warehouse(self.settings)
        counted = self._vitals.store(store)
        return SinkRunner(self._link, counted, self._member(slot, SINK), prepare=lambda: migrations.apply(store))

    def _worker(self, slot: Slot, providers: dict[str, Provider]) -> Worker:
        fence = threading.Lock()
        chosen = tuple(stage for stage in self._pipeline(providers) if stage.name in self._stages)

        def open_source(stage: str, topics: Sequence[str], changelog: Changelog[Any] | None) -> PausableKafkaSource:
            member, concurrency = self._member(slot, stage), self.settings.concurrency.get(stage, 1)
            source = PausableKafkaSource(
                self._link, stage, topics, member, fence, concurrency=concurrency, changelog=changelog
            )
            self._vitals.sources.append((stage, source))
            return source

        return Worker(
            chosen,
            open_source,
            self._vitals.publisher(KafkaPublisher(self._link, self._name, slot.number, fence)),
            name=self._worker_name(slot),
            drain_s=self.settings.drain_s,
            every_topic=self.settings.every_topic,
            control_version=lambda: self._history.state.version,
            gate=self._gate() if STAGES[0] in self._stages else None,
            reviewing=Reviewing(self._catalog) if REVIEWS in self.parts else None,
            sources=self._sources,
            claims=ClaimStore(self.settings.claims_dir),
            tell=self._teller.tell,
            answered=self._health.answered,
        )

    def _gate(self) -> Gate:
        """Intake holds back while more jobs wait for inference than it will take up in the next moments."""
        at_most = TIMES_CONCURRENCY * self.settings.concurrency["inference"]
        return Gate(WaitingRecords(self._link, "inference", ROUTED.name), at_most)

    def _pipeline(self, providers: dict[str, Provider]) -> tuple[Stage[Any, Any], ...]:
        catalog, clock = self._catalog, utc_now

        def control() -> ControlState:
            return self._history.state

        return pipeline(
            Processors(
                intake=Intake(catalog, control, clock, _permitted(self.settings)),
                routing=Routing(catalog, control, clock, self._health.seen_ms),
                inference=Inference(
                    catalog,
                    providers,
                    control,
                    clock,
                    asyncio.sleep,
                    random.random,
                    show=Deltas(self._teller.tell),
                    tools=self._tools,
                ),
                validation=Validation(catalog, control),
                grading=Grading(catalog, control, clock),
            ),
            self.settings.concurrency,
        )

    def _worker_name(self, slot: Slot) -> str:
        return f"{self.settings.instance}/{self._name}/{slot.number}"

    def _member(self, slot: Slot, part: str) -> str:
        """A stable name in the part's consumer group: a restart in the same slot takes over at once."""
        return f"{self.settings.instance}.{self._name}.{slot.number}.{part}"


def _permitted(settings: Settings) -> dict[str, Permitted]:
    def allowed(names: tuple[str, ...] | None) -> frozenset[str] | None:
        return None if names is None else frozenset(names)

    return {name: Permitted(allowed(one.tenants), allowed(one.workflows)) for name, one in settings.permit.items()}


def _in_thread(sink: SinkRunner, ended: asyncio.Future[None]) -> threading.Thread:
    loop = asyncio.get_running_loop()

    def run() -> None:
        try:
            sink.run()
        except BaseException as error:  # noqa: BLE001 -- told to whoever waits, who raises it
            loop.call_soon_threadsafe(_end, ended, error)
        else:
            loop.call_soon_threadsafe(_end, ended, None)

    thread = threading.Thread(target=run, name="sink", daemon=True)
    thread.start()
    return thread


def _end(ended: asyncio.Future[None], error: BaseException | None) -> None:
    if error is None:
        ended.set_result(None)
    else:
        ended.set_exception(error)
