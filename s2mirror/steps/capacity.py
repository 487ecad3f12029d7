"""The capacity of disk and quota for products that are not downloading yet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.model import LedgerEntry
from s2mirror.planning.downloads import ASSUMED_BYTES, ASSUMED_INODES, Capacity, expected_bytes
from s2mirror.planning.quota import WINDOW, QuotaPolicy, backfill_at, spent_bytes
from s2mirror.steps.file_selection import SelectionPolicy

RequiredBytes = Callable[[LedgerEntry], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityProbe:
    """Measures disk and quota, less what products being downloaded still need."""

    ledger: Ledger
    archive: Archive
    reserve_bytes: int
    quota: QuotaPolicy
    selection_policy: SelectionPolicy

    def required_bytes(self) -> RequiredBytes:
        """Return a function that estimates how many bytes of a product are missing.

        For a partial product, by the mean share of such products so far.
        """
        share = cache(self.ledger.selections.share)
        asked = self.ledger.selections.all_asked()
        staged = self.archive.staged_ids()

        def needed_bytes(entry: LedgerEntry) -> int:
            name = entry.product.id
            selected = share(self.selection_policy.of(entry, asked.get(name)))
            staged_bytes = self.archive.stage(name).size_bytes() if name in staged else 0
            return max(0, round(expected_bytes(entry) * selected) - staged_bytes)

        return needed_bytes

    def capacity(
        self, under_way: Iterable[LedgerEntry], required_bytes: RequiredBytes, *, now: datetime
    ) -> Capacity:
        """Return the capacity beside what the products *under_way* still need."""
        still_bytes = [required_bytes(entry) for entry in under_way]
        hours = self.ledger.transfers(WINDOW, now=now)
        spent = spent_bytes(hours, now) + sum(still_bytes)
        free_inodes = self.archive.free_inodes()
        backfill_bytes = self.quota.left_bytes(spent, fresh=False)
        more_at = backfill_at(self.quota, hours, ASSUMED_BYTES, now=now)
        return Capacity(
            disk_bytes=self.archive.free_bytes() - self.reserve_bytes - sum(still_bytes),
            inodes=None if free_inodes is None else free_inodes - ASSUMED_INODES * len(still_bytes),
            fresh_bytes=self.quota.left_bytes(spent, fresh=True),
            backfill_bytes=backfill_bytes,
            fresh_since=self.quota.fresh_since(now),
            quota_words=_words(self.quota, more_at),
        )


def _words(quota: QuotaPolicy, more_at: datetime | None) -> str:
    """Return a text: for which images quota is missing, and when more is available."""
    kept = f"for images older than {quota.fresh.days} d" if quota.reserve_percent else "for it"
    later = f"; more is available from about {more_at:%Y-%m-%d %H:%M} UTC on" if more_at else ""
    return f"{kept} within 30 days (quota.per_30_days){later}"
