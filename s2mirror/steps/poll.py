"""Ask the catalogue what there is, and write down what the ledger does not know.

Two cursors lead to one truth. The *tail* asks for what was published since the watermark, with an
overlap. *Sweeps* list by sensing time what the tail cannot see: the recent weeks daily, the whole
period now and then; the first sweep of all is the backfill. Both are compared with the ledger by
id.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import CatalogError
from s2mirror.lifecycle import TRANSITIONS, Event, State
from s2mirror.model import CatalogQuery, Page, Product, SweepKind, Verdict
from s2mirror.planning.diff import diff_page
from s2mirror.planning.scope import Scope
from s2mirror.planning.searches import Search, plan_query
from s2mirror.planning.sweeps import SweepPolicy, due_sweep, sweep_query
from s2mirror.ports import Catalog
from s2mirror.steps.listing import list_in_windows
from s2mirror.stop import StopFlag

ALARM_FROM: Final = 5
"""So many known products missing from an answer, with nothing else in it, are an alarm."""
_NOT_BEGUN: Final = (State.DISCOVERED, State.QUEUED)


@dataclass(slots=True, kw_only=True)
class PollResult:
    """What one poll brought."""

    search: str
    listed_count: int = 0
    new_ids: list[str] = field(default_factory=list)
    revised_ids: list[str] = field(default_factory=list)
    rejected_count: int = 0
    sweep: SweepKind | None = None
    """The sweep that was due, complete now; None if none was."""
    found_late: int = 0
    """New products that the tail should have shown before, and only the sweep has."""
    newest: datetime | None = None
    """Newest ``published`` stamp seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poller:
    """Polls searches and records what is new."""

    catalog: Catalog
    ledger: Ledger
    overlap: timedelta
    sweeps: SweepPolicy
    now: Callable[[], datetime]

    def poll(self, search: Search, stop: StopFlag) -> PollResult:
        """List everything that *search* could have missed, and record what is new, page by page.

        A watermark moves last, and only when the listing was complete: a crash or error before
        that costs a repeated listing, never a product. Raises CatalogError, with the reason kept
        in the ledger too.
        """
        poll = _Poll(self, search, stop)
        try:
            poll.tail()
            poll.sweep()
        except CatalogError as error:
            self.ledger.cursors.fail(search.key, str(error), now=self.now())
            raise
        return poll.result


