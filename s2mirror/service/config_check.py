"""The checks of `s2mirror check` that need the configuration alone: sizes and odd options."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from s2mirror.area import WatchArea
from s2mirror.config import Settings
from s2mirror.geometry import from_rings
from s2mirror.planning.area_estimates import (
    NOTHING,
    AreaSize,
    MonthlyAmount,
    estimated,
    size_of,
)
from s2mirror.planning.findings import Severity
from s2mirror.planning.odd_options import questions_on_areas, questions_on_percents
from s2mirror.selection import WHOLE
from s2mirror.service.account import quota_policy
from s2mirror.service.options import watch_area

MOST_AREAS: Final = 20
"""Of more areas, only the largest have a line of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The result of one check."""

    name: str
    detail: str
    """The result; for a failed check, the fault and what to do; a notice asks a question."""
    exit_code: int = 0
    """0 if the check passed."""
    severity: Severity = Severity.OK


def watch_areas(settings: Settings) -> list[WatchArea]:
    """Return the configured areas."""
    return [watch_area(area, settings) for area in settings.area]


def questions(settings: Settings, *, now: datetime) -> Iterator[Check]:
    """Yield a question for each option that is valid and looks like a mistake."""
    for name, text in questions_on_areas(watch_areas(settings), from_rings(land_rings()), now):
        yield _question(f"area {name}", text)
    for place, text in questions_on_percents(dict(_percents(settings))):
        yield _question(place, text)
    for entry in settings.process:
        if text := _odd_program(entry.command[0]):
            yield _question(f"process {entry.name}.command", text)
    if settings.ledger.path.is_relative_to(settings.archive.root):
        yield _question(
            "ledger.path",
            f"the ledger {settings.ledger.path} is within the archive {settings.archive.root}, "
            "where other programs expect products: is another folder possible?",
        )


def area_checks(
    settings: Settings, counted: Mapping[str, MonthlyAmount] | None = None
) -> Iterator[Check]:
    """Yield the size of each area, what it receives per month, and the sum of all.

    Without *counted*, the amounts are estimated.
    """
    areas = watch_areas(settings)
    sizes = {area.name: size_of(area) for area in areas}
    amounts = {area.name: estimated(area, sizes[area.name]) for area in areas}
    amounts |= counted or {}
    how = "by its images of 30 days" if counted else "estimated, with all clouds"
    areas.sort(key=lambda area: -amounts[area.name].size_bytes)
    for area in areas[:MOST_AREAS]:
        size, amount = _size_text(sizes[area.name]), _amount_text(amounts[area.name])
        whole = "" if area.selection == WHOLE else ", if all files were selected"
        yield Check(name=f"area {area.name}", detail=f"{size}; {amount} ({how}){whole}")
    if len(areas) > 1:
        yield from _all_areas(settings, sizes, amounts)


def _all_areas(
    settings: Settings, sizes: Mapping[str, AreaSize], amounts: Mapping[str, MonthlyAmount]
) -> Iterator[Check]:
    total = sum(amounts.values(), NOTHING)
    km2 = sum(size.km2 for size in sizes.values())
    yield Check(
        name="all areas",
        detail=f"{km2:,.0f} km²; {_amount_text(total)}, less where areas overlap",
    )
    limit_bytes = quota_policy(settings).limit_bytes
    if limit_bytes is not None and total.size_bytes > limit_bytes:
        yield _question(
            "quota",
            f"{_amount_text(total)} is more than the account's {limit_bytes / 1e12:g} TB: are all "
            "areas, collections and clouds wanted?",
        )


def _question(name: str, text: str) -> Check:
    return Check(name=name, detail=text, severity=Severity.NOTICE)


def _percents(settings: Settings) -> Iterator[tuple[str, float | None]]:
    """Yield the place and value of every option in percent."""
    for section in type(settings).model_fields:
        if hasattr(type(getattr(settings, section)), "model_fields"):
            yield from _percents_in(section, getattr(settings, section))
    for area in settings.area:
        yield from _percents_in(f"area {area.name}", area)


def _percents_in(place: str, section: object) -> Iterator[tuple[str, float | None]]:
    for name in type(section).model_fields:  # type: ignore[attr-defined]  # of pydantic's classes
        if name.endswith("_percent"):
            yield f"{place}.{name}", getattr(section, name)


def _odd_program(program: str) -> str:
    """Return a question about the program of a command; empty if it can be run."""
    if shutil.which(program):
        return ""
    if Path(program).is_dir() or not os.access(program, os.F_OK):
        return f"there is no program {program!r}: is its path right?"
    return f"this user may not run {program!r}: is it executable?"


def _size_text(size: AreaSize) -> str:
    tiles = "1 tile" if size.tiles == 1 else f"{size.tiles:,} tiles"
    east, north = "W" if size.longitude < 0 else "E", "S" if size.latitude < 0 else "N"
    place = f"{abs(size.latitude):.1f}° {north} {abs(size.longitude):.1f}° {east}"
    return f"{size.km2:,.0f} km² at {place}, {tiles}"


def _amount_text(amount: MonthlyAmount) -> str:
    return f"{amount.products:,.0f} products and {amount.size_bytes / 1e9:,.0f} GB per month"


def land_rings() -> list[list[float]]:
    """Return the land of the Earth as rings of coordinates, by Natural Earth (1:110 million)."""
    document = json.loads(files("s2mirror.web").joinpath("land.json").read_text("utf-8"))
    rings: list[list[float]] = document["rings"]
    return rings
