"""Which products may start now, why the others are deferred, and the order of their files."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain, zip_longest
from types import MappingProxyType
from typing import Final

from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry, RemoteFile

ASSUMED_BYTES: Final = 1_000_000_000
"""Size of a product whose catalog item states none: ESA states 700 to 800 MB."""
ASSUMED_INODES: Final = 150
"""Files and folders of a product: about 125 including those that CDSE adds."""
LARGE_BYTES: Final = 1_000_000
"""At 20 MB/s, a smaller file is received in less time than its request takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """The free disk and quota for products that are not downloading yet."""

    disk_bytes: int
    inodes: int | None = None
    """None where the file system has no limit."""
    fresh_bytes: int | None = None
    """Of the account's quota, for images sensed since *fresh_since*. None: no limit."""
    backfill_bytes: int | None = None
    """The same for older images."""
    fresh_since: datetime | None = None
    quota_words: str = ""
    """When more quota is available, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """The products that may start now, and why the others are deferred."""

    start: tuple[LedgerEntry, ...]
    deferred: dict[str, str]
    size_bytes: int = 0
    """Expected bytes of the products that start."""
    deferred_by_quota: frozenset[str] = frozenset()
    """Those of *deferred* that wait for the quota alone."""

    @property
    def new(self) -> tuple[LedgerEntry, ...]:
        """The products that start and are not in the queue yet."""
        return tuple(entry for entry in self.start if entry.state is State.DISCOVERED)

    def at_most(self, new: int) -> "DownloadPlan":
        """Return the plan with at most *new* products that are not in the queue yet."""
        later = {entry.product.id for entry in self.new[max(0, new) :]}
        return replace(self, start=tuple(e for e in self.start if e.product.id not in later))


def expected_bytes(entry: LedgerEntry) -> int:
    """Return the expected size of a product with all of its files."""
    return entry.product.size_bytes or ASSUMED_BYTES


def plan_downloads(
    waiting: Iterable[LedgerEntry],
    capacity: Capacity,
    *,
    needed_bytes: Callable[[LedgerEntry], int] = expected_bytes,
    excluded: Mapping[str, str] = MappingProxyType({}),
) -> DownloadPlan:
    """Take waiting products in the given order while disk and quota have capacity.

    *excluded* gives, by product id, the reason of products that must not start now. A product that
    does not fit is deferred, and a smaller one after it may start.
    """
    start: list[LedgerEntry] = []
    deferred: dict[str, str] = {}
    by_quota: set[str] = set()
    total_bytes = 0
    for entry in waiting:
        name, size_bytes = entry.product.id, needed_bytes(entry)
        if name in excluded:
            deferred[name] = excluded[name]
        elif why := _no_disk(size_bytes, capacity):
            deferred[name] = why
        elif why := _no_quota(entry, size_bytes, capacity):
            deferred[name] = why
            by_quota.add(name)
        else:
            start.append(entry)
            total_bytes += size_bytes
            capacity = _less(capacity, size_bytes)
    return DownloadPlan(
        start=tuple(start),
        deferred=deferred,
        size_bytes=total_bytes,
        deferred_by_quota=frozenset(by_quota),
    )


def _no_disk(size_bytes: int, capacity: Capacity) -> str:
    """Return why the disk has no capacity for a product, or ""."""
    if size_bytes > capacity.disk_bytes:
        return f"needs {size_bytes} B of disk, {max(capacity.disk_bytes, 0)} B are available"
    if capacity.inodes is not None and capacity.inodes < ASSUMED_INODES:
        return (
            f"needs about {ASSUMED_INODES} inodes (files and folders) of the disk, "
            f"{max(capacity.inodes, 0)} are available"
        )
    return ""


def _no_quota(entry: LedgerEntry, size_bytes: int, capacity: Capacity) -> str:
    """Return why the quota has no capacity for a product, or ""."""
    fresh = capacity.fresh_since is None or entry.product.sensed_at >= capacity.fresh_since
    left_bytes = capacity.fresh_bytes if fresh else capacity.backfill_bytes
    if left_bytes is None or size_bytes <= left_bytes:
        return ""
    return (
        f"needs {size_bytes} B of the account's quota, "
        f"{left_bytes} B are left {capacity.quota_words}"
    )


def _less(capacity: Capacity, size_bytes: int) -> Capacity:
    return replace(
        capacity,
        disk_bytes=capacity.disk_bytes - size_bytes,
        inodes=None if capacity.inodes is None else capacity.inodes - ASSUMED_INODES,
        fresh_bytes=_minus(capacity.fresh_bytes, size_bytes),
        backfill_bytes=_minus(capacity.backfill_bytes, size_bytes),
    )


def _minus(left_bytes: int | None, size_bytes: int) -> int | None:
    return None if left_bytes is None else max(0, left_bytes - size_bytes)


def fetch_order(files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return *files* in the order of their download: large and small ones alternate.

    Large files come by size, largest first, each followed by a small one while there are any: while
    one connection waits for the response to a small request, the others receive large files. The
    remaining small files are last, so that all connections end at about the same time.
    """
    order = sorted(files, key=lambda file: file.size_bytes, reverse=True)
    large = [file for file in order if file.size_bytes >= LARGE_BYTES]
    pairs = zip_longest(large, order[len(large) :])
    return [file for file in chain.from_iterable(pairs) if file is not None]
