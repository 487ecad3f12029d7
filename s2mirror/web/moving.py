"""The products that are downloaded now: how much is staged, and how fast it grows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.errors import MirrorError
from s2mirror.model import LedgerEntry

_MIN_SECONDS: Final = 1.0
"""Between two readings of a rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """A product that is downloaded or verified now."""

    entry: LedgerEntry
    staged_bytes: int
    bytes_per_second: float | None
    """Since the last look; None if this is the first one."""

    @property
    def percent(self) -> float | None:
        """The part that is staged; None if the size is not known."""
        total = self.entry.product.size_bytes
        return min(100.0, 100 * self.staged_bytes / total) if total else None


@dataclass(frozen=True, slots=True)
class _Reading:
    at: float
    size_bytes: int
    rate: float | None


class Movements:
    """Compares the staged bytes of each product with those of the last look."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._readings: dict[str, _Reading] = {}

    def look(self, archive: Archive, entries: Sequence[LedgerEntry]) -> tuple[Moving, ...]:
        """Return what is staged of each product, and its rate since the last look."""
        found = []
        for entry in entries:
            reading = self._read(archive, entry.product.id)
            found.append(
                Moving(entry=entry, staged_bytes=reading.size_bytes, bytes_per_second=reading.rate)
            )
        return tuple(found)

    def _read(self, archive: Archive, product_id: str) -> _Reading:
        now, before = self._clock(), self._readings.get(product_id)
        if before is not None and now - before.at < _MIN_SECONDS:
            return before
        size_bytes = _staged_bytes(archive, product_id)
        rate = None if before is None else (size_bytes - before.size_bytes) / (now - before.at)
        reading = _Reading(now, size_bytes, None if rate is None else max(0.0, rate))
        others = {name: kept for name, kept in self._readings.items() if now - kept.at < _FORGET}
        self._readings = others | {product_id: reading}
        return reading


_FORGET: Final = 600.0
"""Seconds after which the reading of a product is of no use."""


def _staged_bytes(archive: Archive, product_id: str) -> int:
    try:
        return archive.stage(product_id).size_bytes()
    except MirrorError:
        return 0
