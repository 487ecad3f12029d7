"""Parses Process API requests, with the checks of Sentinel Hub."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from shapely.errors import ShapelyError
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from s2mirror.crs import check_crs
from s2mirror.errors import UsageError
from s2mirror.projection import unit_metres
from s2mirror.times import parse_utc

MAX_PIXELS: Final = 2500
MAX_METRES_PER_PIXEL: Final = 1500.0
MEDIA: Final = ("image/png", "image/jpeg", "image/tiff")
COLLECTIONS: Final = ("sentinel-2-l1c", "sentinel-2-l2a")
ORDERS: Final = ("mostRecent", "leastRecent", "leastCC")
_CRS: Final = re.compile(r"https?://www\.opengis\.net/def/crs/(?:OGC/1\.3/(CRS84)|EPSG/0/(\d+))")


class BadRequest(UsageError):
    """A request that Sentinel Hub would refuse: the parameter and the reason."""

    def __init__(self, parameter: str, violation: str, value: object = None) -> None:
        super().__init__(f"{parameter}: {violation}")
        self.details = {"parameter": parameter, "violation": violation, "invalidValue": value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One image to render. ``bbox`` is west, south, east, north in units of ``crs``."""

    bbox: tuple[float, float, float, float]
    geometry: BaseGeometry | None
    crs: str
    collection: str
    time_from: datetime
    time_until: datetime
    max_cloud_percent: float
    order: str
    harmonize: bool
    width: int
    height: int
    media: str
    quality: int
    evalscript: str


def read_job(body: bytes) -> Job:
    """Return the job in a request's *body*. Raises BadRequest with the parameter's name."""
    try:
        request = json.loads(body)
    except ValueError as error:
        raise BadRequest("body", "is not JSON") from error
    source = _table(_table(request, "body").get("input"), "input")
    bounds = _table(source.get("bounds"), "input->bounds")
    data = _first(source.get("data"), "input->data")
    crs = _crs(bounds)
    geometry = _geometry(bounds)
    bbox = _bbox(bounds, geometry)
    selected = _table(data.get("dataFilter") or {}, "input->data->dataFilter")
    span = _table(selected.get("timeRange") or {}, "input->data->dataFilter->timeRange")
    output = _table(request.get("output") or {}, "output")
    width, height = _size(output, bbox)
    _check_resolution(crs, bbox, width, height)
    form = _format(output)
    script = request.get("evalscript")
    if not isinstance(script, str) or not script.strip():
        raise BadRequest("evalscript", "must not be empty", script)
    processing = data.get("processing") or {}
    return Job(
        bbox=bbox,
        geometry=geometry,
        crs=crs,
        collection=_one_of(data.get("type"), COLLECTIONS, "input->data->type"),
        time_from=_instant(span.get("from"), "from"),
        time_until=_instant(span.get("to"), "to"),
        max_cloud_percent=_number(
            selected.get("maxCloudCoverage", 100), 100, "input->data->dataFilter->maxCloudCoverage"
        ),
        order=_one_of(
            selected.get("mosaickingOrder", "mostRecent"),
            ORDERS,
            "input->data->dataFilter->mosaickingOrder",
        ),
        harmonize=bool(processing.get("harmonizeValues", True)),
        width=width,
        height=height,
        media=_one_of(form.get("type", "image/png"), MEDIA, "output->responses->format->type"),
        quality=int(form.get("quality", 90)),
        evalscript=script,
    )


