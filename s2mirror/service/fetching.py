"""Products that a person requests by id or item, whether an area wants them or not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from s2mirror.errors import MirrorError, OutsideError, UsageError
from s2mirror.lifecycle import State
from s2mirror.model import PINNED, Page
from s2mirror.ports import Progress
from s2mirror.service.cycle import deliver
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.fetch_list import FetchList, ListedProduct
from s2mirror.service.local_catalog import finish_local_catalog
from s2mirror.service.product_records import update_product_records
from s2mirror.service.wiring import Mirror
from s2mirror.steps import requests
from s2mirror.stop import StopFlag

_AT_ONCE: Final = 50
"""Ids in one request to the STAC catalog."""


@dataclass(slots=True, kw_only=True)
class Requested:
    """What became of the entries of a list."""

    states: dict[str, State] = field(default_factory=dict)
    """The state of each accepted product, by id; after a dry run, its present one."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons, by the place in the list or the id."""
    exit_code: int = 0

    def refuse(self, place: str, error: MirrorError) -> None:
        """Record a refused entry."""
        self.refused[place] = str(error)
        self.exit_code = max(self.exit_code, error.exit_code)


def request(mirror: Mirror, wanted: FetchList, *, dry_run: bool = False) -> Requested:
    """Record the products of a list as requested; what is missing of them is queued.

    Ids that neither the ledger nor an item of the list explains are looked up in the STAC catalog.
    """
    done = Requested(refused=dict(wanted.refused))
    done.exit_code = UsageError.exit_code if done.refused else 0
    known = mirror.ledger.products.find(wanted.products)
    new = [listed for name, listed in wanted.products.items() if name not in known]
    found = _usable(listed for listed in new if listed.product)
    for page in _looked_up(mirror, [listed for listed in new if not listed.product], done):
        found = found.joined(page)
    if dry_run:
        done.states = dict.fromkeys((product.id for product in found.products), State.DISCOVERED)
        done.states |= {name: entry.state for name, entry in known.items()}
        return done
    now = mirror.now()
    areas = {product.id: (PINNED,) for product in found.products}
    mirror.ledger.products.record(found.products, areas, priorities={}, now=now)
    for name in (*known, *areas):
        try:
            done.states[name] = requests.fetch(mirror.ledger, name, now=now)
        except MirrorError as error:
            done.refuse(name, error)
    mirror.ledger.items.keep(found.properties)
    return done


def bring(mirror: Mirror, progress: Progress, stop: StopFlag) -> CycleResult:
    """Download the requested products that are queued."""
    result = CycleResult()
    deliver(mirror, [PINNED], progress, stop, result)
    update_product_records(mirror, stop)
    finish_local_catalog(mirror, stop)
    return result


def _usable(listed: Iterable[ListedProduct]) -> Page:
    entries = list(listed)
    return Page(
        products=tuple(entry.product for entry in entries if entry.product),
        rejected=(),
        properties={entry.id: entry.properties for entry in entries},
    )


def _looked_up(mirror: Mirror, listed: list[ListedProduct], done: Requested) -> Iterator[Page]:
    """Yield the products of the STAC catalog, and refuse the entries that it does not explain."""
    listed.sort(key=lambda entry: entry.collection)
    for collection, group in groupby(listed, key=lambda entry: entry.collection):
        entries = list(group)
        for at in range(0, len(entries), _AT_ONCE):
            yield _page(mirror, collection, entries[at : at + _AT_ONCE], done)


def _page(mirror: Mirror, collection: str, some: list[ListedProduct], done: Requested) -> Page:
    try:
        page = mirror.stac_catalog().find(collection, [entry.id for entry in some])
    except OutsideError as error:
        for entry in some:
            done.refuse(entry.place, error)
        return Page(products=(), rejected=())
    there = {product.id for product in page.products}
    reasons = {item.id: f"its item cannot be used: {item.reason}" for item in page.rejected}
    for entry in some:
        if entry.id not in there:
            why = reasons.get(entry.id, "the STAC catalog does not list it")
            given = f"; the given item cannot be used: {entry.doubt}" if entry.doubt else ""
            done.refuse(entry.place, UsageError(f"{entry.id}: {why}{given}"))
    return page
