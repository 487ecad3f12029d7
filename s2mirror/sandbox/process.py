"""A Process API like Sentinel Hub's; it renders the products of the sandbox's catalog."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from operator import attrgetter
from threading import Lock
from typing import Any, Final

import numpy as np
from shapely import contains_xy
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from s2mirror.projection import to_degrees
from s2mirror.sandbox.evalscript import Evalscript, ScriptError
from s2mirror.sandbox.identity import IdentityService
from s2mirror.sandbox.image_files import geotiff, jpeg, numbers, png
from s2mirror.sandbox.process_request import BadRequest, Job, read_job
from s2mirror.sandbox.scene import Grid, observe
from s2mirror.sandbox.stac_catalog import Record, SandboxCatalog

PROCESS_PATH: Final = "/process/v1"
OLD_PROCESS_PATH: Final = "/api/v1/process"
USAGE_PATH: Final = "/api/v1/accounting/usage"
_MONTHLY: Final = 10_000
"""Requests and processing units of a month."""
_UNIT_PIXELS: Final = 512 * 512
_UNIT_BANDS: Final = 3
_MIN_AREA: Final = 0.01
_MIN_UNITS: Final = 0.005


@dataclass(slots=True)
class ProcessService:
    """Renders the sandbox's products and counts the processing units."""

    catalog: SandboxCatalog
    identity: IdentityService
    units_left: float = 10_000.0
    """Processing units that are left of the month; without any, the response is 429."""
    units_spent: float = 0.0
    refuse_next: int = 0
    """Number of requests to refuse with 429, as too frequent."""
    retry_after_ms: int = 3398
    """Retry-After of such a refusal, in milliseconds as at Sentinel Hub."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """The body of every request with a valid token."""
    _lock: Lock = field(default_factory=Lock)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        paths = PROCESS_PATH, OLD_PROCESS_PATH
        renders = [Route(path, self._process, methods=["POST"]) for path in paths]
        return Starlette(routes=[*renders, Route(USAGE_PATH, self._usage)])

    def reset(self) -> None:
        """Restore the defaults and clear the record."""
        self.requests.clear()
        self.units_left, self.units_spent = 10_000.0, 0.0
        self.refuse_next, self.retry_after_ms = 0, 3398

    def _is_authorized(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.identity.is_valid(token)

    async def _usage(self, request: Request) -> Response:
        """Return the account's balance. No such document has been recorded: its form is a guess."""
        if not self._is_authorized(request):
            return _unauthorized()
        left = {"requests": _MONTHLY - len(self.requests), "processingUnits": self.units_left}
        return JSONResponse({"limit": dict.fromkeys(left, _MONTHLY), "remaining": left})

    async def _process(self, request: Request) -> Response:
        if not self._is_authorized(request):
            return _unauthorized()
        if self._refuses():
            return _too_fast(self.retry_after_ms)
        body = await request.body()
        try:
            job = read_job(body)
            self.requests.append(json.loads(body))
            return await asyncio.to_thread(self._render, job)
        except BadRequest as error:
            return _wrapped(400, "COMMON_BAD_PAYLOAD", str(error), error.details)
        except ScriptError as error:
            return _wrapped(400, "RENDERER_EXCEPTION", f"Failed to evaluate script!\n{error}")

    def _refuses(self) -> bool:
        with self._lock:
            if self.refuse_next:
                self.refuse_next -= 1
                return True
            return self.units_left <= 0

    def _render(self, job: Job) -> Response:
        script = Evalscript(job.evalscript)
        bands = _bands(job, script, _ordered_records(job, self.catalog))
        pixels = numbers(script.render(bands), script.setup.sample_type)
        units = units_of(job, script)
        with self._lock:
            self.units_left -= units
            self.units_spent += units
        headers = {"X-ProcessingUnits-Spent": f"{units:.6f}"}
        return Response(_encoded(pixels, job), media_type=job.media, headers=headers)


def units_of(job: Job, script: Evalscript) -> float:
    """Return the processing units of a request: by pixels and bands, doubled for 32 bits."""
    bands = [name for name in script.setup.inputs if name != "dataMask"] or ["dataMask"]
    area = max(_MIN_AREA, job.width * job.height / _UNIT_PIXELS)
    depth = 2 if script.setup.sample_type == "FLOAT32" else 1
    return max(_MIN_UNITS, area * len(bands) / _UNIT_BANDS * depth)


def _ordered_records(job: Job, catalog: SandboxCatalog) -> list[Record]:
    """Return the products that a request selects, the top one first."""
    found = [
        record
        for record in catalog.all()
        if record.collection == job.collection
        and record.geometry is not None
        and record.sensed_at is not None
        and job.time_from <= record.sensed_at <= job.time_until
        and _cloud(record) <= job.max_cloud_percent
    ]
    found.sort(key=attrgetter("sensed_at"), reverse=job.order != "leastRecent")
    return sorted(found, key=_cloud) if job.order == "leastCC" else found


def _cloud(record: Record) -> float:
    return float(record.item["properties"].get("eo:cloud_cover") or 0)


def _bands(job: Job, script: Evalscript, records: list[Record]) -> dict[str, Grid]:
    x, y = _centres(job)
    longitude, latitude = (np.asarray(part, dtype=float) for part in to_degrees(job.crs, x, y))
    scene = observe(records, longitude, latitude)
    if job.geometry is not None:
        scene.mask[~contains_xy(job.geometry, x, y)] = 0
    factor = 10_000 if script.setup.in_numbers else 1
    offset = 0.0 if job.harmonize else 0.1
    return {
        name: scene.mask
        if name == "dataMask"
        else (scene.band(name) + offset * scene.mask * name.startswith("B")) * factor
        for name in script.setup.inputs
    }


def _centres(job: Job) -> tuple[Grid, Grid]:
    """Return x and y of each pixel's centre, rows from north to south."""
    west, south, east, north = job.bbox
    across, down = (east - west) / job.width, (north - south) / job.height
    x = west + across * (np.arange(job.width) + 0.5)
    y = north - down * (np.arange(job.height) + 0.5)
    grid_x, grid_y = np.meshgrid(x, y)
    return grid_x, grid_y


def _encoded(pixels: Any, job: Job) -> bytes:  # noqa: ANN401 - an array
    bands = pixels.shape[2]
    if job.media == "image/tiff":
        return geotiff(pixels, job.bbox, job.crs)
    if pixels.dtype != np.uint8 or bands not in (
        (1, 3) if job.media == "image/jpeg" else (1, 3, 4)
    ):
        raise BadRequest("output->responses->format->type", f"{job.media} cannot hold this output")
    return png(pixels) if job.media == "image/png" else jpeg(pixels, job.quality)


def _wrapped(
    status: int, code: str, message: str, details: Mapping[str, object] | None = None
) -> Response:
    """Return an error in the format of most of the API."""
    error = {
        "status": status,
        "reason": HTTPStatus(status).phrase,
        "message": message,
        "code": code,
        **({"errors": dict(details)} if details else {}),
    }
    return JSONResponse({"error": error}, status)


def _unauthorized() -> Response:
    return _wrapped(401, "COMMON_UNAUTHORIZED", "You are not authorized! Please log in.")


def _too_fast(retry_after_ms: int) -> Response:
    """Return the refusal for too many requests, which has no outer object."""
    error = {
        "status": 429,
        "reason": "Too Many Requests",
        "message": "You have exceeded your rate limit",
        "code": "RATE_LIMIT_EXCEEDED",
    }
    return JSONResponse(error, 429, headers={"Retry-After": str(retry_after_ms)})
