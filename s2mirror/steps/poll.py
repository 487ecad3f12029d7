"""Ask the catalogue what there is, and write down what the ledger does not know."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import CatalogError
from s2mirror.model import Page
from s2mirror.planning.diff import diff_page
from s2mirror.planning.searches import Search, plan_query
from s2mirror.ports import Catalog
from s2mirror.stop import StopFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class PollResult:
    """What one complete listing brought."""

    search: str
    listed_count: int
    new_ids: tuple[str, ...]
    rejected_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Poller:
    """Polls searches and records what is new."""

    catalog: Catalog
    ledger: Ledger
    overlap: timedelta
    now: Callable[[], datetime]

    def poll(self, search: Search, stop: StopFlag) -> PollResult:
        """List everything that *search* could have missed, and record what is new, page by page.

        The watermark moves last, and only when the listing was complete: a crash or error before
        that costs a repeated listing, never a product. Raises CatalogError, with the reason kept
        in the ledger too.
        """
        try:
            return self._poll(search, stop)
        except CatalogError as error:
            self.ledger.cursors.fail(search.key, str(error), now=self.now())
            raise

    def _poll(self, search: Search, stop: StopFlag) -> PollResult:
        watermark = self.ledger.cursors.watermark(search.key)
        new_ids: list[str] = []
        listed = rejected = 0
        for page in self.catalog.search(plan_query(search, watermark, overlap=self.overlap)):
            stop.raise_if_set()
            new_ids += self._record(page, search)
            listed += page.item_count
            rejected += len(page.rejected)
            stamps = [product.published_at for product in page.products]
            watermark = max(stamps + ([watermark] if watermark else []), default=None)
        self.ledger.cursors.complete(
            search.key,
            watermark=watermark,
            listed_count=listed,
            new_count=len(new_ids),
            now=self.now(),
        )
        return PollResult(
            search=search.key,
            listed_count=listed,
            new_ids=tuple(new_ids),
            rejected_count=rejected,
        )

    def _record(self, page: Page, search: Search) -> list[str]:
        """Write one page down in one transaction; return the ids that are new."""
        now = self.now()
        known = self.ledger.products.known(product.id for product in page.products)
        diff = diff_page(page.products, known, search.areas)
        priorities = {area.name: area.priority for area in search.areas}
        self.ledger.products.record(diff.new, diff.areas, priorities=priorities, now=now)
        self.ledger.cursors.reject(page.rejected, now=now)
        return [product.id for product in diff.new]
