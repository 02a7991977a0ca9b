"""The switchboard on real Kafka: one hand at a time, all or nothing, and followers that see it at once."""

import uuid
from datetime import UTC, datetime

import pytest

from processors.control import ControlState
from schemas.control import Bundle, Control, ControlKind, SwitchKind
from streams.errors import SlotTaken
from streams.kafka.admin import ensure_topics
from streams.kafka.connection import Connection
from streams.kafka.follower import Follower
from streams.kafka.operate import publish_control
from streams.kafka.switchboard import Switchboard
from streams.topics import CONTROL, REGISTRY

pytestmark = pytest.mark.stack

FIRST, SECOND = (Bundle(workflow="sorting", files={"workflow.toml": text}) for text in ("one", "two"))


def activation(bundle, why="because"):
    at = datetime.now(UTC)
    target, kind = SwitchKind.WORKFLOW, ControlKind.ACTIVATE
    return Control(kind=kind, target=target, name="sorting", version=bundle.version, who="me", why=why, at=at)


@pytest.fixture
def link(stack):
    """Give a connection to topics of the test's own."""
    made = Connection(stack.broker, prefix=f"board{uuid.uuid4().hex[:8]}.")
    ensure_topics(made, (CONTROL, REGISTRY))
    return made


def seen(link):
    board = Switchboard(link)
    board.look()
    return board


def test_what_is_written_is_there_for_whoever_looks(link):
    """Bundle and switch are both there, and the control version is where the switch lies."""
    with Switchboard(link) as board:
        assert board.state == ControlState()
        version = board.write([FIRST], [activation(FIRST)])
        assert board.state.active == {"sorting": FIRST.version}
    after = seen(link)
    assert (after.state.version, after.state.active) == (version, {"sorting": FIRST.version})
    assert list(after.published("sorting")) == [FIRST.version]


def test_who_was_overtaken_writes_nothing(link):
    """Two owners at once: the later one has it; what the earlier one decided on an older state is refused whole."""
    with Switchboard(link) as early, Switchboard(link) as late:
        with pytest.raises(SlotTaken, match="somebody else has begun"):
            early.write([FIRST], [activation(FIRST)])
        late.write([SECOND], [activation(SECOND)])
    after = seen(link)
    assert after.state.active == {"sorting": SECOND.version}
    assert list(after.published("sorting")) == [SECOND.version]


def test_a_follower_is_at_its_end_behind_a_transaction_s_mark(link, eventually):
    """The end of a log that is a mark is reached at once, and what comes later arrives too."""
    with Switchboard(link) as board:
        board.write([FIRST], [activation(FIRST)])
        heard = []
        follower = Follower(link, lambda version, control: heard.append((version, control)), lambda _: None)
        follower.start()
        try:
            assert [control.version for _, control in heard] == [FIRST.version]
            kill = activation(FIRST).model_copy(update={"kind": ControlKind.KILL, "version": ""})
            offset = publish_control(link, kill)
            board.write([SECOND], [activation(SECOND)])
            eventually(lambda: len(heard) == 3)
        finally:
            follower.close()
    assert [control.kind for _, control in heard] == [ControlKind.ACTIVATE, ControlKind.KILL, ControlKind.ACTIVATE]
    assert heard[1][0] == offset


def test_a_kill_switch_waits_for_nobody(link):
    """It goes past whoever has the switchboard, and does not take it away."""
    with Switchboard(link) as board:
        kill = activation(FIRST).model_copy(update={"kind": ControlKind.KILL, "version": ""})
        publish_control(link, kill)
        board.write([FIRST], [activation(FIRST)])
    assert seen(link).state.killed(SwitchKind.WORKFLOW, "sorting")


def test_an_empty_history_is_read_to_its_end(link):
    """Nothing was ever switched."""
    assert seen(link).state == ControlState()
