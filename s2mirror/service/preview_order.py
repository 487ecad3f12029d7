"""Previews on request (`s2mirror preview`): of products, areas or any geometry."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from s2mirror.adapters.archive import Archive
from s2mirror.config.previews import overridden
from s2mirror.errors import UsageError
from s2mirror.geometry import Shape, pack
from s2mirror.planning.preview_extents import units_of
from s2mirror.planning.previews import (
    PreviewRule,
    PreviewTask,
    of_area,
    of_geometry,
    of_product,
    requests_of,
)
from s2mirror.preview_model import FORMATS, Outcome, Preview, PreviewSource
from s2mirror.service.previews import preview_maker, preview_rule
from s2mirror.service.wiring import Mirror
from s2mirror.steps.preview_files import put_all
from s2mirror.stop import StopFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewOrder:
    """A request for previews."""

    ids: tuple[str, ...] = ()
    areas: tuple[str, ...] = ()
    geometry: Shape | None = None
    since: datetime | None = None
    """Images sensed from then on; None: the period of ``preview.window``."""
    until: datetime | None = None
    """Images sensed up to then; None: up to now."""
    collection: str = "sentinel-2-l2a"
    """The collection to render a geometry from."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Options of [preview] that replace the configured ones, as written in the file."""
    output: Path | None = None
    """The file to write; None: a file in the archive's folder of previews."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """The size and cost of a preview that is not rendered yet."""

    subject: str
    name: str
    crs: str
    bbox: tuple[float, ...]
    width: int
    height: int
    units: float


def tasks(mirror: Mirror, order: PreviewOrder) -> list[PreviewTask]:
    """Return the previews that *order* asks for. Raises UsageError."""
    if bool(order.ids) + bool(order.areas) + (order.geometry is not None) != 1:
        raise UsageError("give exactly one of: product IDs, --area, --bbox, --geometry")
    options = dict(order.options)
    if order.output is not None:
        options.setdefault("format", _format_of(order.output))
    preview = overridden(mirror.settings.preview, options, Path.cwd())
    settings = mirror.settings.model_copy(update={"preview": preview})
    changed = replace(mirror, settings=settings)
    found = _of_products(changed, order) if order.ids else _of_extents(changed, order)
    if order.output is not None and len(found) > 1:
        raise UsageError(f"--output names one file, but {len(found)} previews were requested")
    return found


def estimates(found: list[PreviewTask]) -> list[Estimate]:
    """Return each preview that would be rendered, with its cost. Raises UsageError."""
    return [
        Estimate(
            subject=task.subject,
            name=task.name,
            crs=request.extent.crs,
            bbox=request.extent.bbox,
            width=request.extent.width,
            height=request.extent.height,
            units=units_of(request.extent, request.script),
        )
        for task in found
        if task.rule.source is PreviewSource.PROCESS
        for request in requests_of(task)
    ]


def make_previews(
    mirror: Mirror, found: list[PreviewTask], output: Path | None, stop: StopFlag
) -> list[Preview]:
    """Make the previews of an order, also those that exist already."""
    maker = preview_maker(mirror)
    if output is None:
        mirror.require_archive()
        return [maker.make(task, stop) for task in found]
    images = [image for task in found for image in maker.render(task, stop)]
    folder = Archive(output.absolute().parent)
    paths = tuple(str(folder.root / path) for path in put_all(folder, output.stem, images))
    outcome = Outcome.MADE if paths else Outcome.EMPTY
    done = maker.outcome(found[0], outcome, paths=paths, units=sum(d.units for d in images))
    return [done]


def _of_products(mirror: Mirror, order: PreviewOrder) -> list[PreviewTask]:
    entries = [mirror.ledger.products.get(product_id) for product_id in order.ids]
    return [of_product(entry, _rule(mirror, order, entry.areas)) for entry in entries]


def _of_extents(mirror: Mirror, order: PreviewOrder) -> list[PreviewTask]:
    until = order.until or mirror.now()
    period = order.since or until - mirror.settings.preview.window, until
    if period[0] >= until:
        raise UsageError(f"--from {period[0]:%Y-%m-%d} is not before --to {until:%Y-%m-%d}")
    if order.geometry is not None:
        rule = _rendered(preview_rule(mirror.settings))
        geometry = order.geometry.geometry
        name = f"by-hand-{hashlib.sha256(pack(geometry)).hexdigest()[:8]}"
        return [of_geometry(name, geometry, rule, order.collection, period)]
    known = {area.name: area for area in mirror.areas}
    mirror.searches_of(order.areas)  # raises UsageError for an unknown name
    return [
        of_area(known[name], _rendered(_rule(mirror, order, (name,))), period)
        for name in order.areas
    ]


def _rendered(rule: PreviewRule) -> PreviewRule:
    """Return the rule for an extent, for which no product contains a ready image."""
    return replace(rule, source=PreviewSource.PROCESS)


def _rule(mirror: Mirror, order: PreviewOrder, areas: tuple[str, ...]) -> PreviewRule:
    """Return the rule of the first of *areas*, changed by the options of the order."""
    configured = {area.name: area for area in mirror.settings.area}
    area = next((configured[name] for name in areas if name in configured), None)
    rule, requested = preview_rule(mirror.settings, area), preview_rule(mirror.settings)
    if "source" in order.options or rule.source is PreviewSource.NONE:
        rule = replace(rule, source=requested.source)
    return replace(rule, script=requested.script) if "evalscript" in order.options else rule


def _format_of(path: Path) -> str:
    found = [name for name, form in FORMATS.items() if form.suffix == path.suffix.lower()]
    if not found:
        endings = ", ".join(form.suffix for form in FORMATS.values())
        raise UsageError(
            f"--output {path}: the suffix is not of a known format; use one of {endings}"
        )
    return found[0]