class _Poll:
    """One poll of one search, under way."""

    def __init__(self, poller: Poller, search: Search, stop: StopFlag) -> None:
        self._poller = poller
        self._ledger = poller.ledger
        self._search = search
        self._stop = stop
        self._scope = Scope(search.areas)
        self._watermark = self._ledger.cursors.watermark(search.key)
        self.result = PollResult(search=search.key)

    def tail(self) -> None:
        """List what was published since the watermark, less the overlap; then move it.

        A search that was empty when it was first swept has no watermark yet: all of it is news.
        """
        if self._watermark is None and not self._was_swept():
            return
        query = plan_query(self._search, self._watermark, overlap=self._poller.overlap)
        for listed in list_in_windows(self._poller.catalog, query):
            self._record(listed.page)
        self._doubt_emptiness(query, self.result.listed_count)
        self._complete(watermark=self.result.newest)

    def _was_swept(self) -> bool:
        state = self._ledger.sweeps.states(self._search.key).get(SweepKind.FULL)
        return state is not None and state.completed_at is not None

    def sweep(self) -> None:
        """List by sensing time, if that is due, from where an earlier poll was interrupted."""
        states = self._ledger.sweeps.states(self._search.key)
        kind = due_sweep(states.values(), self._poller.sweeps, now=self._poller.now())
        if kind is None:
            return
        self._ledger.sweeps.begin(self._search.key, kind)
        before = states.get(kind)
        query = sweep_query(
            self._search,
            kind,
            before.reached if before else None,
            recent_window=self._poller.sweeps.recent_window,
            now=self._poller.now(),
        )
        backfill = SweepKind.FULL not in states or states[SweepKind.FULL].completed_at is None
        self._list_sweep(kind, query, backfill=backfill)
        self.result.sweep = kind

    def _list_sweep(self, kind: SweepKind, query: CatalogQuery, *, backfill: bool) -> None:
        listed_before = self.result.listed_count
        late = 0
        for listed in list_in_windows(self._poller.catalog, query):
            new = self._record(listed.page)
            late += 0 if backfill else self._late_among(listed.page, new)
            if listed.reached is not None:
                self._ledger.sweeps.reach(self._search.key, kind, listed.reached, found_late=late)
                self.result.found_late += late
                late = 0
                self._complete(watermark=self.result.newest if backfill else None)
        self._doubt_emptiness(query, self.result.listed_count - listed_before)
        self._complete(watermark=self.result.newest if backfill else None)
        self.result.found_late += late
        now = self._poller.now()
        self._ledger.sweeps.complete(self._search.key, kind, found_late=late, now=now)

    def _late_among(self, page: Page, new: list[str]) -> int:
        """Count new products that the tail should have shown: their stamp is behind it."""
        return sum(
            self._watermark is not None and product.published_at <= self._watermark
            for product in page.products
            if product.id in new
        )

    def _record(self, page: Page) -> list[str]:
        """Write one page down in one transaction; return the ids that are new."""
        self._stop.raise_if_set()
        now = self._poller.now()
        known = self._ledger.products.known(product.id for product in page.products)
        diff = diff_page(page.products, known, self._scope)
        priorities = {area.name: area.priority for area in self._search.areas}
        self._ledger.products.record(diff.new, diff.areas, priorities=priorities, now=now)
        self._ledger.cursors.reject(page.rejected, now=now)
        for product in diff.revised:
            self._revise(product)
        new = [product.id for product in diff.new]
        self._count(page, new)
        return new

    def _revise(self, product: Product) -> None:
        """Queue a product whose bytes changed upstream; its old version stands until then.

        One in a worker's hands is left alone: the next listing shows it again. One that was pruned,
        superseded or withdrawn stays so.
        """
        entry = self._ledger.products.get(product.id)
        verdict = Verdict(event=Event.REVISE, reason="republished with other bytes", attempts=0)
        if (entry.state, Event.REVISE) in TRANSITIONS:
            # One transaction: new facts with the old state would never be noticed again.
            with self._ledger.connection.atomic():
                self._ledger.products.revise(product)
                self._ledger.products.advance(entry, verdict, now=self._poller.now())
            self.result.revised_ids.append(product.id)
        elif entry.state in _NOT_BEGUN:
            self._ledger.products.revise(product)

    def _count(self, page: Page, new: list[str]) -> None:
        result = self.result
        result.listed_count += page.item_count
        result.rejected_count += len(page.rejected)
        result.new_ids += new
        stamps = [product.published_at for product in page.products]
        result.newest = max([*stamps, *([result.newest] if result.newest else [])], default=None)

    def _complete(self, *, watermark: datetime | None) -> None:
        """Record what has been listed, and move the watermark if one is given.

        Only the tail and the backfill move it: another sweep may have seen a newer stamp than
        that of something published just before, which the next tail is to find.
        """
        self._ledger.cursors.complete(
            self._search.key,
            watermark=watermark,
            listed_count=self.result.listed_count,
            new_count=len(self.result.new_ids),
            now=self._poller.now(),
        )

    def _doubt_emptiness(self, query: CatalogQuery, listed: int) -> None:
        """Raise CatalogError if nothing was listed where much is known to be."""
        if listed:
            return
        areas = [area.name for area in self._search.areas]
        expected = self._ledger.products.expected(query, areas)
        if expected >= ALARM_FROM:
            raise CatalogError(
                f"the catalogue lists nothing where {expected} products are known; its answer is "
                "not believed. Nothing is removed, and the listing will be tried again"
            )
