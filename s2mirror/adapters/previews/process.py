"""Sentinel Hub's Process API: one request, one image, and its cost."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from json import loads
from pathlib import Path
from typing import Any, Final

import requests
from requests.auth import AuthBase

from s2mirror.adapters.previews.decoding import is_empty, require_decoder
from s2mirror.adapters.previews.error_map import explain, neither
from s2mirror.bounded_http import BadResponse, HttpLimits, RedirectRefused, bound
from s2mirror.errors import PreviewError, PreviewUnavailable
from s2mirror.ports import TokenSource
from s2mirror.preview_model import FORMATS, Extent, RenderedImage, RenderRequest
from s2mirror.stop import StopFlag

LONGEST_WAIT_SECONDS: Final = 60.0
"""A longer Retry-After ends the request: the caller has other work."""
_MAX_IMAGE_BYTES: Final = 32 * 1024**2
"""The largest image, of 2500 by 2500 pixels in four channels, has 24 MiB if not compressed."""
_DEADLINE_TIMEOUTS: Final = 5
"""The whole response may take five time-outs: 300 s by default. It has been paid for."""
_UNAUTHORIZED: Final = 401
MOVED: Final = (404, 410)
"""Statuses of a path that the service does not have, or has no more."""
_PATHS: Final = ("/process/v1", "/api/v1/process")
"""CDSE's path since March 2026, and its path before."""
WORKING_URLS: Final[dict[str, str]] = {}
"""The address that works in place of a configured one, as this process has found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubOptions:
    """Address and settings of the Process API."""

    url: str
    timeout_seconds: float = 60.0
    tries: int = 5
    backoff_seconds: float = 1.0
    ca_file: Path | None = None


def other_url(url: str) -> str | None:
    """Return the other address of the same Process API; None for an address of another form."""
    for here, there in (_PATHS, _PATHS[::-1]):
        if url.rstrip("/").endswith(here):
            return url.rstrip("/").removesuffix(here) + there
    return None


class Bearer(AuthBase):
    """Sends the token. A ``.netrc`` file would replace a plain header, but not this object."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return *request* with the token."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class SentinelHub:
    """The preview renderer port on the Process API. Any thread may use it."""

    def __init__(self, options: HubOptions, tokens: TokenSource) -> None:
        self._options = options
        self._tokens = tokens

    def render(self, request: RenderRequest, stop: StopFlag) -> RenderedImage:
        """Return the requested image.

        Waits as long as Retry-After says, or longer after each attempt, and gives up after some
        attempts. An image that was charged but not received completely is not requested again.
        """
        require_decoder(request.form)
        attempt = 1
        while True:
            stop.raise_if_set()
            try:
                return self._request(request, stop)
            except PreviewUnavailable as error:
                # A response that exceeded a limit may have been charged, and would be so again.
                if error.units or isinstance(error.__cause__, BadResponse):
                    raise
                self._wait(error, attempt, stop)
            attempt += 1

    def _wait(self, error: PreviewUnavailable, attempt: int, stop: StopFlag) -> None:
        doubled_seconds = self._options.backoff_seconds * 2.0 ** (attempt - 1)
        jitter = random.random()  # noqa: S311 - jitter
        wait_seconds = max(error.retry_after_seconds or 0.0, doubled_seconds * (0.5 + jitter / 2))
        if attempt == self._options.tries or wait_seconds > LONGEST_WAIT_SECONDS:
            raise error
        stop.wait(wait_seconds)

    def _request(self, request: RenderRequest, stop: StopFlag) -> RenderedImage:
        """Send one request; if the service has moved, also one to its other address."""
        url = WORKING_URLS.get(self._options.url, self._options.url)
        response, other = self._send(url, request, stop), other_url(url)
        if response.status_code in MOVED and other is not None:
            second = self._send(other, request, stop)
            if second.status_code in MOVED:
                raise neither(url, other, response)
            WORKING_URLS[self._options.url] = url = other
            response = second
        if not response.ok:
            raise explain(url, response)
        return _image(response, request)

    def _send(self, url: str, request: RenderRequest, stop: StopFlag) -> requests.Response:
        """Send one request; a token that the service refuses is renewed once."""
        token = self._tokens.token(stop)
        response = self._post(url, request, token)
        if response.status_code == _UNAUTHORIZED:
            self._tokens.refuse(token)
            response = self._post(url, request, self._tokens.token(stop))
        return response

    def _post(self, url: str, request: RenderRequest, token: str) -> requests.Response:
        try:
            with requests.Session() as session:
                bound(session, _limits(self._options))
                return session.post(
                    url,
                    json=body_of(request),
                    auth=Bearer(token),
                    headers={"Accept": FORMATS[request.form].media_type},
                )
        except requests.exceptions.SSLError as error:
            raise PreviewError(
                f"requesting a preview from {url}: this machine does not trust its "
                "certificate; set network.ca_file if it is signed by a CA of your own"
            ) from error
        except RedirectRefused as error:
            raise PreviewError(
                f"requesting a preview from {url}: {error}. Check endpoints.process_url"
            ) from error
        except requests.RequestException as error:
            raise PreviewUnavailable(
                f"requesting a preview from {url}: {error}; will be tried again",
                units=_units(error.response.headers) if error.response is not None else 0.0,
            ) from error


