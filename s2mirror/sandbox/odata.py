"""The feed of deleted products, as in the Data Space's OData interface."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ODATA_PATH: Final = "/odata/v1/"
_MAX_TOP: Final = 1000
_MAX_SKIP: Final = 10_000
_SINCE: Final = re.compile(r"DeletionDate ge (\S+)")


@dataclass(slots=True)
class ODataService:
    """Serves ``DeletedProducts``; :meth:`delete` adds to it."""

    _deleted: list[dict[str, Any]] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(routes=[Route(f"{ODATA_PATH}DeletedProducts", self._list)])

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
