"""How much a full disk or archive must release, and which products go for that.

The products that were processed first go first, of those that no rule keeps. What the trash holds
counts as released: it is on the same disk, and is deleted after a shorter time while the disk is
above its high mark.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from s2mirror.model import LedgerEntry
from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.retention_rules import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """The size of a file system and what is in use of it, by all programs."""

    total_bytes: int
    """What this user could use of an empty one."""
    used_bytes: int

    @property
    def used_percent(self) -> float:
        """The part in use."""
        return 100 * self.used_bytes / max(1, self.total_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The limits of the archive's size and of its disk; None for no limit."""

    max_size_bytes: int | None = None
    high_percent: float | None = None
    low_percent: float = 0.0

    def excess_bytes(self, read_disk: Callable[[], DiskSpace]) -> int:
        """Return what must be freed of a disk above the high mark, down to the low one."""
        if self.high_percent is None:
            return 0
        disk = read_disk()
        if disk.used_percent <= self.high_percent:
            return 0
        return disk.used_bytes - int(disk.total_bytes * self.low_percent / 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """The bytes of products that must go, by the rule that asks for it."""

    disk_bytes: int = 0
    archive_bytes: int = 0

    def rule(self) -> Rule | None:
        """Return the rule by which the next product goes; None if enough have gone."""
        if self.disk_bytes > 0:
            return Rule.DISK_HIGH
        return Rule.MAX_SIZE if self.archive_bytes > 0 else None

    def less(self, size_bytes: int) -> "Needs":
        """Return what is needed after products of *size_bytes* have gone."""
        return Needs(
            disk_bytes=max(0, self.disk_bytes - size_bytes),
            archive_bytes=max(0, self.archive_bytes - size_bytes),
        )

    def missing(self) -> dict[Rule, int]:
        """Return the bytes that are still needed, by rule."""
        found = {Rule.DISK_HIGH: self.disk_bytes, Rule.MAX_SIZE: self.archive_bytes}
        return {rule: size_bytes for rule, size_bytes in found.items() if size_bytes}


def needs(marks: Marks, *, excess_bytes: int, held_bytes: int, trash_bytes: int) -> Needs:
    """Return what the limits ask for, beyond what the trash will free of a disk."""
    archive_bytes = 0 if marks.max_size_bytes is None else held_bytes - marks.max_size_bytes
    return Needs(
        disk_bytes=max(0, excess_bytes - trash_bytes),
        archive_bytes=max(0, archive_bytes),
    )


def take_oldest(
    oldest_first: Iterable[LedgerEntry], wanted: Needs
) -> tuple[list[tuple[Rule, LedgerEntry]], Needs]:
    """Return the products that go, with the rule of each, and what is needed beyond them.

    *oldest_first* is read only as far as necessary.
    """
    taken: list[tuple[Rule, LedgerEntry]] = []
    if wanted.rule() is None:
        return taken, wanted
    for entry in oldest_first:
        rule = wanted.rule()
        if rule is None:
            break
        taken.append((rule, entry))
        wanted = wanted.less(expected_bytes(entry))
    return taken, wanted


def shortage(missing_bytes: Mapping[Rule, int]) -> str:
    """Return why a prune cannot free enough; empty if it can."""
    parts = [f"{rule} asks for {size / 1e9:.1f} GB" for rule, size in missing_bytes.items()]
    return f"{' and '.join(parts)} more than all products that may go have" if parts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrashedProduct:
    """A product in the trash."""

    name: str
    at: datetime
    """When it was moved there."""
    size_bytes: int


def trash_to_empty(trash: Iterable[TrashedProduct], excess_bytes: int) -> list[str]:
    """Return the names in the trash that are deleted now, oldest first, to free *excess_bytes*."""
    names: list[str] = []
    for product in sorted(trash, key=lambda each: (each.at, each.name)):
        if excess_bytes <= 0:
            break
        names.append(product.name)
        excess_bytes -= product.size_bytes
    return names
