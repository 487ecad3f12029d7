"""The calendar of acquisitions: one row per tile, one column per day."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from s2mirror.adapters.ledger.overview import DayCount
from s2mirror.lifecycle import HELD, PENDING, TROUBLED, State

DAYS: Final = 60
MAX_ROWS: Final = 40
DAY_PIXELS: Final = 14
ROW_PIXELS: Final = 17
LABEL_PIXELS: Final = 66
HEAD_PIXELS: Final = 34
_MARKS: Final = (
    ("failed", TROUBLED),
    ("waiting", PENDING),
    ("held", HELD),
    ("pruned", frozenset({State.PRUNED})),
)
"""The marks of a day, the most important first, and the states that they stand for."""
_KINDS: Final = {state: kind for kind, states in _MARKS for state in states}
_LABEL_ROOM: Final = 40
"""Pixels that the label of a week needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The acquisitions of one tile on one day."""

    x: int
    kind: str
    """``failed``, ``waiting``, ``held`` or ``pruned``: the most important of its products."""
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The acquisitions of one tile."""

    tile: str
    y: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """The acquisitions of the last days, ready to be written as SVG."""

    rows: tuple[Row, ...]
    weeks: tuple[tuple[int, str], ...]
    """Position and label of each Monday."""
    width: int
    height: int
    totals: dict[str, int]
    """Products by kind of mark, of all tiles."""
    tiles: int
    """All tiles with acquisitions, also those without a row here."""


def calendar(counts: Sequence[DayCount], today: date) -> Calendar:
    """Return the calendar until *today*.

    Of more tiles than a page can show, those with failed and waiting products have rows first, then
    those with the newest images.
    """
    first = today - timedelta(days=DAYS - 1)
    by_tile: dict[str, dict[date, dict[str, int]]] = {}
    totals = {kind: 0 for kind, _ in _MARKS}
    for count in counts:
        kind = _KINDS.get(count.state)
        if kind and first <= count.day <= today:
            totals[kind] += count.products
            cell = by_tile.setdefault(count.tile, {}).setdefault(count.day, {})
            cell[kind] = cell.get(kind, 0) + count.products
    shown = sorted(sorted(by_tile, key=lambda tile: _urgency(by_tile[tile]))[:MAX_ROWS])
    return Calendar(
        rows=tuple(
            Row(
                tile=tile,
                y=HEAD_PIXELS + ROW_PIXELS * place,
                marks=tuple(_marks(tile, by_tile[tile], first)),
            )
            for place, tile in enumerate(shown)
        ),
        weeks=tuple(_weeks(first, today)),
        width=LABEL_PIXELS + DAYS * DAY_PIXELS + 8,
        height=HEAD_PIXELS + ROW_PIXELS * len(shown) + 6,
        totals=totals,
        tiles=len(by_tile),
    )


def _urgency(days: dict[date, dict[str, int]]) -> tuple[int, int]:
    """Return the place of a tile in the order of rows: troubled first, then the newest."""
    kinds = {kind for cell in days.values() for kind in cell}
    return (0 if "failed" in kinds else 1 if "waiting" in kinds else 2), -max(days).toordinal()


def _marks(tile: str, days: dict[date, dict[str, int]], first: date) -> Iterable[Mark]:
    for day, cell in sorted(days.items()):
        kind = next(kind for kind, _ in _MARKS if kind in cell)
        parts = [f"{cell[kind]} {kind}" for kind, _ in _MARKS if kind in cell]
        yield Mark(
            x=LABEL_PIXELS + DAY_PIXELS * (day - first).days,
            kind=kind,
            title=f"{tile} {day}: {', '.join(parts)}",
        )


def _weeks(first: date, today: date) -> Iterable[tuple[int, str]]:
    for number in range((today - first).days + 1):
        day = first + timedelta(days=number)
        if day.weekday() == 0:
            has_room = DAY_PIXELS * (DAYS - number) >= _LABEL_ROOM
            label = f"{day.day} {day:%b}" if has_room else ""
            yield LABEL_PIXELS + DAY_PIXELS * number, label
