"""``mark``, ``requeue``: requests about single products. A daemon may run beside them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated

import typer

from s2mirror.adapters.ledger import Ledger
from s2mirror.cli.context import ConfigOption, JsonOption, complete_product
from s2mirror.cli.ledgers import shared_ledger
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.config import Settings
from s2mirror.errors import MirrorError
from s2mirror.lifecycle import State
from s2mirror.naming import plain_id
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

    def mark(_: Settings, ledger: Ledger, product_id: str) -> State:
        """Mark one product."""
        return requests.mark_processed(
            ledger, product_id, reason="marked by hand", now=datetime.now(UTC)
        )

    return _request(ids, config, mark, as_json=as_json)


def requeue(ids: IdsArgument, config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Queue failed, quarantined or pruned products again."""

    def queue(settings: Settings, ledger: Ledger, product_id: str) -> State:
        """Requeue one product."""
        areas = {area.name for area in settings.area}
        return requests.requeue(
            ledger, product_id, areas, reason="requeued by hand", now=datetime.now(UTC)
        )

    return _request(ids, config, queue, as_json=as_json)


def _request(
    ids: list[str],
    config: ConfigOption,
    request: Callable[[Settings, Ledger, str], State],
    *,
    as_json: bool,
) -> int:
    """Make a request for each product; a refused request does not stop the others."""
    done: dict[str, State] = {}
    refused: dict[str, MirrorError] = {}
    with shared_ledger(config) as (settings, ledger):
        for product_id in dict.fromkeys(plain_id(text) for text in ids):
            try:
                done[product_id] = request(settings, ledger, product_id)
            except MirrorError as error:
                refused[product_id] = error
    if as_json:
        results = [{"id": name, "state": state, "error": None} for name, state in done.items()]
        results += [{"id": i, "state": None, "error": str(why)} for i, why in refused.items()]
        print_json({"products": results})
    else:
        for name, state in done.items():
            print_line(f"{name}  {state}")
        for why in refused.values():
            print_error(str(why))
    return max((why.exit_code for why in refused.values()), default=0)
