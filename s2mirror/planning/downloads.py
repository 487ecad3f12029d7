"""Which waiting products may start, and why the others wait."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from s2mirror.model import Entry

ASSUMED_BYTES: Final = 1_000_000_000
"""For a product whose catalogue item gives no size: ESA states 700 to 800 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadPlan:
    """What to queue now, and why the rest waits."""

    start: tuple[Entry, ...]
    held: dict[str, str]

    @property
    def size_bytes(self) -> int:
        """Sum of what is to start, as far as the catalogue tells."""
        return sum(expected_bytes(entry) for entry in self.start)


def plan_downloads(
    waiting: Iterable[Entry],
    *,
    promised_bytes: int,
    free_bytes: int,
    reserve_bytes: int,
    held_back: Mapping[str, str] = MappingProxyType({}),
) -> DownloadPlan:
    """Take waiting products in the given order as far as the disk has room.

    *promised_bytes* is what products queued earlier will still need; *held_back* says by product
    id why some are not to start now. A product that does not fit
    waits, and a smaller one after it may go.
    """
    start: list[Entry] = []
    held: dict[str, str] = {}
    room_bytes = free_bytes - reserve_bytes - promised_bytes
    for entry in waiting:
        needed_bytes = expected_bytes(entry)
        if entry.product.id in held_back:
            held[entry.product.id] = held_back[entry.product.id]
        elif needed_bytes > room_bytes:
            held[entry.product.id] = (
                f"needs {needed_bytes} B of disk, {max(room_bytes, 0)} B are to spare"
            )
        else:
            start.append(entry)
            room_bytes -= needed_bytes
    return DownloadPlan(start=tuple(start), held=held)


def expected_bytes(entry: Entry) -> int:
    """Return how much disk a product will need."""
    return entry.product.size_bytes or ASSUMED_BYTES
