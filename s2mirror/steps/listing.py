"""List any number of items through a catalog that may cut every answer short.

CDSE's catalogs end a listing silently at 10,000 items: the ``next`` link is simply not there. So
no listing here is allowed to come near that. After some thousand items the rest is asked for anew,
from the last stamp seen on; that stamp is also where a crash or a stop can resume.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from s2mirror.errors import CatalogError
from s2mirror.model import CatalogQuery, Page, Product
from s2mirror.ports import StacCatalog

ALARM_FROM: Final = 5
"""From so many known products on, a listing with next to none of them is an alarm."""
_ALARM_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """How much to ask for in one go."""

    items: int = 4000
    """After so many items, the rest is asked for anew."""
    cap_items: int = 9000
    """A listing that could not be cut into windows and reaches this may have been cut short."""


CDSE_WINDOWS: Final = Windows()


@dataclass(frozen=True, slots=True)
class Listed:
    """A page, and how far everything has been listed with it."""

    page: Page
    reached: datetime | None = None
    """Set at the end of a window: a query that starts at this stamp misses nothing."""


def list_in_windows(
    catalog: StacCatalog, query: CatalogQuery, windows: Windows = CDSE_WINDOWS
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
    """Raise CatalogError if next to nothing was *listed* where much is known to be."""
    if expected >= ALARM_FROM and listed < _ALARM_SHARE * expected:
        raise CatalogError(
            f"the catalog lists {listed or 'nothing'} where {expected} products are known; its "
            "answer is not believed. Nothing is removed, and the listing will be tried again"
        )


class _Window:
    """Watches one listing: how many items, and whether they come in the order asked for."""

    def __init__(self, query: CatalogQuery, windows: Windows) -> None:
        self._query = query
        self._windows = windows
        self._items = 0
        self._in_order = True
        self.reached: datetime | None = None

    def take(self, page: Page) -> None:
        self._items += page.item_count
        for product in page.products:
            stamp = self._stamp(product)
            if self.reached is not None and self._goes_back(stamp):
                self._in_order = False
            else:
                self.reached = stamp
        if self._items > self._windows.cap_items:
            raise CatalogError(
                f"the catalog gave {self._items} items that could not be cut into windows "
                "(out of order, or all of one stamp), and may have left out others; "
                "the listing will be tried again"
            )

    @property
    def is_full(self) -> bool:
        """Whether it is time, and safe, to ask for the rest anew."""
        return self._items >= self._windows.items and self._in_order and self._moves_on

    @property
    def _moves_on(self) -> bool:
        """Whether the next window would begin beyond this one, so that they come to an end."""
        if self.reached is None:
            return False
        if self._query.published_from is not None:
            return self.reached > self._query.published_from
        return self._query.sensed_until is None or self.reached < self._query.sensed_until

    @property
    def following(self) -> CatalogQuery:
        """The query for what this window has not listed, its last stamp included."""
        if self._query.published_from is not None:
            return replace(self._query, published_from=self.reached)
        return replace(self._query, sensed_until=self.reached)

    def _stamp(self, product: Product) -> datetime:
        by_publication = self._query.published_from is not None
        return product.published_at if by_publication else product.sensed_at

    def _goes_back(self, stamp: datetime) -> bool:
        if self.reached is None:
            return False
        by_publication = self._query.published_from is not None
        return stamp < self.reached if by_publication else stamp > self.reached
