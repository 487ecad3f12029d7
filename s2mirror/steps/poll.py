"""List the catalog, and record products that the ledger does not know.

There are two cursors. The *tail* lists what was published since the watermark, with an overlap.
*Sweeps* list by sensing time what the tail misses, such as items indexed late: the recent weeks
daily, the whole period weekly; the first sweep is the backfill. Both are compared with the ledger
by id.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import CatalogError
from s2mirror.lifecycle import HELD, TRANSITIONS, WAITING, Event
from s2mirror.model import CatalogQuery, Page, Product, SweepKind, SweepState, Transition
from s2mirror.planning.scope import Diff, Scope, diff_page
from s2mirror.planning.searches import Search, SweepPolicy, due_sweep, plan_query, sweep_query
from s2mirror.ports import ProductCatalog, StacCatalog
from s2mirror.steps.listing import CDSE_WINDOWS, Windows, check_plausible, list_in_windows
from s2mirror.stop import StopFlag


@dataclass(slots=True, kw_only=True)
class PollResult:
    """The result of one poll."""

    search: str
    listed_count: int = 0
    new_ids: list[str] = field(default_factory=list)
    revised_ids: list[str] = field(default_factory=list)
    sweep: SweepKind | None = None
    """The sweep that was due and is complete now; None if none was due."""
    found_late: int = 0
    """New products that the tail should have listed before, but only the sweep did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poller:
    """Polls searches and records what is new."""

    catalog: StacCatalog
    ledger: Ledger
    overlap: timedelta
    sweeps: SweepPolicy
    now: Callable[[], datetime]
    windows: Windows = CDSE_WINDOWS

    def poll(self, search: Search, stop: StopFlag) -> PollResult:
        """List everything that *search* may have missed, and record new products page by page.

        The watermark moves last, and only after a complete listing: a crash or error before that
        costs a repeated listing, never a product. Raises CatalogError; the ledger keeps the reason.
        """
        if not self.ledger.sweeps.states(search.key):
            self.ledger.coverage.take_over(
                search.collection, search.fingerprints, search.key, now=self.now()
            )
        poll = _Poll(self, search, stop)
        try:
            poll.tail()
            poll.sweep()
        except CatalogError as error:
            self.ledger.cursors.fail(search.key, str(error), now=self.now())
            raise
        return poll.result

    def poll_by(self, catalog: ProductCatalog, search: Search, stop: StopFlag) -> PollResult:
        """List by another catalog what was published since the watermark, and record it.

        The watermark stays, so that the STAC catalog lists all of it again; nothing is listed
        before the first complete listing of the STAC catalog. Raises CatalogError.
        """
        poll = _Poll(self, search, stop)
        poll.tail_by(catalog)
        return poll.result

    def record(self, search: Search, page: Page) -> None:
        """Record the products of a page of another catalog that *search* wants."""
        _Poll(self, search, StopFlag()).record(page)


