"""What a new workflow starts as: the smallest folder that lints, with everything in it that its owner will edit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from penstock.errors import PenstockError
from processors.models import Model, Models, read_models
from schemas.base import json_text

VARIANT: Final = "main"

SETTINGS: Final = """\
# {name}: say in a sentence what it decides, and for whom.

task = "{task}"            # classify, extract, rewrite, summarize, qa, route, other
owner = "{owner}"
risk = "normal"              # low, normal, high
failure_mode = "closed"      # what can't be checked is not let through
review_every_days = 90

[[ladder]]                   # rungs in order, cheapest first; add a dearer one for what this one is not sure of
variant = "{variant}"            # prompts/{variant}/
tier = "{tier}"                   # A small, B mid, C premium
model = "{model}"
params = {{ temperature = 0, max_tokens = {max_tokens} }}

[gate]
accept_at = 0.85             # from this confidence on an answer is accepted
climb_below = 0.72           # below it the next rung tries; without one, a person decides
fields = ["{field}"]         # what the confidence is about
"""

USER: Final = """\
<message>
{{ input.text }}
</message>
"""


class ScaffoldError(PenstockError):
    """Nothing was written; the text says why."""


def files(name: str, labels: Sequence[str], chosen: str, models: Models, owner: str) -> dict[str, str]:
    """The files of a new workflow by their path in its folder.

    Args:
        name: the workflow's name.
        labels: what it chooses between; none makes one that answers with a text.
        chosen: the model, by its name in models.toml.
        models: the project's models.
        owner: who answers for it.

    Raises:
        ScaffoldError: there is no such model.
    """
    model = models.models.get(chosen)
    if model is None:
        raise ScaffoldError(f"models.toml has no model {chosen!r}; it has {', '.join(sorted(models.models))}")
    field = "label" if labels else "answer"
    return {
        "workflow.toml": _settings(name, labels, chosen, model, owner),
        f"prompts/{VARIANT}/system.md": _system(labels),
        f"prompts/{VARIANT}/user.md": USER,
        "input.schema.json": _pretty(_object("text", {"type": "string", "minLength": 1, "maxLength": 20_000})),
        "output.schema.json": _pretty(_object(field, {"enum": list(labels)} if labels else {"type": "string"})),
        "evals/cases.jsonl": "".join(f"{line}\n" for line in _cases(labels, field)),
    }


def _settings(name: str, labels: Sequence[str], chosen: str, model: Model, owner: str) -> str:
    return SETTINGS.format(
        name=name,
        task="classify" if labels else "other",
        owner=owner,
        variant=VARIANT,
        tier=model.tier,
        model=chosen,
        max_tokens=min(256, model.max_output_tokens),
        field="/label" if labels else "/answer",
    )


def _system(labels: Sequence[str]) -> str:
    schema = "Answer with one JSON object that fits this schema, and nothing else:\n{{ output_schema }}\n"
    if not labels:
        return f"Answer the message.\n\n{schema}"
    listed = "".join(f"- {label}: say when it is this one\n" for label in labels)
    return f"Classify the message.\n\nLabels:\n{listed}\n{schema}"


def _object(field: str, kind: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": {field: kind}, "required": [field], "additionalProperties": False}


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"


def _cases(labels: Sequence[str], field: str) -> list[str]:
    if not labels:
        return [
            json_text({"id": "1", "input": {"text": "replace this by a real message"}, "must": {"required": [field]}})
        ]
    return [
        json_text({"id": label, "input": {"text": f"a real message that is {label}"}, "expected": {field: label}})
        for label in labels
    ]


def write(folder: Path, wanted: dict[str, str]) -> None:
    """Write a folder that is not there yet.

    Raises:
        ScaffoldError: it is there.
    """
    if folder.exists():
        raise ScaffoldError(f"{folder} is there already; nothing was written")
    for path, text in wanted.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def with_model(text: str, *, name: str, base_url: str, model_id: str, key_env: str | None, tier: str) -> str:
    """models.toml with one more provider and one model of it, both of this name, prices unknown.

    Raises:
        ModelsError: what comes of it is no models.toml, for example because the name is taken.
    """
    key = f'api_key_env = "{key_env}"\n' if key_env else ""
    added = (
        f'\n[providers.{name}]\nbase_url = "{base_url}"\n{key}\n[models.{name}]\nprovider = "{name}"\n'
        f'id = "{model_id}"\ntier = "{tier}"\n'
        '# capabilities = ["json_schema", "logprobs"]   # what it can do, if it can; penstock providers check looks\n'
        "# prices = { input_usd = …, output_usd = … }   # per million tokens; until then costs are unknown, not zero\n"
    )
    changed = text.rstrip("\n") + "\n" + added
    read_models("models.toml", changed, {}, {})
    return changed
