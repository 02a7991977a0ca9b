"""The map of the flow: every topic is read, every stage leads on, and a wrong wire is a type error."""

import re
import subprocess
import sys
from pathlib import Path

from streams.pipeline import STAGES, Processors, pipeline
from streams.stage import Rejects
from streams.topics import (
    ADMITTED,
    BY_SLOT,
    CONTEXT_REQUESTS,
    CONTROL,
    DEAD_LETTER_ACTIONS,
    DEAD_LETTERS,
    DELTAS,
    ESCALATIONS,
    HELD,
    JOBS,
    JOBS_HIGH,
    JOBS_LOW,
    PARKED,
    REGISTRY,
    RESULTS,
    RETRIES_5M,
    RETRIES_10S,
    REVIEW_STATE,
    REVIEWS,
    ROUTING_STATE,
    SNAPSHOT_VERSIONS,
    SPEND,
    TOPICS,
    TRACES,
    VERDICTS,
)

ROOT = Path(__file__).parents[2]
MAP = pipeline(Processors(*[None] * 5), dict.fromkeys(STAGES, 1))

READ_BESIDE_THE_MAP = {
    SPEND: "routing, for what its state must know",
    ROUTING_STATE: "routing, before it starts",
    HELD: "the reviews stage",
    REVIEWS: "the reviews stage's intake",
    VERDICTS: "the reviews stage",
    REVIEW_STATE: "the reviews stage, before it starts",
    RETRIES_10S: "the delays of every worker put its records back",
    RETRIES_5M: "the delays",
    PARKED: "the delays",
    DEAD_LETTER_ACTIONS: "whoever deals with dead letters",
    TRACES: "the sink",
    CONTROL: "the follower of every process",
    REGISTRY: "the follower of every process",
    SNAPSHOT_VERSIONS: "the follower of every process",
}
FOR_PEOPLE = {RESULTS, DELTAS, ESCALATIONS, DEAD_LETTERS, CONTEXT_REQUESTS}


def test_every_topic_is_read_by_something_or_meant_for_people():
    """No topic is written in vain, and none is read that does not exist."""
    by_stages = {topic for stage in MAP for topic in stage.reads}
    assert by_stages | READ_BESIDE_THE_MAP.keys() | FOR_PEOPLE == set(TOPICS)
    assert not by_stages & READ_BESIDE_THE_MAP.keys()


def test_the_stages_stand_in_the_order_of_the_flow():
    """What a stage passes on is what the next one reads; the last one's pass ends the job."""
    assert tuple(stage.name for stage in MAP) == STAGES
    assert [stage.passes for stage in MAP] == [*(stage.reads[0] for stage in MAP[1:]), None]
    assert MAP[0].reads == (JOBS_HIGH, JOBS, JOBS_LOW)


def test_rejections_before_inference_are_ended_by_routing():
    """Intake alone hands its rejections on, to the stage that reads the next topic."""
    assert [stage.name for stage in MAP if stage.rejects is Rejects.THROUGH_ROUTING] == ["intake"]
    assert MAP[1].reads == (ADMITTED,)


def test_topics_differ_and_their_names_are_kafka_s():
    """Names are distinct also to Kafka's metrics, where a dot and an underscore are one."""
    names = [topic.name for topic in TOPICS]
    assert len({name.replace(".", "_") for name in names}) == len(names)
    assert set(names) >= BY_SLOT


def test_a_dead_letter_fits_wherever_its_record_lay():
    """The dead letters' topic takes every record that another topic takes, and the headers that say why."""
    assert all(
        topic.settings.max_bytes + 65_536 <= DEAD_LETTERS.settings.max_bytes
        for topic in TOPICS[:-1]
        if topic is not DEAD_LETTERS
    )


WIRES = """
from processors.outcome import Processor
from schemas.stages import Admitted, Routed
from streams.stage import Stage
from streams.topics import ADMITTED, JOBS, ROUTED

def wire(run: "Processor[Admitted, Routed]") -> None:
    Stage("routing", (ADMITTED,), run, ROUTED, 1)
    Stage("routing", (JOBS,), run, ROUTED, 1)
    Stage("routing", (ADMITTED,), run, JOBS, 1)
"""


def test_a_stage_wired_to_the_wrong_topic_is_a_type_error(tmp_path):
    """Topics are typed by what they hold, so the type checker proves the map: only the right wire passes."""
    (tmp_path / "wires.py").write_text(WIRES)
    checked = subprocess.run(
        (sys.executable, "-m", "mypy", str(tmp_path / "wires.py")),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = re.findall(r"wires\.py:(\d+): error: (Argument 3 to \"Stage\")?", checked.stdout)
    assert errors == [("9", 'Argument 3 to "Stage"'), ("10", 'Argument 3 to "Stage"')], checked.stdout + checked.stderr