class _Poll:
    """The state of one poll of one search."""

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

        A search that was empty when it was first swept has no watermark yet: all is new.
        """
        if self._watermark is None and not self._was_swept():
            return
        query = plan_query(self._search, self._watermark, overlap=self._poller.overlap)
        newest = None
        for listed in list_in_windows(self._poller.catalog, query, self._poller.windows):
            self.record(listed.page)
            if query.published_from is not None or newest is None:
                newest = self._newest(listed.page, newest)
        if not self.result.listed_count:
            check_plausible(0, self._expected(query))
        self._move_watermark(newest)
        if self._was_swept():
            self._complete()

    def tail_by(self, catalog: ProductCatalog) -> None:
        """List what was published since the watermark by another catalog; nothing moves."""
        if self._watermark is None and not self._was_swept():
            return
        query = plan_query(self._search, self._watermark, overlap=self._poller.overlap)
        for listed in list_in_windows(catalog, query, self._poller.windows):
            self.record(listed.page)

    def _was_swept(self) -> bool:
        return _is_swept(self._ledger.sweeps.states(self._search.key))

    def sweep(self) -> None:
        """List by sensing time if a sweep is due, from where an earlier poll was interrupted."""
        states = self._ledger.sweeps.states(self._search.key)
        now = self._poller.now()
        kind = due_sweep(self._search, states.values(), self._poller.sweeps, now=now)
        if kind is None:
            return
        self._ledger.sweeps.begin(self._search.key, kind)
        before = states.get(kind)
        query = sweep_query(
            self._search,
            kind,
            before.reached if before else None,
            recent_window=self._poller.sweeps.recent_window,
            now=now,
        )
        self._list_sweep(kind, query, backfill=not _is_swept(states))
        self.result.sweep = kind

    def _list_sweep(self, kind: SweepKind, query: CatalogQuery, *, backfill: bool) -> None:
        """List what *query* finds, newest sensing first, and record how far it was listed.

        Only the first page of the backfill sets the watermark. A later page may be newer than a
        product that was published meanwhile in the part listed before; so may every page of other
        sweeps. The next tail must find such a product.
        """
        newest, rest, listed_count = None, query, 0
        for listed in list_in_windows(self._poller.catalog, query, self._poller.windows):
            new = self.record(listed.page)
            listed_count += listed.page.item_count
            if not backfill:
                self._count_late(kind, listed.page, new)
            elif newest is None and self._watermark is None:
                newest = self._newest(listed.page, None)
            if listed.reached is not None:
                self._ledger.sweeps.reach(self._search.key, kind, listed.reached)
                self._move_watermark(newest)
                rest, listed_count = replace(query, sensed_until=listed.reached), 0
        check_plausible(listed_count, self._expected(rest))
        self._move_watermark(newest)
        self._ledger.sweeps.complete(self._search.key, kind, now=self._poller.now())
        if kind is SweepKind.FULL:
            search = self._search
            self._ledger.coverage.note(
                search.collection, search.fingerprints, search.key, now=self._poller.now()
            )
        self._complete()

    def _count_late(self, kind: SweepKind, page: Page, new: set[str]) -> None:
        """Count new products that the tail should have listed: published before its watermark."""
        late = sum(
            self._watermark is not None and product.published_at <= self._watermark
            for product in page.products
            if product.id in new
        )
        if late:
            self.result.found_late += late
            self._ledger.sweeps.count_late(self._search.key, kind, late)

    def record(self, page: Page) -> set[str]:
        """Record one page; return the ids that are new."""
        self._stop.raise_if_set()
        now = self._poller.now()
        known = self._ledger.products.known(product.id for product in page.products)
        diff = diff_page(page.products, known, self._scope)
        priorities = {area.name: area.priority for area in self._search.areas}
        with self._ledger.connection.atomic():
            self._ledger.products.record(diff.new, diff.areas, priorities=priorities, now=now)
            self._ledger.lags.note_seen(diff.new, diff.areas, now=now)
            self._ledger.passes.note(page.products, diff.areas, now=now)
        self._ledger.products.note_published(p for p in page.products if p.id in known)
        self._ledger.cursors.reject(page.rejected, now=now)
        self._ledger.cursors.accept(product.id for product in page.products)
        for product in diff.revised:
            self._revise(product, "republished with other bytes")
        self._requeue_relisted(page, diff)
        self._keep_properties(page, diff)
        self.result.listed_count += page.item_count
        self.result.new_ids += [product.id for product in diff.new]
        return {product.id for product in diff.new}

    def _keep_properties(self, page: Page, diff: Diff) -> None:
        """Keep the item properties of new and republished products, and of those without."""
        wanted = self._ledger.items.lacking(product.id for product in page.products)
        self._replace_own_values([product for product in page.products if product.id in wanted])
        wanted.update(product.id for product in diff.revised)
        self._ledger.items.keep({i: page.properties[i] for i in wanted if i in page.properties})

    def _replace_own_values(self, products: Sequence[Product]) -> None:
        """Store the catalog's values of held products that were adopted by their own metadata."""
        entries = self._ledger.products.find(product.id for product in products)
        for product in products:
            held = entries[product.id]
            if held.state in HELD:
                own = held.product
                listed = replace(
                    product,
                    size_bytes=own.size_bytes,
                    revision=product.revision or own.revision,
                )
                self._ledger.products.revise(listed, held.state)

    def _requeue_relisted(self, page: Page, diff: Diff) -> None:
        """Queue products that were withdrawn as deleted upstream and are listed again."""
        back = self._ledger.products.withdrawn(diff.areas)
        if back:
            self._ledger.deletions.set_listed(back, listed=True)
        for product in page.products:
            if product.id in back:
                self._revise(product, "listed again after it was deleted upstream")

    def _revise(self, product: Product, reason: str) -> None:
        """Queue a product whose bytes changed upstream; its old version is held until then.

        A product that is being downloaded is skipped: the next listing shows it again. A pruned or
        superseded product stays so.
        """
        entry = self._ledger.products.get(product.id)
        transition = Transition(event=Event.REVISE, reason=reason, attempts=0)
        if (entry.state, Event.REVISE) in TRANSITIONS:
            # One transaction: a new revision with the old state would never be detected again.
            with self._ledger.connection.atomic():
                self._ledger.products.revise(product, entry.state)
                self._ledger.products.advance(entry, transition, now=self._poller.now())
            self.result.revised_ids.append(product.id)
        elif entry.state in WAITING:
            self._ledger.products.revise(product, entry.state)

    def _newest(self, page: Page, before: datetime | None) -> datetime | None:
        """Return the newest ``published`` of a page and *before*.

        A time in the future is ignored: the tail would list nothing until then.
        """
        now = self._poller.now()
        published = [p.published_at for p in page.products if p.published_at <= now]
        return max([*published, *([before] if before else [])], default=None)

    def _move_watermark(self, newest: datetime | None) -> None:
        if newest is not None:
            self._ledger.cursors.move(self._search.key, newest)

    def _complete(self) -> None:
        """Record that everything has been listed, once the backfill is complete too."""
        self._ledger.cursors.complete(
            self._search.key,
            watermark=None,
            listed_count=self.result.listed_count,
            new_count=len(self.result.new_ids),
            now=self._poller.now(),
        )

    def _expected(self, query: CatalogQuery) -> int:
        """Return how many known products *query* should list."""
        names = [area.name for area in self._search.areas]
        return self._ledger.products.expected(query, names)


def _is_swept(states: Mapping[SweepKind, SweepState]) -> bool:
    """Return whether the backfill is complete."""
    full = states.get(SweepKind.FULL)
    return full is not None and full.completed_at is not None
