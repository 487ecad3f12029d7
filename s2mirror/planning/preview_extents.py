"""The extents in which a preview is rendered, and the processing units they cost."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from s2mirror.crs import MERCATOR, WGS84
from s2mirror.errors import UsageError
from s2mirror.preview_model import MAX_SIDE_PIXELS, Extent, Script
from s2mirror.projection import MERCATOR_EDGE_DEGREES, projected, unit_metres, utm_crs

MAX_PARTS: Final = 64
"""A preview in more parts than this is a mistake."""
MAX_METRES_PER_PIXEL: Final = 1500
"""Sentinel Hub renders nothing coarser from Sentinel-2."""
OWN_UTM: Final = "utm"
_HALF_WORLD_DEGREES: Final = 180.0
_UNIT_PIXELS: Final = 512 * 512
_UNIT_BANDS: Final = 3
_MIN_AREA: Final = 0.01
_MIN_UNITS: Final = 0.005
_BAND: Final = re.compile(
    r"""["'](B(?:0[1-9]|1[0-2]|8A)|SCL|SNW|CLD|AOT|WVP|\w+(?:Angles|Mean))["']"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The size of a preview, in pixels or in metres per pixel."""

    width: int
    """Pixels; without a height, the height follows from the geometry."""
    height: int | None = None
    metres_per_pixel: float | None = None
    """If given, it decides instead."""


def extents_of(geometry: BaseGeometry, crs: str, size: Size) -> tuple[Extent, ...]:
    """Return the extents that show *geometry*, none larger than one request may render.

    An area across the antimeridian has an extent on either side. Raises UsageError for a preview
    that would be coarser than Sentinel Hub renders, or have too many parts.
    """
    found = [part for side in _sides(geometry) for part in _extents(side, crs, size)]
    if len(found) > MAX_PARTS:
        raise UsageError(
            f"the preview would be rendered in {len(found)} parts of at most {MAX_SIDE_PIXELS} "
            f"pixels, more than {MAX_PARTS}; choose a smaller area, size or resolution"
        )
    return tuple(found)


def _sides(geometry: BaseGeometry) -> Iterator[BaseGeometry]:
    west, _, east, _ = geometry.bounds
    if east - west <= _HALF_WORLD_DEGREES:
        yield geometry
        return
    for half in (box(0, -90, 180, 90), box(-180, -90, 0, 90)):
        part = geometry.intersection(half)
        if part.area:
            yield part


def _extents(geometry: BaseGeometry, crs: str, size: Size) -> Iterator[Extent]:
    middle = geometry.envelope.centroid
    name = utm_crs(middle.x, middle.y) if crs == OWN_UTM else crs
    if name == MERCATOR:
        edge = MERCATOR_EDGE_DEGREES
        geometry = geometry.intersection(box(-180, -edge, 180, edge))
    bounds = projected(geometry.segmentize(0.1) if name != WGS84 else geometry, name).bounds
    if not all(map(math.isfinite, bounds)):
        raise UsageError(f"the preview's area cannot be projected to {crs}; choose another crs")
    across_metres, up_metres = unit_metres(name, middle.y)
    wide, high = bounds[2] - bounds[0], bounds[3] - bounds[1]
    width, height = _pixels(wide * across_metres, high * up_metres, size)
    coarsest = max(wide * across_metres / width, high * up_metres / height)
    if coarsest > MAX_METRES_PER_PIXEL:
        raise UsageError(
            f"the preview would have {coarsest:.0f} m per pixel; Sentinel Hub renders nothing "
            f"coarser than {MAX_METRES_PER_PIXEL} m. Choose a larger size or a smaller area"
        )
    yield from _split(Extent(crs=name, bbox=bounds, width=width, height=height))


def _pixels(wide_metres: float, high_metres: float, size: Size) -> tuple[int, int]:
    if size.metres_per_pixel is not None:
        across, down = wide_metres / size.metres_per_pixel, high_metres / size.metres_per_pixel
        return max(1, math.ceil(across)), max(1, math.ceil(down))
    height = size.height or max(1, round(size.width * high_metres / wide_metres))
    return size.width, height


def _split(whole: Extent) -> Iterator[Extent]:
    """Yield parts along pixel edges, row by row from the north-west."""
    west, south, east, north = whole.bbox
    across, down = (east - west) / whole.width, (north - south) / whole.height
    columns, rows = _cuts(whole.width), _cuts(whole.height)
    if len(columns) * len(rows) > MAX_PARTS:
        raise UsageError(
            f"a preview of {whole.width} by {whole.height} pixels would be rendered in "
            f"{len(columns) * len(rows)} parts, more than {MAX_PARTS}; choose a smaller size"
        )
    for top, bottom in rows:
        for left, right in columns:
            bbox = (
                west + left * across,
                north - bottom * down,
                west + right * across,
                north - top * down,
            )
            yield Extent(crs=whole.crs, bbox=bbox, width=right - left, height=bottom - top)


def _cuts(pixels: int) -> list[tuple[int, int]]:
    parts = math.ceil(pixels / MAX_SIDE_PIXELS)
    edges = [round(number * pixels / parts) for number in range(parts + 1)]
    return list(pairwise(edges))


def units_of(extent: Extent, script: Script) -> float:
    """Return the processing units that one rendered image will cost.

    By area (512 by 512 pixels are one), by bands read (three are one; the mask of data is free),
    twice for 32-bit floats. https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/ProcessingUnit.html
    """
    bands = len(set(_BAND.findall(script.text))) or 1
    area = max(_MIN_AREA, extent.width * extent.height / _UNIT_PIXELS)
    depth = 2 if "FLOAT32" in script.text else 1
    return max(_MIN_UNITS, area * bands / _UNIT_BANDS * depth)
