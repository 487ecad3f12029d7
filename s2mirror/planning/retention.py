"""Which held products may go, and what stops a mass removal."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.area import WatchArea
from s2mirror.lifecycle import HELD, State
from s2mirror.model import Entry
from s2mirror.planning.supersede import Supersession

BRAKE_FLOOR: Final = 10
"""The percent brake is for real archives: so few products may always go at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brake:
    """More than this in one run needs a person's word."""

    max_products: int
    max_percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What may go now, why the rest stays, and why the brake holds, if it does."""

    prune: tuple[Entry, ...]
    superseded: tuple[Supersession, ...]
    """Older versions whose newer one is held, and whose grace is over."""
    kept: dict[str, str]
    brake: str = ""

    @property
    def gone(self) -> tuple[Entry, ...]:
        """Every product that goes, for whichever reason."""
        return (*self.prune, *(found.old for found in self.superseded))


def plan_prune(
    held: Sequence[Entry],
    areas: Iterable[WatchArea],
    supersessions: Iterable[Supersession],
    *,
    require_processed: bool,
    brake: Brake,
    now: datetime,
) -> PrunePlan:
    """Take what every one of a product's areas lets go, and what a newer version replaces.

    An area lets a product go when it is beyond the ``keep_newest`` newest of that area and
    ``prune_after`` is over since it was processed. An area with neither rule keeps everything, and
    so does one that is no longer configured.
    """
    replaced = [found for found in supersessions if found.old.state in HELD]
    superseded = {found.old.product.id: found for found in replaced if found.due_at <= now}
    rules = {area.name: area for area in areas}
    ranks = {name: _ranks(held, name) for name in rules}
    kept: dict[str, str] = {}
    prune: list[Entry] = []
    for entry in held:
        if entry.product.id in superseded:
            continue
        if require_processed and entry.state is not State.PROCESSED:
            kept[entry.product.id] = "not marked processed"
        elif why := _why_kept(entry, rules, ranks, now):
            kept[entry.product.id] = why
        else:
            prune.append(entry)
    return PrunePlan(
        prune=tuple(prune),
        superseded=tuple(superseded.values()),
        kept=kept,
        brake=_brake(len(prune) + len(superseded), len(held), brake),
    )


def _ranks(held: Sequence[Entry], area: str) -> dict[str, int]:
    """Return each product's place in its area, 0 for the newest."""
    members = [entry.product for entry in held if area in entry.areas]
    members.sort(key=lambda product: (product.sensed_at, product.id), reverse=True)
    return {product.id: place for place, product in enumerate(members)}


def _why_kept(
    entry: Entry,
    rules: Mapping[str, WatchArea],
    ranks: Mapping[str, Mapping[str, int]],
    now: datetime,
) -> str:
    """Return why a product stays, or an empty text if every area lets it go."""
    if not entry.areas:
        return "no area claims it; prune it by id if it is not wanted"
    for name in entry.areas:
        rule = rules.get(name)
        if rule is None:
            return f"area {name} is no longer configured; prune it by id if it is not wanted"
        if rule.keep_newest is None and rule.prune_after is None:
            return f"area {name} keeps everything"
        if rule.keep_newest is not None and ranks[name][entry.product.id] < rule.keep_newest:
            return f"among the newest {rule.keep_newest} of area {name}"
        if rule.prune_after is not None and now < entry.changed_at + rule.prune_after:
            due = entry.changed_at + rule.prune_after
            return f"area {name} keeps it until {due:%Y-%m-%d %H:%M} UTC"
    return ""


def _brake(due: int, held: int, brake: Brake) -> str:
    percent = 100 * due / held if held else 0
    if due > brake.max_products:
        return f"{due} products are due, more than prune.max_products = {brake.max_products}"
    if due > BRAKE_FLOOR and percent > brake.max_percent:
        return (
            f"{due} of {held} products are due, more than "
            f"prune.max_percent = {brake.max_percent:g} %"
        )
    return ""