def _table(value: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - parsed JSON
    if not isinstance(value, dict):
        raise BadRequest(name, "must be an object", value)
    return value


def _first(value: Any, name: str) -> dict[str, Any]:  # noqa: ANN401 - parsed JSON
    if not isinstance(value, list) or not value:
        raise BadRequest(name, "must not be empty", value)
    return _table(value[0], name)


def _one_of(value: object, known: tuple[str, ...], name: str) -> str:
    if value not in known:
        raise BadRequest(name, f"must be one of {', '.join(known)}", value)
    return str(value)


def _number(value: Any, high: float, name: str) -> float:  # noqa: ANN401 - parsed JSON
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        raise BadRequest(name, f"must be a number from 0 to {high:g}", value)
    return float(value)


def _instant(value: object, which: str) -> datetime:
    try:
        return parse_utc(str(value))
    except ValueError as error:
        name = f"input->data->dataFilter->timeRange->{which}"
        raise BadRequest(name, "must be an RFC 3339 date and time", value) from error


def _crs(bounds: dict[str, Any]) -> str:
    text = str((bounds.get("properties") or {}).get("crs", ""))
    match = _CRS.fullmatch(text)
    if not text:
        return check_crs("CRS84")
    try:
        return check_crs((match[1] or f"EPSG:{match[2]}") if match else text)
    except ValueError as error:
        raise BadRequest("input->bounds->properties->crs", "unsupported", text) from error


def _geometry(bounds: dict[str, Any]) -> BaseGeometry | None:
    if "geometry" not in bounds:
        return None
    try:
        return shape(bounds["geometry"])
    except (ValueError, KeyError, TypeError, AttributeError, ShapelyError) as error:
        raise BadRequest("input->bounds->geometry", "must be a GeoJSON geometry") from error


def _bbox(
    bounds: dict[str, Any], geometry: BaseGeometry | None
) -> tuple[float, float, float, float]:
    value = bounds.get("bbox", list(geometry.bounds) if geometry is not None else None)
    try:
        west, south, east, north = (float(part) for part in value or ())
    except (TypeError, ValueError) as error:
        raise BadRequest("input->bounds->bbox", "must be four numbers", value) from error
    if west >= east or south >= north:
        raise BadRequest("input->bounds->bbox", "must have an area", value)
    return west, south, east, north


def _size(output: dict[str, Any], bbox: tuple[float, ...]) -> tuple[int, int]:
    return (
        _pixels(output, ("width", "resx"), bbox[2] - bbox[0]),
        _pixels(output, ("height", "resy"), bbox[3] - bbox[1]),
    )


def _pixels(output: dict[str, Any], names: tuple[str, str], length: float) -> int:
    """Return the number of pixels of one side, 256 by default."""
    name, per_pixel = names
    if name in output and per_pixel in output:
        raise BadRequest(f"output->{name}", f"must not be given beside {per_pixel}")
    if per_pixel in output:
        size = round(length / _number(output[per_pixel], 1e9, f"output->{per_pixel}"))
        if not 1 <= size <= MAX_PIXELS:
            text = f"`{name} = {size}`, calculated from {per_pixel}, is larger than allowed 2500."
            raise BadRequest(f"output->{per_pixel}", text, output[per_pixel])
        return size
    size = output.get(name, 256)
    if not isinstance(size, int) or not 1 <= size <= MAX_PIXELS:
        raise BadRequest(f"output->{name}", f"must be from 1 to {MAX_PIXELS}", size)
    return size


def _check_resolution(crs: str, bbox: tuple[float, ...], width: int, height: int) -> None:
    across, up = unit_metres(crs, (bbox[1] + bbox[3]) / 2 if crs == "EPSG:4326" else 0.0)
    metres = max((bbox[2] - bbox[0]) * across / width, (bbox[3] - bbox[1]) * up / height)
    if metres > MAX_METRES_PER_PIXEL:
        text = f"{metres:.2f} meters per pixel exceeds the limit {MAX_METRES_PER_PIXEL:.2f}"
        raise BadRequest("output", text)


def _format(output: dict[str, Any]) -> dict[str, Any]:
    responses = output.get("responses") or [{}]
    if not isinstance(responses, list) or len(responses) != 1:
        raise BadRequest("output->responses", "the sandbox returns exactly one response", None)
    return _table(responses[0].get("format") or {}, "output->responses->format")
