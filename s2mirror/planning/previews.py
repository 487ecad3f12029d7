"""Which previews are wanted, where each lies, and what it will cost."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from s2mirror.area import WatchArea
from s2mirror.geometry import polygons_only, to_geojson, unpack
from s2mirror.model import LedgerEntry
from s2mirror.planning.preview_extents import Size, extents_of
from s2mirror.preview_model import (
    FORMATS,
    Extent,
    PreviewSource,
    RenderRequest,
    Script,
)
from s2mirror.projection import projected

_L2A: Final = "sentinel-2-l2a"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewRule:
    """What previews an area wants."""

    source: PreviewSource
    per_area: bool
    """One of the whole area per overpass, rather than one of each product."""
    script: Script
    form: str
    crs: str
    """``EPSG:…``, or ``utm`` for the zone of the place."""
    size: Size
    margin: timedelta
    """How far around a datatake's start its images are looked for."""
    max_cloud_cover_percent: float | None
    mosaicking_order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewTask:
    """One preview to be made: of a product, or of an area at a time."""

    subject: str
    rule: PreviewRule
    collection: str
    geometry: BaseGeometry
    """Degrees, WGS 84."""
    time_from: datetime
    time_until: datetime
    path: str
    """Where it goes, relative to the folder of previews, without its endings."""
    entry: LedgerEntry | None = None
    """The product, where the picture is of one."""
    clipped: bool = False
    """Whether nothing is drawn outside of the geometry, within its bounds."""

    @property
    def name(self) -> str:
        """What the picture is called among those of its subject."""
        return (
            self.rule.script.name if self.rule.source is PreviewSource.PROCESS else self.rule.source
        )


def preview_tasks(
    entry: LedgerEntry, rules: Mapping[str, PreviewRule], areas: Mapping[str, WatchArea]
) -> tuple[PreviewTask, ...]:
    """Return the previews that a held product's areas want, each once."""
    found: dict[tuple[str, str], PreviewTask] = {}
    for name in entry.areas:
        rule = rules.get(name)
        if rule is not None and rule.source is not PreviewSource.NONE:
            is_of_area = rule.per_area and rule.source is PreviewSource.PROCESS
            task = _of_area(entry, areas[name], rule) if is_of_area else of_product(entry, rule)
            found.setdefault((task.subject, task.name), task)
    return tuple(found.values())


def of_product(entry: LedgerEntry, rule: PreviewRule) -> PreviewTask:
    """Return the wish for a picture of one product."""
    product = entry.product
    return PreviewTask(
        subject=product.id,
        rule=rule,
        collection=product.collection,
        geometry=unpack(product.footprint_wkb),
        time_from=product.sensed_at - rule.margin,
        time_until=product.sensed_at + rule.margin,
        path=f"{product.sensed_at:%Y/%m}/{product.id}",
        entry=entry,
    )


def _of_area(entry: LedgerEntry, area: WatchArea, rule: PreviewRule) -> PreviewTask:
    product = entry.product
    around = (product.sensed_at - rule.margin, product.sensed_at + rule.margin)
    task = of_outline(area.name, area.geometry, rule, product.collection, around)
    return filed(task, area.name, product.sensed_at)


def of_area(area: WatchArea, rule: PreviewRule, period: tuple[datetime, datetime]) -> PreviewTask:
    """Return the wish for a picture of an area from all images of a period, L2A if it has them."""
    found = area.collections
    collection = _L2A if _L2A in found else found[0]
    return of_outline(area.name, area.geometry, rule, collection, period)


def of_outline(
    name: str,
    geometry: BaseGeometry,
    rule: PreviewRule,
    collection: str,
    period: tuple[datetime, datetime],
) -> PreviewTask:
    """Return the wish for a picture of any outline from all images of a period."""
    task = PreviewTask(
        subject="",
        rule=rule,
        collection=collection,
        geometry=geometry,
        time_from=period[0],
        time_until=period[1],
        path="",
        clipped=not geometry.equals(geometry.envelope),
    )
    return filed(task, name, period[1])


def filed(task: PreviewTask, name: str, at: datetime) -> PreviewTask:
    """Return the wish under the name of an area and an instant."""
    stamp, level = f"{at:%Y%m%dT%H%M%S}", task.collection.removeprefix("sentinel-2-")
    path = f"{name}/{at:%Y/%m}/{stamp}_{level}"
    return replace(task, subject=f"{name}@{stamp}", path=path)


def requests_of(task: PreviewTask) -> tuple[RenderRequest, ...]:
    """Return what a service is to be asked for: one picture, or more if it must be split.

    A part in which nothing of a clipped area lies is left out. Raises UsageError.
    """
    rule = task.rule
    script = rule.script if FORMATS[rule.form].has_alpha else rule.script.without_alpha()
    found = ((f, _clip(task, f)) for f in extents_of(task.geometry, rule.crs, rule.size))
    return tuple(
        RenderRequest(
            extent=extent,
            geometry_geojson=to_geojson(clip) if task.clipped else "",
            collection=task.collection,
            time_from=task.time_from,
            time_until=task.time_until,
            max_cloud_cover_percent=rule.max_cloud_cover_percent,
            mosaicking_order=rule.mosaicking_order,
            script=script,
            form=rule.form,
        )
        for extent, clip in found
        if clip.area
    )


def _clip(task: PreviewTask, extent: Extent) -> BaseGeometry:
    """Return what is to be drawn of a frame, no finer than its pixels."""
    bounds = box(*extent.bbox)
    if not task.clipped:
        return bounds
    pixel = (extent.bbox[2] - extent.bbox[0]) / extent.width
    outline = projected(task.geometry, extent.crs).simplify(pixel / 2).intersection(bounds)
    return polygons_only(outline)


def month_of(moment: datetime) -> str:
    """Return the month in which Sentinel Hub counts what *moment* costs; it counts anew each."""
    return f"{moment:%Y-%m}"
