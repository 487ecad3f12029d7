"""``drop``: products that a person removes by id, whatever the rules say."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, DryRunOption, JsonOption
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.mark import IdsArgument
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.errors import AlreadyRunning, MirrorError
from s2mirror.naming import plain_id
from s2mirror.service.cycle import prepare
from s2mirror.service.pruning import remove_dropped
from s2mirror.service.results import Values, prune_values
from s2mirror.service.wiring import Mirror
from s2mirror.steps import requests


@dataclass(slots=True)
class _Done:
    outcomes: dict[str, str] = field(default_factory=dict)
    refused: dict[str, MirrorError] = field(default_factory=dict)


def drop(
    ids: IdsArgument,
    config: ConfigOption = None,
    *,
    pinned: Annotated[
        bool, typer.Option("--pinned", help="Drop pinned products too: they are unpinned.")
    ] = False,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> int:
    """Remove products now, whatever the rules say.

    Held products are moved to the trash, from which `s2mirror restore` takes them; waiting ones
    are no longer downloaded. Dropped products are not downloaded again by themselves. The exit
    code is not 0 if a product was refused.
    """
    with shared_mirror(config) as mirror:
        done = _dropped(mirror, ids, pinned=pinned, dry_run=dry_run)
    held = requests.TO_TRASH in done.outcomes.values() and not dry_run
    note = _removed(config, done.outcomes) if held else ""
    if as_json:
        errors = {name: str(error) for name, error in done.refused.items()}
        values = {"dropped": done.outcomes, "refused": errors, "note": note, "dry_run": dry_run}
        print_json(values)
    else:
        for name, outcome in done.outcomes.items():
            print_line(f"{name}  {outcome}")
        for text in (*map(str, done.refused.values()), *([note] if note else [])):
            print_error(text)
    return max((error.exit_code for error in done.refused.values()), default=0)


def _dropped(mirror: Mirror, ids: list[str], *, pinned: bool, dry_run: bool) -> _Done:
    """Drop each product; a refused one does not stop the others."""
    done = _Done()
    change = requests.planned_drop if dry_run else requests.drop
    for product_id in dict.fromkeys(map(plain_id, ids)):
        try:
            done.outcomes[product_id] = change(
                mirror.ledger, product_id, with_pinned=pinned, now=mirror.now()
            )
        except MirrorError as error:
            done.refused[product_id] = error
    return done


def _removed(config: Path | None, outcomes: dict[str, str]) -> str:
    """Remove dropped products, and change their outcome; return why some are not removed now."""

    def run(mirror: Mirror) -> Values:
        """Remove them in this process."""
        prepare(mirror)
        return prune_values(remove_dropped(mirror))

    try:
        plan = run_or_request(config, Request("drop", {}), run)
    except AlreadyRunning:
        return "another command is working; the next prune moves them to the trash"
    outcomes |= {name: "moved to the trash" for name in plan["prune"] if name in outcomes}
    return str(plan["clock_doubt"]) or "; ".join(map(str, plan["refused"].values()))
