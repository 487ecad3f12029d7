"""Which previews are wanted, and the requests that render them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shapely import make_valid
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
    """The previews that an area wants."""

    source: PreviewSource
    per_area: bool
    """One preview of the whole area per overpass, instead of one of each product."""
    script: Script
    form: str
    crs: str
    """``EPSG:…``, or ``utm`` for the UTM zone of the area."""
    size: Size
    margin: timedelta
    """Images this long before or after the start of a datatake are included."""
    max_cloud_cover_percent: float | None
    mosaicking_order: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewTask:
    """One preview to be made: of a product, or of an area at an instant."""

    subject: str
    rule: PreviewRule
    collection: str
    geometry: BaseGeometry
    """Degrees, WGS 84."""
    time_from: datetime
    time_until: datetime
    path: str
    """The file's path relative to the folder of previews, without its suffix."""
    entry: LedgerEntry | None = None
    """The product, if the preview shows one."""
    clipped: bool = False
    """Whether pixels within the bounds but outside the geometry stay empty."""

    @property
    def name(self) -> str:
        """The name of the preview among those of its subject."""
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
    """Return the task for a preview of one product."""
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
    task = of_geometry(area.name, area.geometry, rule, product.collection, around)
    return _with_path(task, area.name, product.sensed_at)


def of_area(area: WatchArea, rule: PreviewRule, period: tuple[datetime, datetime]) -> PreviewTask:
    """Return the task for a preview of an area in a period, from L2A if the area has it."""
    found = area.collections
    collection = _L2A if _L2A in found else found[0]
    return of_geometry(area.name, area.geometry, rule, collection, period)


def of_geometry(
    name: str,
    geometry: BaseGeometry,
    rule: PreviewRule,
    collection: str,
    period: tuple[datetime, datetime],
) -> PreviewTask:
    """Return the task for a preview of a geometry from all images of a period."""
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
    return _with_path(task, name, period[1])


def _with_path(task: PreviewTask, name: str, at: datetime) -> PreviewTask:
    """Return the task with the path and subject of an area at an instant."""
    instant, level = f"{at:%Y%m%dT%H%M%S}", task.collection.removeprefix("sentinel-2-")
    path = f"{name}/{at:%Y/%m}/{instant}_{level}"
    return replace(task, subject=f"{name}@{instant}", path=path)


def requests_of(task: PreviewTask) -> tuple[RenderRequest, ...]:
    """Return the requests that render a task: one, or several if the preview must be split.

    Parts that do not intersect a clipped area are omitted. Raises UsageError.
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
    """Return the geometry to be rendered in an extent, simplified to half a pixel."""
    bounds = box(*extent.bbox)
    if not task.clipped:
        return bounds
    pixel = (extent.bbox[2] - extent.bbox[0]) / extent.width
    shown = projected(task.geometry, extent.crs).simplify(pixel / 2)
    return polygons_only(make_valid(shown).intersection(bounds))


def month_of(at: datetime) -> str:
    """Return the month to whose allowance Sentinel Hub counts a request made *at* an instant."""
    return f"{at:%Y-%m}"
