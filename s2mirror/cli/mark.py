"""``mark``, ``requeue``: a person's word on a product. A daemon may run beside them."""

from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, JsonOption, complete_product, looking
from s2mirror.cli.output import complain, print_json, say
from s2mirror.cli.products import plain_id
from s2mirror.errors import IllegalTransition, MirrorError, UsageError
from s2mirror.lifecycle import Event, State, advance, sources
from s2mirror.model import Transition
from s2mirror.service.wiring import Mirror

IdsArgument = Annotated[
    list[str],
    typer.Argument(metavar="ID...", help="Product names.", autocompletion=complete_product),
]


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    marks = typer.Typer(
        help="Say what has been done with products.",
        invoke_without_command=True,
        rich_markup_mode=None,
    )
    marks.callback()(need_a_command)
    marks.command()(processed)
    app.add_typer(marks, name="mark")
    app.command()(requeue)


def need_a_command(context: typer.Context) -> None:
    """Say what has been done with products."""
    if context.invoked_subcommand is None:
        say(context.get_help())
        raise typer.Exit(UsageError.exit_code)


def processed(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Mark products as processed, so that they may be pruned."""
    return _change(ids, config, Event.MARK, "marked by hand", as_json=as_json)


def requeue(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Fetch failed, quarantined or pruned products again."""
    return _change(ids, config, Event.REQUEUE, "requeued by hand", as_json=as_json)


def _change(
    ids: list[str], config: ConfigOption, event: Event, reason: str, *, as_json: bool
) -> int:
    """Let *event* happen to each product; one that cannot does not keep the others from it."""
    done: dict[str, State] = {}
    refused: dict[str, MirrorError] = {}
    with looking(config) as mirror:
        for product_id in dict.fromkeys(plain_id(text) for text in ids):
            try:
                done[product_id] = _let_happen(mirror, product_id, event, reason)
            except MirrorError as error:
                refused[product_id] = error
    if as_json:
        print_json(
            [{"id": name, "state": state, "error": None} for name, state in done.items()]
            + [{"id": name, "state": None, "error": str(why)} for name, why in refused.items()]
        )
    else:
        for name, state in done.items():
            say(f"{name}  {state}")
        for why in refused.values():
            complain(str(why))
    return max((why.exit_code for why in refused.values()), default=0)


def _let_happen(mirror: Mirror, product_id: str, event: Event, reason: str) -> State:
    """Return the state after *event*; what has happened before happens once."""
    entry = mirror.ledger.products.get(product_id)
    if entry.state in {advance(state, event) for state in sources(event)}:
        return entry.state
    try:
        transition = Transition(event=event, reason=reason, attempts=0)
        mirror.ledger.products.advance(entry, transition, now=mirror.now())
        if event is Event.REQUEUE and not set(entry.areas) & set(mirror.area_names):
            mirror.ledger.products.ask_for(product_id)
    except IllegalTransition as error:
        raise UsageError(f"{product_id}: {error}") from error
    return mirror.ledger.products.get(product_id).state
