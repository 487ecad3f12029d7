"""The Data Space's OData interface: products, and the feed of deleted products."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from s2mirror.sandbox.odata_products import BadFilter, matching, ordered, product_record
from s2mirror.sandbox.stac_catalog import Record, SandboxCatalog

ODATA_PATH: Final = "/odata/v1/"
_MAX_TOP: Final = 1000
_MAX_SKIP: Final = 10_000
_SINCE: Final = re.compile(r"DeletionDate ge (\S+)")


@dataclass(slots=True)
class ODataService:
    """Serves ``Products`` and ``DeletedProducts``; :meth:`delete` adds to the latter.

    The products are those of the STAC catalog, but for the differences that :meth:`hide` and
    :meth:`add` make.
    """

    stac: SandboxCatalog
    requests: list[str] = field(default_factory=list)
    """The ``$filter`` of every request for products."""
    _hidden: set[str] = field(default_factory=set)
    _added: dict[str, Record] = field(default_factory=dict)
    _deleted: list[dict[str, Any]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route(f"{ODATA_PATH}DeletedProducts", self._list),
                Route(f"{ODATA_PATH}Products", self._products),
            ]
        )

    def hide(self, product_id: str) -> None:
        """Omit a product that the STAC catalog lists."""
        self._hidden.add(product_id)

    def add(self, record: Record) -> None:
        """List a product, whether or not the STAC catalog lists it."""
        self._added[record.id] = record

    def delete(
        self, product_id: str, *, cause: str = "Duplicated product", at: datetime | None = None
    ) -> None:
        """Add a product to the feed, as deleted at *at* or now."""
        deleted_at = (at or datetime.now(UTC)).astimezone(UTC)
        entry = {
            "Id": f"{len(self._deleted):08d}-0000-4000-8000-000000000000",
            "Name": f"{product_id}.SAFE",
            "DeletionDate": deleted_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "DeletionCause": cause,
        }
        with self._lock:
            self._deleted.append(entry)

    def clear(self) -> None:
        """Remove every deletion."""
        with self._lock:
            self._deleted.clear()
        self._hidden.clear()
        self._added.clear()
        self.requests.clear()

    async def _products(self, request: Request) -> Response:
        query = request.query_params
        self.requests.append(query.get("$filter", ""))
        top, skip = int(query.get("$top", 20)), int(query.get("$skip", 0))
        if top > _MAX_TOP or skip > _MAX_SKIP:
            return JSONResponse({"detail": "limit exceeded"}, status_code=422)
        listed = {record.id: record for record in self.stac.all()} | self._added
        records = [listed[name] for name in sorted(listed) if name not in self._hidden]
        try:
            found = matching(records, query.get("$filter", ""))
            found = ordered(found, query.get("$orderby", "ContentDate/Start asc"))
        except (BadFilter, ValueError) as error:
            return JSONResponse({"detail": str(error)}, status_code=400)
        expanded = "Attributes" in query.get("$expand", "")
        page = [
            product_record(record, number=skip + place, attributes=expanded)
            for place, record in enumerate(found[skip : skip + top])
        ]
        counted = {"@odata.count": len(found)} if query.get("$count") == "True" else {}
        return JSONResponse({"@odata.context": "$metadata#Products", **counted, "value": page})

    async def _list(self, request: Request) -> Response:
        top, skip = (int(request.query_params.get(name, 0)) for name in ("$top", "$skip"))
        if top > _MAX_TOP or skip > _MAX_SKIP:
            return JSONResponse({"detail": "limit exceeded"}, status_code=422)
        found = _SINCE.search(request.query_params.get("$filter", ""))
        since = datetime.fromisoformat(found[1]) if found else datetime.min.replace(tzinfo=UTC)
        with self._lock:
            entries = sorted(self._deleted, key=lambda entry: str(entry["DeletionDate"]))
        due = [e for e in entries if datetime.fromisoformat(e["DeletionDate"]) >= since]
        return JSONResponse({"value": due[skip : skip + (top or 20)]})
