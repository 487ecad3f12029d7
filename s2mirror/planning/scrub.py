"""How much the scrub should read now, when it must stop, and what its results mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from s2mirror.planning.findings import Finding, Severity

if TYPE_CHECKING:
    from s2mirror.planning.facts import Facts

_MASS_PRODUCTS: Final = 5
_MASS_SHARE: Final = 0.1
_BEHIND: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubFacts:
    """What is known about the bytes in the archive."""

    every: timedelta | None = None
    """How often every byte should be verified; None for never."""
    works: bool = False
    """Whether the daemon has ever looked whether it should read."""
    oldest_at: datetime | None = None
    """The oldest of the last verifications of all products; None without a product."""
    damaged: tuple[tuple[str, str], ...] = ()
    """Damaged products that are not repaired, with the reason, by id."""
    damaged_since: datetime | None = None
    stopped: str = ""
    """Why the scrub waits for a person."""
    stopped_at: datetime | None = None


def owed_bytes(owed: int, held_bytes: int, *, passed: timedelta, every: timedelta) -> int:
    """Return how many bytes should be read now, after some time has *passed*.

    All bytes are to be read once in the time *every*: each hour adds its share. After a long pause,
    no more is owed than there is.
    """
    share = max(timedelta(), passed) / every
    return min(held_bytes, owed + round(held_bytes * share))


def is_mass_damage(products: int, damaged: int) -> bool:
    """Return whether so many of the products read are damaged that the disk is probably failing."""
    return damaged >= _MASS_PRODUCTS and damaged > _MASS_SHARE * products


def archive_is_sound(facts: "Facts") -> Iterator[Finding]:
    """Yield damaged products, and why the archive is not verified as often as it should be."""
    scrub = facts.scrub
    if scrub.stopped:
        yield Finding(
            code="scrub.stopped",
            severity=Severity.FAILURE,
            text=scrub.stopped,
            remedy="see the kernel's log and `smartctl -a` for errors of the disk; once it is "
            "sound, run `s2mirror audit --repair`",
            since=scrub.stopped_at,
        )
    if scrub.damaged:
        name, detail = scrub.damaged[0]
        yield Finding(
            code="archive.damaged",
            severity=Severity.WARNING,
            text=f"{_are(len(scrub.damaged))} damaged, such as {name}: {detail}",
            remedy="run `s2mirror audit --repair`",
            since=scrub.damaged_since,
        )
    if scrub.every and scrub.works and scrub.oldest_at:
        age = facts.now - scrub.oldest_at
        if age > _BEHIND * scrub.every and not scrub.stopped:
            yield Finding(
                code="scrub.behind",
                severity=Severity.WARNING,
                text=f"the oldest verification of a product is {age.days} days old, more than "
                f"twice scrub.every ({scrub.every.days} days)",
                remedy="set scrub.rate higher, or scrub.hours or scrub.every longer",
            )


def _are(products: int) -> str:
    if products == 1:
        return "one product in the archive is"
    return f"{products} products in the archive are"
