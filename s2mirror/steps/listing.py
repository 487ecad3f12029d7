"""List any number of items through a catalogue that may cut every answer short.

CDSE's catalogues end a listing silently at 10,000 items: the ``next`` link is simply not there. So
no listing here is allowed to come near that. After some thousand items the rest is asked for anew,
from the last stamp seen on; that stamp is also where a crash or a stop can resume.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from s2mirror.errors import CatalogError
from s2mirror.model import CatalogQuery, Page, Product
from s2mirror.ports import Catalog

WINDOW_ITEMS: Final = 4000
"""So many items at most are asked for in one go."""
CAP_ITEMS: Final = 9000
"""A listing that could not be cut into windows and reaches this may have been cut short."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A page, and how far everything has been listed with it."""

    page: Page
    reached: datetime | None = None
    """Set at the end of a window: a query that starts at this stamp misses nothing."""


def list_in_windows(catalog: Catalog, query: CatalogQuery) -> Iterator[Listed]:
    """Yield every page that *query* finds, in as many listings as that needs.

    With ``published_from`` the order is by publication, oldest first; otherwise by sensing, newest
    first. An exhausted iterator means a complete listing. Raises CatalogError when that cannot be
    known.
    """
    while True:
        window = _Window(query)
        for page in catalog.search(query):
            window.take(page)
            if window.is_full:
                break
            yield Listed(page)
        else:
            return
        query = window.following
        yield Listed(page, window.reached)


class _Window:
    """Watches one listing: how many items, and whether they come in the order asked for."""

    def __init__(self, query: CatalogQuery) -> None:
        self._query = query
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
        if self._items > CAP_ITEMS:
            raise CatalogError(
                f"the catalogue gave {self._items} items that could not be cut into windows "
                "(out of order, or all of one stamp), and may have left out others; "
                "the listing will be tried again"
            )

    @property
    def is_full(self) -> bool:
        """Whether it is time, and safe, to ask for the rest anew."""
        return (
            self._items >= WINDOW_ITEMS
            and self._in_order
            and self.reached is not None
            and self.following != self._query
        )

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
