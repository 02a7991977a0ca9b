import hashlib

import pytest

from processors.prompts import RenderError
from schemas.base import json_text
from schemas.job import Chunk, Snapshot

NOW = "2026-11-21T12:00:00Z"


def _rendered(desk, job, **files):
    workflow = desk.with_files(**files)
    return workflow.prompt(workflow.settings.ladder[0]).render(job)


def test_a_prompt_is_system_then_the_conversation_then_user(desk, a_job):
    """Earlier turns that the job brought stand between the two templates."""
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    rendered = _rendered(desk, a_job(messages=json_text(turns)))
    assert [turn.role for turn in rendered.messages] == ["system", "user", "assistant", "user"]
    assert rendered.messages[-1].content == "Text: hello"


def test_a_system_prompt_without_job_variables_is_rendered_once(desk, a_job):
    """The same encoded message serves every job of the version."""
    prompt = desk.workflow.prompt(desk.workflow.settings.ladder[0])
    first, second = prompt.render(a_job()), prompt.render(a_job({"text": "other"}))
    assert first.messages[0].encoded is second.messages[0].encoded is not None
    assert '"enum":["a","b"]' in first.messages[0].content


def test_the_prompts_hash_is_of_every_role_and_content(desk, a_job):
    """The hash is the sha256 of role, content, role, content, …; a kept system prompt does not change it."""
    rendered = _rendered(desk, a_job())
    text = "".join(f"{turn.role}\x00{turn.content}\x00" for turn in rendered.messages)
    assert rendered.sha256 == hashlib.sha256(text.encode()).hexdigest()
    templated = {"prompts/small/system.md": "{{ segments.x or '' }}Sort it. Schema: {{ output_schema }}"}
    again = _rendered(desk, a_job(segments={"x": ""}), **templated)
    assert again.sha256 == rendered.sha256
    assert again.messages[0].encoded is None


def test_a_templates_input_is_never_a_template(desk, a_job):
    """What a caller sends is text, also where it looks like Jinja."""
    rendered = _rendered(desk, a_job({"text": "{{ 7 * 7 }}{% include 'x' %}"}))
    assert rendered.messages[-1].content == "Text: {{ 7 * 7 }}{% include 'x' %}"


def test_templates_see_chunks_segments_and_json(desk, a_job):
    """Chunks and segments can be written out, and any value as canonical JSON."""
    snapshot = Snapshot(
        id="s",
        version="1",
        taken_at=NOW,
        sha256="0" * 64,
        chunks=(Chunk(id="c1", text="one"), Chunk(id="c2", text="two")),
    )
    template = (
        "{% for chunk in chunks %}[{{ chunk.id }}] {{ chunk.text }} {% endfor %}"
        "{{ segments.region }} {{ input | tojson }}"
    )
    rendered = _rendered(
        desk, a_job(context=snapshot, segments={"region": "eu"}), **{"prompts/small/user.md": template}
    )
    assert rendered.messages[-1].content == '[c1] one [c2] two eu {"text":"hello"}'


def test_big_integers_reach_the_prompt_digit_by_digit(desk, a_job):
    """A number beyond 64 bits is not turned into a rounded one."""
    files = {"input.schema.json": None, "prompts/small/user.md": "{{ input.account }}"}
    rendered = _rendered(desk, a_job({"account": 123456789012345678901234567890}), **files)
    assert rendered.messages[-1].content == "123456789012345678901234567890"


def test_an_included_file_is_part_of_the_prompt(desk, a_job):
    """Variants can share a text; its size counts towards each."""
    shared = {
        "prompts/shared/rules.md": "Be brief.",
        "prompts/small/system.md": '{% include "prompts/shared/rules.md" %}',
    }
    rendered = _rendered(desk, a_job(), **shared)
    assert rendered.messages[0].content == "Be brief."
    workflow = desk.with_files(**shared)
    assert workflow.prompts["small"].sources == {
        "prompts/shared/rules.md",
        "prompts/small/system.md",
        "prompts/small/user.md",
    }


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("\n{{ input.nothing }}", "prompts/small/user.md:2: .*has no attribute 'nothing'"),
        ("{{ input.text.__class__.__mro__ }}", "unsafe"),
        ("{% for i in range(10**9) %}{% endfor %}", "range"),
        ("{{ input.text + 1 }}", "can only concatenate str"),
    ],
)
def test_what_a_template_may_not_do_is_an_error_with_its_place(desk, a_job, template, said):
    """An undefined name, a way out of the sandbox, an endless loop: refused, with file and line."""
    with pytest.raises(RenderError, match=said):
        _rendered(desk, a_job(), **{"prompts/small/user.md": template})
