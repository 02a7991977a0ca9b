"""trace: everything on record about one job."""

import time
from typing import Annotated, Final

import typer

from penstock.cli.codes import Exit, Failed
from penstock.cli.output import AsJson, console, errors, print_json, warn
from penstock.cli.session import session_of
from penstock.cli.trace_view import tree
from sinks.queries import JobTrace, job_trace
from sinks.warehouse import Warehouse

STEP_S: Final = 0.3


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(trace)


def trace(
    context: typer.Context,
    *,
    job_id: Annotated[str, typer.Argument(help="The job.")],
    tenant: Annotated[
        str | None, typer.Option("--tenant", help="Whose job, if several tenants have one of this id.")
    ] = None,
    wait_s: Annotated[
        float, typer.Option("--wait", min=0, help="Seconds to wait for a job that is not on record yet.")
    ] = 5.0,
    full: Annotated[bool, typer.Option("--full", help="Show requests and responses whole.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show how a job came to its end: every stage, decision, call, check and gate, with reasons, times and costs."""
    with session_of(context).warehouse() as warehouse, errors.status("asking the warehouse …"):
        found = await_trace(warehouse, job_id, tenant, wait_s)
    if found is None:
        whose = f" of tenant {tenant}" if tenant else ""
        said = (
            f"nothing is on record about job {job_id!r}{whose} after {wait_s:g} s: check the id; if it is right, see "
            "with `penstock status` whether a worker with a sink runs and how far it is behind"
        )
        raise Failed(Exit.BAD, said)
    if as_json:
        print_json(found)
        return
    console.print(tree(found, full=full))
    if found.job is None:
        warn("the job is on its way: this is what is on record so far")


def await_trace(warehouse: Warehouse, job_id: str, tenant: str | None, wait_s: float) -> JobTrace | None:
    """The trace of a job, once its end (or its escalation) is on record; after `wait_s` seconds what there is."""
    until = time.monotonic() + wait_s
    while True:
        found = job_trace(warehouse, job_id, tenant)
        if (found is not None and found.job is not None) or time.monotonic() >= until:
            return found
        time.sleep(STEP_S)
