"""A STAC API with the responses of the Copernicus Data Space's stac-fastapi-pgstac."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from s2mirror.sandbox.query import BadRequest, Fields, Query, parse_query
from s2mirror.sandbox.search_geometry import InvalidGeometry
from s2mirror.sandbox.stac_catalog import (
    OPENSEARCH,
    DeadToken,
    Found,
    Record,
    SandboxCatalog,
)
from s2mirror.sandbox.stac_pages import (
    ALL_COLLECTIONS,
    COLLECTIONS,
    any_collection,
    collections_page,
    landing,
    queryables,
)

_GEOJSON: Final = "application/geo+json"
_ALWAYS: Final = frozenset(("id", "collection"))


@dataclass(frozen=True, slots=True)
class StacRequest:
    """One request to the API; ``body`` is the JSON of a POST."""

    method: str
    path: str
    query: str
    body: Any = None


@dataclass(slots=True)
class StacService:
    """The API of one catalog; ``root`` is its public URL, ending in ``/v1/``."""

    catalog: SandboxCatalog
    root: str
    requests: list[StacRequest] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        routes = [
            Route("/v1/", self._landing),
            Route("/v1", self._landing),
            Route("/v1/conformance", self._conformance),
            Route("/v1/queryables", self._queryables),
            Route("/v1/collections", self._collections),
            Route("/v1/collections/{collection}", self._collection),
            Route("/v1/collections/{collection}/queryables", self._queryables),
            Route("/v1/collections/{collection}/items", self._items),
            Route("/v1/collections/{collection}/items/{item}", self._item),
            Route("/v1/search", self._search, methods=["GET", "POST"]),
        ]
        # A page of a hundred items has 6 MB; the lowest level reduces it to a tenth.
        compression = Middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
        return Starlette(routes=routes, middleware=[compression])

    def served(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """Return an item in its served form, with the links that the API adds."""
        url = f"{self.root}collections/{item['collection']}"
        own = [
            {"rel": "collection", "type": "application/json", "href": url},
            {"rel": "parent", "type": "application/json", "href": url},
            {"rel": "root", "type": "application/json", "href": self.root},
            {"rel": "self", "type": _GEOJSON, "href": f"{url}/items/{item['id']}"},
        ]
        replaced = {link["rel"] for link in own}
        others = [link for link in item.get("links", ()) if link["rel"] not in replaced]
        return {**item, "links": [*own, *others]}

    def _record(self, request: Request, body: object = None) -> None:
        seen = StacRequest(request.method, request.url.path, request.url.query, body)
        with self._lock:
            self.requests.append(seen)

    def _landing(self, request: Request) -> Response:
        self._record(request)
        return JSONResponse(landing(self.root))

    def _conformance(self, request: Request) -> Response:
        self._record(request)
        return JSONResponse({"conformsTo": landing(self.root)["conformsTo"]})

    def _queryables(self, request: Request) -> Response:
        self._record(request)
        return JSONResponse(
            queryables(f"{self.root.removesuffix('/v1/')}{request.url.path}"),
            media_type="application/schema+json",
        )

    def _collections(self, request: Request) -> Response:
        self._record(request)
        return JSONResponse(collections_page(self.root, request.query_params))

    def _collection(self, request: Request) -> Response:
        self._record(request)
        name = request.path_params["collection"]
        if name not in ALL_COLLECTIONS:
            return _missing(f"Collection {name} does not exist.")
        return JSONResponse(any_collection(self.root, name))

    def _item(self, request: Request) -> Response:
        self._record(request)
        name, item_id = request.path_params["collection"], request.path_params["item"]
        record = self.catalog.get(item_id)
        if record is None or record.collection != name:
            return _missing(f"Item {item_id} in Collection {name} does not exist.")
        return Response(record.encoded, media_type=_GEOJSON)

    def _items(self, request: Request) -> Response:
        self._record(request)
        name = request.path_params["collection"]
        if name not in COLLECTIONS:
            return _missing(f"Collection {name} does not exist.")
        page = f"{self.root}collections/{name}/items"
        params = dict(request.query_params)
        return self._answer({**params, "collections": [name]}, _GetLinks(page, params))

    async def _search(self, request: Request) -> Response:
        if request.method == "GET":
            self._record(request)
            params = dict(request.query_params)
            return self._answer(params, _GetLinks(f"{self.root}search", params))
        try:
            body = await request.json()
        except ValueError as error:
            return _unprocessable("body", f"JSON decode error: {error}")
        self._record(request, body)
        if not isinstance(body, dict):
            return _unprocessable("body", "Input should be a valid dictionary")
        return self._answer(body, _PostLinks(f"{self.root}search", body))

    def _answer(self, raw: Mapping[str, Any], links: "_GetLinks | _PostLinks") -> Response:
        try:
            query = parse_query(raw)
            found = self.catalog.search(query)
        except BadRequest as error:
            return _unprocessable(error.field, str(error))
        except InvalidGeometry as error:
            return JSONResponse({"code": "RequestError", "description": str(error)}, 400)
        except DeadToken as error:
            return JSONResponse({"code": "InternalServerError", "description": str(error)}, 500)
        return self._page(query, found, links)

    def _page(self, query: Query, found: Found, links: "_GetLinks | _PostLinks") -> Response:
        own = [
            {"rel": "root", "type": "application/json", "href": self.root},
            {"rel": "self", "type": "application/json", "href": links.self_url()},
        ]
        neighbours = (("next", found.next_token), ("previous", found.previous_token))
        # With POST, only the next link of the OpenSearch backend has its token.
        lost = self.catalog.backend == OPENSEARCH and isinstance(links, _PostLinks)
        paging = [
            links.page(rel, "" if lost and rel != "next" else token)
            for rel, token in neighbours
            if token
        ]
        features = b",".join(_encoded(record, query.fields) for record in found.records)
        content = b'{"type":"FeatureCollection","links":%b,"features":[%b],"numberReturned":%d}' % (
            json.dumps([*paging, *own]).encode(),
            features,
            len(found.records),
        )
        return Response(content, media_type=_GEOJSON)


@dataclass(frozen=True, slots=True)
class _GetLinks:
    url: str
    params: Mapping[str, str]

    def self_url(self) -> str:
        """Return the URL of this search."""
        return f"{self.url}?{urlencode(self.params)}" if self.params else self.url

    def page(self, rel: str, token: str) -> dict[str, Any]:
        """Return the link to another page."""
        href = f"{self.url}?{urlencode({**self.params, 'token': token})}"
        return {"rel": rel, "type": _GEOJSON, "method": "GET", "href": href}


@dataclass(frozen=True, slots=True)
class _PostLinks:
    url: str
    body: Mapping[str, Any]

    def self_url(self) -> str:
        """Return the URL of this search."""
        return self.url

    def page(self, rel: str, token: str) -> dict[str, Any]:
        """Return the link to another page."""
        body = {name: value for name, value in self.body.items() if name != "token"}
        if token:
            body["token"] = token
        return {"rel": rel, "type": _GEOJSON, "method": "POST", "href": self.url, "body": body}


def _encoded(record: Record, fields: Fields) -> bytes:
    if not fields.include and not fields.exclude:
        return record.encoded
    item: Any = record.item
    if fields.include:
        item = _only(item, fields.include | _ALWAYS)
    for path in fields.exclude:
        item = _without(item, path.split("."))
    return json.dumps(item).encode()


def _only(item: Mapping[str, Any], paths: frozenset[str]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for path in sorted(paths):
        head, dot, rest = path.partition(".")
        if head not in item:
            continue
        if not dot:
            kept[head] = item[head]
        elif rest in item[head]:
            kept[head] = {**kept.get(head, {}), rest: item[head][rest]}
    return kept


def _without(item: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
    head, *rest = path
    if rest and isinstance(item.get(head), dict):
        return {**item, head: _without(item[head], rest)}
    return {key: value for key, value in item.items() if key != head}


def _missing(description: str) -> Response:
    return JSONResponse({"code": "NotFoundError", "description": description}, 404)


def _unprocessable(name: str, message: str) -> Response:
    """Return FastAPI's response to invalid input."""
    detail = {"loc": ["body", name], "msg": message, "type": "value_error"}
    return JSONResponse({"detail": [detail]}, 422)
