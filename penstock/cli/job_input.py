"""A job's input as options of a command: text, JSON or a file."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.codes import Exit, Failed

TextInput = Annotated[str | None, typer.Option("--text", help='Shorthand for the input {"text": …}.')]
JsonInput = Annotated[str | None, typer.Option("--input", help="The input as JSON.", metavar="JSON")]
FileInput = Annotated[
    Path | None, typer.Option("--file", help="A file with the input as JSON; - is standard input.", allow_dash=True)
]


def job_input(text: str | None, value: str | None, file: Path | None) -> Any:
    """The input that the options name.

    Raises:
        Failed: none or more than one is given, or what is given is no JSON.
    """
    if sum(given is not None for given in (text, value, file)) != 1:
        raise Failed(Exit.USAGE, "name the job's input once: --text TEXT, --input JSON or --file FILE")
    if text is not None:
        return {"text": text}
    source = "--input"
    if file is not None:
        source = str(file)
        try:
            value = sys.stdin.read() if source == "-" else file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Failed(Exit.USAGE, f"--file {source}: {error}") from error
    try:
        return json.loads(value or "")
    except ValueError as error:
        raise Failed(Exit.USAGE, f"{source} is no JSON: {error}; for plain text use --text") from error