def _image(response: requests.Response, request: RenderRequest) -> RenderedImage:
    units, content = _units(response.headers), response.content
    try:
        size = request.extent.width, request.extent.height
        empty = is_empty(content, request.form, size)
    except ValueError as error:
        raise PreviewUnavailable(
            f"requesting a preview from {response.url}: the image cannot be used: {error}; will be "
            "tried again",
            units=units,
        ) from error
    return RenderedImage(
        content=content, form=request.form, extent=request.extent, is_empty=empty, units=units
    )


def _limits(options: HubOptions) -> HttpLimits:
    """Return the limits; a redirect could send the token to another host."""
    return HttpLimits(
        max_bytes=_MAX_IMAGE_BYTES,
        timeout_seconds=options.timeout_seconds,
        deadline_seconds=options.timeout_seconds * _DEADLINE_TIMEOUTS,
        follow_redirects=False,
        ca_file=options.ca_file,
    )


def _units(headers: Mapping[str, str]) -> float:
    """Return the cost that the service reports; an invalid header counts as none."""
    try:
        units = float(headers.get("X-ProcessingUnits-Spent", ""))
    except ValueError:
        return 0.0
    return units if 0 <= units < 1e6 else 0.0  # noqa: PLR2004 - a hundred months' allowance


def body_of(request: RenderRequest) -> dict[str, Any]:
    """Return the JSON document of the request."""
    data_filter: dict[str, Any] = {
        "timeRange": {"from": _iso(request.time_from), "to": _iso(request.time_until)},
        "mosaickingOrder": request.mosaicking_order,
    }
    if request.max_cloud_cover_percent is not None:
        data_filter["maxCloudCoverage"] = request.max_cloud_cover_percent
    form = {"type": FORMATS[request.form].media_type}
    return {
        "input": {
            "bounds": _bounds(request.extent, request.geometry_geojson),
            "data": [
                {
                    "type": request.collection,
                    "dataFilter": data_filter,
                    # Removes the offset of baselines since 04.00, so that years are comparable.
                    "processing": {"harmonizeValues": True},
                }
            ],
        },
        "output": {
            "width": request.extent.width,
            "height": request.extent.height,
            "responses": [{"identifier": "default", "format": form}],
        },
        "evalscript": request.script.text,
    }


def _bounds(extent: Extent, geometry_geojson: str) -> dict[str, Any]:
    code = extent.crs.partition(":")[2]
    bounds: dict[str, Any] = {
        "bbox": list(extent.bbox),
        "properties": {"crs": f"http://www.opengis.net/def/crs/EPSG/0/{code}"},
    }
    return bounds | ({"geometry": loads(geometry_geojson)} if geometry_geojson else {})


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
