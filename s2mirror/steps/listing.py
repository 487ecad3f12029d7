"""List any number of items from a catalog that may truncate every listing.

CDSE's catalogs end a listing at 10,000 items without an error: the ``next`` link is missing. So no
listing here reaches that number. After some thousand items a new query lists the rest, from the
last time seen on; a listing that was interrupted by a crash or a stop resumes there too.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from s2mirror.errors import CatalogError
from s2mirror.model import CatalogQuery, Page, Product
from s2mirror.ports import ProductCatalog

ALARM_FROM: Final = 5
"""If at least so many products are known, a listing with almost none of them is an error."""
_ALARM_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """The number of items that one query may list."""

    items: int = 4000
    """After so many items, a new query lists the rest."""
    cap_items: int = 9000
    """A listing that reaches this without a new query may be truncated."""


CDSE_WINDOWS: Final = Windows()


@dataclass(frozen=True, slots=True)
class Listed:
    """A page, and the time up to which the listing is complete with it."""

    page: Page
    reached: datetime | None = None
    """Set at the end of a window: a query from this time on misses nothing."""


def list_in_windows(
    catalog: ProductCatalog, query: CatalogQuery, windows: Windows = CDSE_WINDOWS
) -> Iterator[Listed]:
    """Yield every page that *query* finds, in as many listings as that needs.

    With ``published_from`` the order is by publication, oldest first; otherwise by sensing, newest
    first. An exhausted iterator means a complete listing. Raises CatalogError when that cannot be
    known.
    """
    while True:
        window = _Window(query, windows)
        for page in catalog.search(query):
            window.take(page)
            if window.is_full:
                break
            yield Listed(page)
        else:
            return
        query = window.following
        yield Listed(page, window.reached)


def check_plausible(listed: int, expected: int) -> None:
    """Raise CatalogError if almost nothing was *listed* although much is *expected*."""
    if expected >= ALARM_FROM and listed < _ALARM_SHARE * expected:
        raise CatalogError(
            f"the catalog lists {listed or 'nothing'} where {expected} products are known; the "
            "listing is ignored as implausible. Nothing is removed, and it will be tried again"
        )


class _Window:
    """Counts the items of one listing, and checks that they are in the requested order."""

    def __init__(self, query: CatalogQuery, windows: Windows) -> None:
        self._query = query
        self._windows = windows
        self._items = 0
        self._in_order = True
        self.reached: datetime | None = None

    def take(self, page: Page) -> None:
        """Count the items of a page. Raises CatalogError if the listing may be truncated."""
        self._items += page.item_count
        for product in page.products:
            at = self._sort_time(product)
            if self.reached is not None and self._is_before(at):
                self._in_order = False
            else:
                self.reached = at
        if self._items > self._windows.cap_items:
            raise CatalogError(
                f"the catalog listed {self._items} items that cannot be divided into windows "
                "(not in order, or all with one time), and may have omitted others; "
                "the listing will be tried again"
            )

    @property
    def is_full(self) -> bool:
        """Whether a new query for the rest is due, and safe."""
        return self._items >= self._windows.items and self._in_order and self._advances

    @property
    def _advances(self) -> bool:
        """Whether the next window starts later than this one, so that the listing ends."""
        if self.reached is None:
            return False
        if self._query.published_from is not None:
            return self.reached > self._query.published_from
        return self._query.sensed_until is None or self.reached < self._query.sensed_until

    @property
    def following(self) -> CatalogQuery:
        """The query for the rest, including the last time listed."""
        if self._query.published_from is not None:
            return replace(self._query, published_from=self.reached)
        return replace(self._query, sensed_until=self.reached)

    def _sort_time(self, product: Product) -> datetime:
        by_publication = self._query.published_from is not None
        return product.published_at if by_publication else product.sensed_at

    def _is_before(self, at: datetime) -> bool:
        if self.reached is None:
            return False
        by_publication = self._query.published_from is not None
        return at < self.reached if by_publication else at > self.reached
