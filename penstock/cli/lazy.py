"""Commands that are imported when they are called: help and a mistyped option should not wait for Kafka's client."""

from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

COMMANDS: Final = {
    "up": ("stack", "Start the embedded Kafka, warehouse and model server."),
    "down": ("stack", "Stop them; their data stays."),
    "status": ("stack", "Show each component, and how far each stage is behind."),
    "lag": ("lag", "Show what waits at each stage, and since when."),
    "doctor": ("doctor", "Check that the broker keeps what the pipeline promises."),
    "topics": ("topics", "Show or make what the pipeline's topics lack."),
    "acls": ("acls", "Print the least that each component must be allowed."),
    "run": ("run", "Run the pipeline's stages and the sink, until Ctrl-C."),
    "demo": ("demo", "Send real messages through the whole pipeline and account for every one."),
    "submit": ("jobs", "Publish a job and print its result."),
    "trace": ("trace", "Show how a job came to its end, step by step."),
    "query": ("query", "Ask the warehouse in SQL."),
    "dlq": ("dlq", "See what was given up on; do it again or put it aside."),
    "claims": ("claims", "Remove values that nothing refers to any more."),
    "state": ("state", "See what ordered stages remember, and mend it."),
    "providers": ("providers", "Check the providers and models of models.toml."),
    "new": ("new", "Write a new workflow's folder."),
    "lint": ("workflows", "Check workflow folders."),
    "render": ("trials", "Show the exact prompt for an input."),
    "try": ("trials", "Send one input through all stages, without a broker."),
    "eval": ("trials", "Judge a workflow by its cases."),
    "calibrate": ("fits", "Fit a workflow's confidence to labelled cases."),
    "train-router": ("fits", "Learn where on the ladder a job should start."),
    "publish": ("releases", "Put the project's workflows on the registry."),
    "versions": ("releases", "Show a workflow's versions, and which is in force."),
    "diff": ("releases", "Show what differs between two versions."),
    "activate": ("releases", "Put a published version in force."),
    "rollback": ("releases", "Go back to the last known good version."),
    "freeze": ("releases", "Forbid new versions of a workflow."),
    "unfreeze": ("releases", "Allow them again."),
    "kill": ("switches", "Stop a model, a provider, a workflow, a tenant or a check."),
    "unkill": ("switches", "Let it run again."),
    "supersede": ("switches", "Say which version of a context is the newest."),
}
"""Each command's module and what the overview says of it, in the order of the overview."""


class LazyGroup(TyperGroup):
    """The group of all commands; in the overview each is only its name and a sentence."""

    _overview = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 -- click's interface
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 -- as above
        """The command of a name; None if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, sentence = COMMANDS[cmd_name]
        if self._overview:
            return TyperCommand(cmd_name, help=sentence)
        loaded = typer.Typer(add_completion=False)
        import_module(f"penstock.cli.{module}").register(loaded)
        return get_group(loaded).commands[cmd_name]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The overview."""
        self._overview = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._overview = False
