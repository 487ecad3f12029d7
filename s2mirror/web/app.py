"""The routes of the page."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic_core import to_jsonable_python
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from s2mirror.clean_text import JSON_SCHEMA, escape_json
from s2mirror.errors import MirrorError, UsageError
from s2mirror.planning.findings import Judgement
from s2mirror.service.judgement import judge
from s2mirror.service.logs import log
from s2mirror.service.metrics import render_metrics
from s2mirror.service.report import status, status_document
from s2mirror.service.wiring import Mirror
from s2mirror.web.guard import Access, Guard
from s2mirror.web.images import read_image
from s2mirror.web.pages import Pages
from s2mirror.web.reader import Reader
from s2mirror.web.views import Views

_PROMETHEUS: Final = "text/plain; version=0.0.4; charset=utf-8"
Endpoint = Callable[[Request], Awaitable[Response]]


class _Routes:
    """The endpoints, on the reader of one mirror."""

    def __init__(self, reader: Reader, pages: Pages, is_alive: Callable[[], bool]) -> None:
        self._reader = reader
        self._pages = pages
        self._is_alive = is_alive
        self._views = Views()

    def all(self) -> list[Route]:
        """Return every route."""
        endpoints: dict[str, Endpoint] = {
            "/": self._front,
            "/findings": self._findings,
            "/areas/{name}": self._area,
            "/products/{id}": self._product,
            "/products/{id}/preview": self._preview,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status.json": self._status_json,
            "/metrics": self._metrics,
        }
        return [Route(path, endpoint) for path, endpoint in endpoints.items()]

    async def _front(self, _request: Request) -> Response:
        return HTMLResponse(await self._reader.read(self._front_text))

    def _front_text(self, mirror: Mirror) -> str:
        return self._pages.front(self._views.front(mirror))

    async def _findings(self, _request: Request) -> Response:
        return HTMLResponse(self._pages.findings(await self._reader.read(_judgement)))

    async def _area(self, request: Request) -> Response:
        name = request.path_params["name"]

        def text(mirror: Mirror) -> str:
            """Return the page of the area."""
            return self._pages.area(self._views.area(mirror, name))

        return HTMLResponse(await self._reader.read(text, key=("area", name)))

    async def _product(self, request: Request) -> Response:
        name = request.path_params["id"]

        def text(mirror: Mirror) -> str:
            """Return the page of the product."""
            return self._pages.product(self._views.product(mirror, name))

        return HTMLResponse(await self._reader.read(text, key=("product", name)))

    async def _preview(self, request: Request) -> Response:
        name = request.path_params["id"]

        def image(mirror: Mirror) -> tuple[bytes, str] | None:
            """Return the product's image."""
            entry = mirror.ledger.products.get(name)
            return read_image(mirror.archive, entry, mirror.ledger.previews.of(name).values())

        found = await self._reader.read(image, key=("preview", name), fresh_seconds=0)
        if found is None:
            raise HTTPException(404)
        return Response(found[0], media_type=found[1])

    async def _healthz(self, _request: Request) -> Response:
        alive = self._is_alive()
        return PlainTextResponse("ok\n" if alive else "stalled\n", 200 if alive else 503)

    async def _readyz(self, _request: Request) -> Response:
        judged = await self._reader.read(_judgement)
        return PlainTextResponse("ok\n" if judged.ok else "not ok\n", 200 if judged.ok else 503)

    async def _status_json(self, _request: Request) -> Response:
        found = await self._reader.read(status)
        return _JSON(to_jsonable_python({"schema": JSON_SCHEMA, **status_document(found)}))

    async def _metrics(self, _request: Request) -> Response:
        return Response(await self._reader.read(_metrics), media_type=_PROMETHEUS)


class _JSON(Response):
    """A JSON document in which every invisible character is an escape."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - Starlette's signature
        """Return the document."""
        return escape_json(json.dumps(content, indent=2, ensure_ascii=False)).encode()


def page_app(reader: Reader, access: Access, is_alive: Callable[[], bool]) -> ASGIApp:
    """Return the page of a mirror as an ASGI application.

    *is_alive* returns whether the daemon works.
    """
    pages = Pages()
    errors = _Errors(pages)
    app = Starlette(
        routes=_Routes(reader, pages, is_alive).all(),
        exception_handlers={
            HTTPException: errors.not_found,
            UsageError: errors.not_found,
            MirrorError: errors.unavailable,
            Exception: errors.crashed,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, access, pages.policy)


class _Errors:
    """The responses to requests that cannot be answered."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def not_found(self, _request: Request, _error: Exception) -> Response:
        """Answer a request for something that does not exist; what was asked is not repeated."""
        text = "Nothing has this address. The front page has links to every area and product."
        return HTMLResponse(self._pages.message("Not found", text), 404)

    async def unavailable(self, _request: Request, error: Exception) -> Response:
        """Answer a request while the ledger or the archive cannot be read."""
        return HTMLResponse(self._pages.message("Not available", f"{error}."), 503)

    async def crashed(self, _request: Request, error: Exception) -> Response:
        """Answer a request that found a bug."""
        log.error("page.failed", exc_info=error)
        text = "The page has a bug. The log of the daemon has the details; please report them."
        return HTMLResponse(self._pages.message("Unexpected error", text), 500)


def _judgement(mirror: Mirror) -> Judgement:
    return judge(mirror.settings, mirror.ledger, now=mirror.now())


def _metrics(mirror: Mirror) -> bytes:
    return render_metrics(mirror.settings, mirror.ledger, now=mirror.now())
