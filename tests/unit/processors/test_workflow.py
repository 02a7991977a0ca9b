import pytest

from processors.problems import WorkflowError
from processors.workflow import compile_workflow
from schemas.control import Bundle
from schemas.job import Risk, TaskType

SMALLEST = """
task = "other"
owner = "someone"
[[ladder]]
variant = "only"
tier = "A"
model = "tiny"
"""


def _compiled(files):
    return compile_workflow(Bundle(workflow="sorting", files=files))


def test_the_smallest_workflow_is_a_prompt_and_one_rung():
    """Everything else has a default: any object in, text out, the gate's thresholds."""
    workflow = _compiled({"workflow.toml": SMALLEST, "prompts/only/user.md": "Say hello."})
    assert workflow.settings.risk is Risk.NORMAL
    assert workflow.settings.task is TaskType.OTHER
    assert workflow.output_schema is None
    assert workflow.input_schema.violations({"anything": 1}) == ()
    assert workflow.input_schema.violations("text") != ()
    assert (workflow.settings.gate.accept_at, workflow.settings.gate.climb_below) == (0.85, 0.72)


def test_what_does_not_compile_says_all_its_problems(files):
    """Two mistakes in one file are two problems."""
    broken = files["workflow.toml"].replace("task =", "tsk =").replace('tier = "A"', 'tier = "Q"')
    with pytest.raises(WorkflowError) as caught:
        _compiled(files | {"workflow.toml": broken})
    assert {problem.field for problem in caught.value.problems} == {"task", "tsk", "ladder.0.tier"}


def test_a_calibration_serves_the_variant_it_was_fitted_on(files, calibration_for):
    """The map is found for the variant and the model that answered, and for nobody else."""
    workflow = _compiled(files)
    fitted = _compiled(files | {"calibration.json": calibration_for(workflow)})
    assert fitted.map_for("small", "tiny-1").method == "platt"
    assert "no calibration for variant small on other" in fitted.map_for("small", "other")
    assert "no calibration for variant mid" in fitted.map_for("mid", "tiny-1")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("prompts/small/system.md", "Another prompt."),
        ("output.schema.json", '{"type": "object"}'),
        ("workflow.toml", None),
    ],
)
def test_a_changed_variant_voids_its_calibration(files, calibration_for, path, text):
    """After a change of prompt, schema or parameters the old map is not believed any more."""
    calibration = calibration_for(_compiled(files))
    changed = text or files[path].replace('model = "tiny"', 'model = "tiny"\nparams = { temperature = 1 }')
    workflow = _compiled(files | {path: changed, "calibration.json": calibration})
    assert "was fitted on another prompt or other parameters" in workflow.map_for("small", "tiny-1")


def test_a_change_beside_the_variant_keeps_its_calibration(files, calibration_for):
    """The gate's thresholds and another rung's parameters are no part of a variant."""
    calibration = calibration_for(_compiled(files))
    changed = files["workflow.toml"] + "\n[gate]\naccept_at = 0.9\n"
    workflow = _compiled(files | {"workflow.toml": changed, "calibration.json": calibration})
    assert workflow.map_for("small", "tiny-1").method == "platt"
