"""``process``: run processing entries again, here or by the daemon that has the mirror."""

from dataclasses import dataclass
from typing import Annotated

import typer

from s2mirror.cli.context import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    SomeIdsArgument,
    complete_area,
    taking,
)
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import UsageError
from s2mirror.naming import plain_id
from s2mirror.process_model import ProcessRun, RunState
from s2mirror.service.cycle import prepare
from s2mirror.service.process_requests import (
    ProcessRequest,
    chosen_runs,
    process_values,
    run_again,
)
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of the command."""

    ids: SomeIdsArgument = None
    config: ConfigOption = None
    failed: Annotated[
        bool,
        typer.Option("--failed", help="Run entries for the products for which they fail now."),
    ] = False
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="Run this processing entry only.")
    ] = ""
    area: Annotated[
        str,
        typer.Option(
            "--area",
            "-a",
            metavar="AREA",
            help="Run entries for products of this area only.",
            autocompletion=complete_area,
        ),
    ] = ""
    dry_run: DryRunOption = False
    as_json: JsonOption = False


def process_again(given: Arguments) -> int:
    """Run processing entries again.

    The entries run for the named products, or, with --failed, for all products for which they
    fail. A running daemon does the work. Exit code 1: a run did not succeed, or a product was
    refused.
    """
    asked = ProcessRequest(
        ids=[plain_id(each) for each in given.ids or ()],
        failed=given.failed,
        name=given.name,
        area=given.area,
    )
    if not asked.ids and not given.failed:
        raise UsageError("no product is named; give product ids, or --failed for all that fail")
    if given.dry_run:
        with shared_mirror(given.config) as mirror:
            pairs, refused = chosen_runs(mirror, asked)
            done = {**process_values(mirror, pairs, refused), "dry_run": True}
    else:

        def run(mirror: Mirror) -> Values:
            """Run in this process."""
            prepare(mirror)
            with stopped_by_signals() as stop:
                on_end = _print_nothing if given.as_json else _print_end
                return run_again(mirror, asked, stop, on_end=on_end)

        done = {**run_or_request(given.config, Request("process", asked.arguments()), run)}
        done["dry_run"] = False
    if given.as_json:
        print_json(done)
    else:
        _print(done)
    failed_runs = [one for one in done["runs"] if one["state"] != RunState.DONE]
    return 1 if done["refused"] or (failed_runs and not given.dry_run) else 0


command = taking(Arguments, process_again)


def _print_nothing(_: ProcessRun) -> None:
    """Print nothing: only the result is printed, as JSON."""


def _print_end(run: ProcessRun) -> None:
    print_line(f"{run.outcome:9} {run.entry}  {run.product_id}  attempt {run.attempt}")


def _print(done: Values) -> None:
    if not done["runs"] and not done["refused"]:
        print_line("no processing entry fails: there is nothing to run again")
    for one in done["runs"]:
        state = "would run" if done["dry_run"] else one["state"]
        reason = f": {one['reason']}" if one["reason"] else ""
        print_line(f"{state:9} {one['entry']}  {one['id']}{reason}")
    for product_id, reason in done["refused"].items():
        print_line(f"refused   {product_id}: {reason}")
