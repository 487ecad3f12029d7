"""The routes of the page."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic_core import to_jsonable_python
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from s2mirror.clean_text import clean_text, escape_json
from s2mirror.errors import MirrorError, UsageError
from s2mirror.planning.findings import Judgement
from s2mirror.service.judgement import judge
from s2mirror.service.logs import log
from s2mirror.service.report import status, status_document
from s2mirror.service.wiring import Mirror
from s2mirror.web.guard import Access, Guard
from s2mirror.web.pages import Pages
from s2mirror.web.reader import Reader

Endpoint = Callable[[Request], Awaitable[Response]]


class _Routes:
    """The endpoints, on the reader of one mirror."""

    def __init__(self, reader: Reader, pages: Pages, is_alive: Callable[[], bool]) -> None:
        self._reader = reader
        self._pages = pages
        self._is_alive = is_alive

    def all(self) -> list[Route]:
        """Return every route."""
        endpoints: dict[str, Endpoint] = {
            "/": self._front,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/status.json": self._status_json,
        }
        return [Route(path, endpoint) for path, endpoint in endpoints.items()]

    async def _front(self, _request: Request) -> Response:
        found = await self._reader.read(status)
        return HTMLResponse(self._pages.front(found))

    async def _healthz(self, _request: Request) -> Response:
        alive = self._is_alive()
        return PlainTextResponse("ok\n" if alive else "stalled\n", 200 if alive else 503)

    async def _readyz(self, _request: Request) -> Response:
        judged = await self._reader.read(_judgement)
        return PlainTextResponse("ok\n" if judged.ok else "not ok\n", 200 if judged.ok else 503)

    async def _status_json(self, _request: Request) -> Response:
        found = await self._reader.read(status)
        return _JSON(to_jsonable_python(status_document(found)))


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
    app = Starlette(
        routes=_Routes(reader, pages, is_alive).all(),
        exception_handlers={
            HTTPException: _not_found,
            MirrorError: _unavailable,
            Exception: _crashed,
        },
    )
    app.router.redirect_slashes = False
    return Guard(app, access, pages.policy)


def _judgement(mirror: Mirror) -> Judgement:
    return judge(mirror.settings, mirror.ledger, now=mirror.now())


async def _not_found(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse("There is no page of this address; / has links to all.\n", 404)


async def _unavailable(_request: Request, error: Exception) -> Response:
    found = 404 if isinstance(error, UsageError) else 503
    return PlainTextResponse(f"{clean_text(str(error))}\n", found)


async def _crashed(_request: Request, error: Exception) -> Response:
    log.error("page.failed", reason=repr(error))
    return PlainTextResponse("The page has a bug; the log of the daemon names it.\n", 500)
