"""new: the folder of a workflow, ready to be edited."""

import getpass
from typing import Annotated

import typer

from penstock import compose, scaffold
from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, print_json, say
from penstock.cli.session import session_of
from processors.bundle import NAME
from processors.lint import lint
from processors.problems import errors_of
from schemas.stages import Tier


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(new)


def new(  # noqa: PLR0913 -- a command's options
    context: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="The new workflow: lower-case letters, digits and _.")],
    labels: Annotated[str, typer.Option("--labels", help="What it chooses between: a,b,c. Without: a text.")] = "",
    model: Annotated[str | None, typer.Option("--model", help="A model of models.toml. Default: the first.")] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="Adds a provider of your own to models.toml: https://…/v1")
    ] = None,
    model_id: Annotated[str | None, typer.Option("--model-id", help="With --base-url: its model's id there.")] = None,
    key_env: Annotated[
        str | None, typer.Option("--key-env", help="With --base-url: the environment variable that holds its key.")
    ] = None,
    tier: Annotated[Tier, typer.Option("--tier", help="With --base-url: the model's size class.")] = Tier.A,
    as_json: AsJson = False,
) -> None:
    """Write the smallest workflow that works, for you to edit."""
    session = session_of(context)
    if not NAME.fullmatch(name):
        raise Failed(
            Exit.USAGE, f"a workflow can't be named {name!r}: use lower-case letters, digits and _, a letter first"
        )
    if (base_url is None) is not (model_id is None) or (key_env and base_url is None):
        raise Failed(Exit.USAGE, "--base-url and --model-id go together, --key-env with them")
    folder = session.settings.project / "workflows" / name
    if folder.exists():
        raise Failed(Exit.USAGE, f"{folder} is there already; nothing was written")
    if base_url and model_id:
        model = name if model is None else model
        path = session.settings.project / "models.toml"
        text = path.read_text(encoding="utf-8")
        changed = scaffold.with_model(
            text, name=model, base_url=base_url, model_id=model_id, key_env=key_env, tier=tier.value
        )
        path.write_text(changed, encoding="utf-8")
    models = compose.models(session.settings)
    chosen = model or next(iter(models.models))
    named = [label.strip() for label in labels.split(",") if label.strip()]
    scaffold.write(folder, scaffold.files(name, named, chosen, models, getpass.getuser()))
    wrong = errors_of(lint(folder, models))
    if as_json:
        print_json({"workflow": name, "folder": str(folder), "model": chosen, "errors": [str(one) for one in wrong]})
        return
    if base_url:
        say(f"say in models.toml what {chosen} can do (capabilities), then: penstock providers check {chosen}")
    say(f"wrote {folder}, which asks {chosen}; edit it, then: penstock try {name} --text '…' --watch")
