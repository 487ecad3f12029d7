"""``mark``, ``requeue``: requests about single products. A daemon may run beside them."""

from collections.abc import Callable
from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, JsonOption, complete_product, shared_mirror
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.cli.products import plain_id
from s2mirror.errors import MirrorError
from s2mirror.lifecycle import State
from s2mirror.service.wiring import Mirror
from s2mirror.steps import requests

IdsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="ID",
        help="Product ids, with or without .SAFE, or their paths.",
        autocompletion=complete_product,
    ),
]


def processed(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Mark products as processed, so that they may be pruned."""

    def mark(mirror: Mirror, product_id: str) -> State:
        return requests.mark_processed(
            mirror.ledger, product_id, reason="marked by hand", now=mirror.now()
        )

    return _request(ids, config, mark, as_json=as_json)


def requeue(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Queue failed, quarantined or pruned products again."""

    def queue(mirror: Mirror, product_id: str) -> State:
        return requests.requeue(
            mirror.ledger,
            product_id,
            mirror.area_names,
            reason="requeued by hand",
            now=mirror.now(),
        )

    return _request(ids, config, queue, as_json=as_json)


def _request(
    ids: list[str],
    config: ConfigOption,
    request: Callable[[Mirror, str], State],
    *,
    as_json: bool,
) -> int:
    """Make a request about each product; a refused one does not stop the others."""
    done: dict[str, State] = {}
    refused: dict[str, MirrorError] = {}
    with shared_mirror(config) as mirror:
        for product_id in dict.fromkeys(plain_id(text) for text in ids):
            try:
                done[product_id] = request(mirror, product_id)
            except MirrorError as error:
                refused[product_id] = error
    if as_json:
        print_json(
            [{"id": name, "state": state, "error": None} for name, state in done.items()]
            + [{"id": name, "state": None, "error": str(why)} for name, why in refused.items()]
        )
    else:
        for name, state in done.items():
            print_line(f"{name}  {state}")
        for why in refused.values():
            print_error(str(why))
    return max((why.exit_code for why in refused.values()), default=0)
