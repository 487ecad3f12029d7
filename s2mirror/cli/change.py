"""``mark``, ``requeue``: a person's word on a product. A daemon may run beside them."""

from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, JsonOption, looking
from s2mirror.cli.output import print_json, say
from s2mirror.errors import MirrorError
from s2mirror.lifecycle import Event, State
from s2mirror.model import Verdict
from s2mirror.service.wiring import Mirror

IdsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="Product names.")]


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    marks = typer.Typer(
        help="Say what has been done with products.", no_args_is_help=True, rich_markup_mode=None
    )
    marks.command()(processed)
    app.add_typer(marks, name="mark")
    app.command()(requeue)


def processed(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Mark products as processed, so that they may be pruned."""
    return _change(ids, config, Event.MARK, "marked by hand", as_json=as_json)


def requeue(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Fetch failed, quarantined or pruned products (again) at the next turn."""
    return _change(ids, config, Event.REQUEUE, "requeued by hand", as_json=as_json)


def _change(
    ids: list[str], config: ConfigOption, event: Event, reason: str, *, as_json: bool
) -> int:
    """Let *event* happen to each product; one that cannot does not keep the others from it."""
    outcome: dict[str, str] = {}
    failed = 0
    with looking(config) as mirror:
        for product_id in (name.removesuffix(".SAFE") for name in ids):
            try:
                outcome[product_id] = _let_happen(mirror, product_id, event, reason)
            except MirrorError as error:
                outcome[product_id] = str(error)
                failed = max(failed, error.exit_code)
    if as_json:
        print_json(outcome)
    else:
        for product_id, what in outcome.items():
            say(f"{product_id}  {what}")
    return failed


def _let_happen(mirror: Mirror, product_id: str, event: Event, reason: str) -> State:
    verdict = Verdict(event=event, reason=reason, attempts=0)
    mirror.ledger.products.advance(
        mirror.ledger.products.get(product_id), verdict, now=mirror.now()
    )
    return mirror.ledger.products.get(product_id).state
