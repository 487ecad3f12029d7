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
_URGENCY: Final = {"failed": 0, "waiting": 1}
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


def first_day(today: date) -> date:
    """Return the first day of a calendar."""
    return today - timedelta(days=DAYS - 1)


def chosen_tiles(newest: Iterable[DayCount]) -> list[str]:
    """Return the tiles that have a row.

    Of more tiles than a page can show, those with failed products are first, then those with
    waiting ones, then those with the newest images.
    """
    urgency: dict[str, tuple[int, int]] = {}
    for count in newest:
        if count.state in _KINDS:
            place = (_URGENCY.get(_KINDS[count.state], len(_URGENCY)), -count.day.toordinal())
            urgency[count.tile] = min(place, urgency.get(count.tile, place))
    return sorted(sorted(urgency, key=urgency.__getitem__)[:MAX_ROWS])


def calendar(newest: Sequence[DayCount], days: Iterable[DayCount], today: date) -> Calendar:
    """Return the calendar until *today*: totals of all tiles, and a row for each tile of *days*."""
    by_tile: dict[str, dict[date, dict[str, int]]] = {}
    for count in days:
        if count.state in _KINDS and count.day <= today:
            cell = by_tile.setdefault(count.tile, {}).setdefault(count.day, {})
            kind = _KINDS[count.state]
            cell[kind] = cell.get(kind, 0) + count.products
    totals = {kind: 0 for kind, _ in _MARKS}
    for count in newest:
        if count.state in _KINDS:
            totals[_KINDS[count.state]] += count.products
    first = first_day(today)
    return Calendar(
        rows=tuple(
            Row(
                tile=tile,
                y=HEAD_PIXELS + ROW_PIXELS * place,
                marks=tuple(_marks(tile, by_tile[tile], first)),
            )
            for place, tile in enumerate(sorted(by_tile))
        ),
        weeks=tuple(_weeks(first, today)),
        width=LABEL_PIXELS + DAYS * DAY_PIXELS + 8,
        height=HEAD_PIXELS + ROW_PIXELS * len(by_tile) + 6,
        totals=totals,
        tiles=len({count.tile for count in newest if count.state in _KINDS}),
    )


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
