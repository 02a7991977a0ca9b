"""How each fault is carried out on a running pipeline, and what is noted of it for the checker."""

import itertools
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Final, assert_never

from checker.ledger import Fault as Noted
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from lab.children import Child
from lab.site import Site

from chaos.crew import Crew
from chaos.plan import INFERENCE, Die, Fault, Kill, Restart, RestartBroker, WarehouseOutage, Zombie
from penstock.local.stack import EmbeddedStack

SLOW_MS: Final = 2_000
"""Latency of every model until enough calls are open."""
FILL_S: Final = 180.0
DIE_S: Final = 180.0
TAKEOVER_S: Final = 180.0
SETTLE_S: Final = 25.0
"""Seconds after a broker or a frozen process is back in which the groups may still move: a client gives up a call that
hangs after 10 s (the transaction's time-out), and a member that is not heard of is taken for gone after 10 s more."""
ENDS_BY_ANOTHER: Final = 25
"""Jobs that must end in a zombie's absence before it wakes."""
FAIL_POINT: Final = "PENSTOCK_FAIL_POINT"


@dataclass
class Injector:
    """Breaks one pipeline."""

    site: Site
    stack: EmbeddedStack
    crew: Crew
    noted: list[Noted] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)
    """The stages whose process was ended by SIGKILL, its own included."""
    fail_point_deaths: int = 0
    open_at_kills: list[int] = field(default_factory=list)
    """Calls open at each kill that waited for them."""
    zombies: list[str] = field(default_factory=list)
    """What became of them."""
    _awake: list[tuple[str, Child]] = field(default_factory=list)
    _timers: list[threading.Timer] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def inject(self, fault: Fault) -> None:
        """Carry it out.

        Raises:
            LabError: what should follow does not.
        """
        match fault:
            case Kill(stage=stage, open_calls=wanted):
                self._kill(stage, wanted)
                self.crew.launch(stage)
            case Die(stage=stage, nth=nth):
                self._die(stage, nth)
            case RestartBroker():
                self._restart_broker(fault)
            case Zombie(same_slot=False, stage=stage):
                self._zombie_elsewhere(stage)
            case Zombie(stage=stage, nth=nth):
                self._zombie_in_the_same_slot(stage, nth)
            case WarehouseOutage(seconds=seconds):
                self.stack.pause("warehouse")
                self._timers.append(threading.Timer(seconds, self.stack.resume, ("warehouse",)))
                self._timers[-1].start()
            case _:
                assert_never(fault)

    def finish(self) -> None:
        """Wait for what still lasts, and say what became of the zombies."""
        for timer in self._timers:
            timer.join()
        for stage, zombie in self._awake:
            code = zombie.exit_code()
            self.zombies.append(f"{stage}: {'works on' if code is None else f'ended with {code}'}")

    # --- kills -------------------------------------------------------------------------------------------------------

    def _kill(self, stage: str, open_calls: int = 0) -> None:
        """Kill; who calls puts another in its place."""
        victim = self.crew.ready(stage)
        if open_calls:
            self.open_at_kills.append(self._fill(open_calls))
        self.crew.dismiss(stage)
        self._note_kill(stage, victim.kill())
        if open_calls:
            self.site.models.set_latency(None)

    def _die(self, stage: str, nth: int) -> None:
        self._kill(stage)
        armed = self.crew.launch(stage, **{FAIL_POINT: f"before-commit:{nth}"})
        self.crew.dismiss(stage)
        self.crew.until(lambda: armed.exit_code() is not None, f"{stage} dies before its commit {nth}", DIE_S)
        assert armed.exit_code() == -signal.SIGKILL, f"{stage} ended with {armed.exit_code()}: {armed.said()[-500:]}"
        self._note_kill(stage, time.time())
        self.fail_point_deaths += 1
        self.crew.launch(stage)

    def _fill(self, wanted: int) -> int:
        """Make the models slow until so many calls are open; return how many are."""
        self.site.models.set_latency(SLOW_MS)
        self.crew.until(lambda: self.site.models.open_calls() >= wanted, f"{wanted} open calls", FILL_S)
        return self.site.models.open_calls()

    def _note_kill(self, stage: str, at: float) -> None:
        self.kills.append(stage)
        self.noted.append(Noted(f"kill -9 of {stage}", at, at, repeats_calls=self._calls(stage)))

    # --- the broker --------------------------------------------------------------------------------------------------

    def _restart_broker(self, fault: RestartBroker) -> None:
        self.crew.all_ready()
        frozen = self._frozen(fault.stage, fault.nth) if fault.how is Restart.MID_TRANSACTION else None
        began = time.time()
        self.stack.restart("broker", kill=fault.how is not Restart.GRACEFUL)
        if frozen is not None:
            frozen.signal(signal.SIGCONT)
        self.noted.append(Noted(f"broker {fault.how}", began, time.time() + SETTLE_S))

    def _frozen(self, stage: str, nth: int) -> Child:
        """A stage's process that has stopped before its nth commit, in place of the one that was there."""
        self._kill(stage)
        armed = self.crew.launch(stage, **{FAIL_POINT: f"before-commit:{nth}:STOP"})
        self.crew.until(armed.frozen, f"{stage} stops before its commit {nth}", DIE_S)
        return armed

    # --- zombies -----------------------------------------------------------------------------------------------------

    def _zombie_elsewhere(self, stage: str) -> None:
        zombie = self.crew.ready(stage)
        if self._calls(stage):
            self._fill(1)
        zombie.signal(signal.SIGSTOP)
        began = time.time()
        instance = f"elsewhere{next(self._numbers)}"
        self.crew.dismiss(stage)
        self.crew.launch(stage, PENSTOCK_INSTANCE=instance)
        self.crew.until(lambda: self._owns_all(stage, instance), f"{stage} of {instance} owns all", TAKEOVER_S)
        self.site.models.set_latency(None)
        self._wake(stage, zombie, began)

    def _zombie_in_the_same_slot(self, stage: str, nth: int) -> None:
        zombie = self._frozen(stage, nth)
        began = time.time()
        self.crew.dismiss(stage)
        elsewhere = self.site.settings.data_dir / f"elsewhere{next(self._numbers)}"
        successor = self.crew.launch(stage, PENSTOCK_DATA_DIR=str(elsewhere))
        self.crew.ready(stage)
        self._wake(stage, zombie, began)
        self.crew.dismiss(stage)  # they fence each other: one of them must give way, and may be either

        def one_gives_way() -> bool:
            return zombie.exit_code() is not None or successor.exit_code() is not None

        self.crew.until(one_gives_way, f"one of two processes in a slot of {stage} gives way", TAKEOVER_S)
        gone = "the zombie" if zombie.exit_code() is not None else "its successor"
        self.zombies.append(f"{stage}: {gone} gave way")
        self._awake.remove((stage, zombie))
        for one in (zombie, successor):
            if one.exit_code() is None:
                self._note_kill(stage, one.kill())
        self.crew.launch(stage)

    def _wake(self, stage: str, zombie: Child, began: float) -> None:
        """Let it go on once others have done its work."""
        enough = self.site.ends.count + ENDS_BY_ANOTHER
        self.crew.until(lambda: self.site.ends.count >= enough, f"{stage} goes on without its zombie", TAKEOVER_S)
        zombie.signal(signal.SIGCONT)
        self._awake.append((stage, zombie))
        self.noted.append(Noted(f"zombie of {stage}", began, time.time() + SETTLE_S, repeats_calls=self._calls(stage)))

    def _calls(self, stage: str) -> bool:
        """Whether this stage's process calls models."""
        return INFERENCE in self.crew.parts_with(stage)

    def _owns_all(self, stage: str, instance: str) -> bool:
        """Whether the members of this instance have all partitions of the stage's group."""
        group = f"{self.site.settings.prefix}penstock.{stage}"
        admin = AdminClient({"bootstrap.servers": self.site.settings.broker, "log_level": 0})
        try:
            found = admin.describe_consumer_groups([group], request_timeout=10)[group].result()
        except KafkaException:  # no answer in time: asked again
            return False
        owners = {m.group_instance_id for m in found.members if m.assignment and m.assignment.topic_partitions}
        return bool(owners) and all((owner or "").startswith(f"{instance}.") for owner in owners)
