"""The items of the sandbox's STAC catalog, and their search."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from threading import RLock
from typing import Any, Final

from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from s2mirror.errors import CatalogError
from s2mirror.sandbox.query import Query, SortKey
from s2mirror.times import parse_utc

PGSTAC: Final = "pgstac"
OPENSEARCH: Final = "opensearch"
_KEPT_LISTINGS: Final = 8


@dataclass(frozen=True, slots=True)
class Record:
    """One item, with the values that searches need."""

    id: str
    collection: str
    sensed_at: datetime | None
    """None for an item without a time, which every period finds."""
    geometry: BaseGeometry | None
    """None for an item without geometry, which every search area finds."""
    item: Mapping[str, Any]
    encoded: bytes
    """The item as the JSON that is served."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> "Record":
        """Return the record of an item in its served form."""
        properties, geometry = item["properties"], item["geometry"]
        return cls(
            id=item["id"],
            collection=item["collection"],
            sensed_at=_time(properties, "datetime") or _time(properties, "start_datetime"),
            geometry=shape(geometry) if geometry else None,
            item=item,
            encoded=json.dumps(item, separators=(",", ":")).encode(),
        )

    def value(self, field: str) -> Any:  # noqa: ANN401 - text, number or instant
        """Return the sort value of *field*; an instant in any format is a datetime."""
        found = self.item.get(field) or self.item["properties"].get(field)
        if isinstance(found, str):
            try:
                return parse_utc(found)
            except ValueError:
                return found
        return found


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search, and the tokens of its neighbours (empty at the ends)."""

    records: list[Record]
    next_token: str = ""
    previous_token: str = ""


class DeadToken(CatalogError):
    """The item of a paging token does not exist any more."""


class SandboxCatalog:
    """A thread-safe store of items.

    ``result_cap`` limits every search to that number of items, without an error.
    ``backend`` is the software whose paging tokens and links the catalog has: ``pgstac`` or
    ``opensearch``.
    ``restart_on_dead_token`` returns the first page, not an error, for a token whose item was
    removed.
    """

    def __init__(self) -> None:
        self.result_cap: int | None = None
        self.backend = PGSTAC
        self.restart_on_dead_token = False
        self._lock = RLock()
        self._records: dict[str, Record] = {}
        self._listings: dict[str, list[Record]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def put(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Add items in their served form; existing ones are replaced."""
        fresh = {record.id: record for record in map(Record.of, items)}
        with self._lock:
            self._records.update(fresh)
            self._listings.clear()

    def remove(self, item_id: str) -> None:
        """Remove one item."""
        with self._lock:
            del self._records[item_id]
            self._listings.clear()

    def clear(self) -> None:
        """Remove every item and restore the defaults."""
        with self._lock:
            self._records.clear()
            self._listings.clear()
            self.result_cap = None
            self.backend = PGSTAC
            self.restart_on_dead_token = False

    def get(self, item_id: str) -> Record | None:
        """Return an item's record, or None."""
        return self._records.get(item_id)

    def all(self) -> list[Record]:
        """Return every record."""
        with self._lock:
            return list(self._records.values())

    def search(self, query: Query) -> Found:
        """Return the page of a *query*. Raises DeadToken."""
        listing = self._listing(query)
        start = self._start(query, listing)
        page = listing[start : start + query.limit]
        has_next = start + query.limit < len(listing)
        return Found(
            page,
            next_token=self._token("next", page[-1]) if has_next and page else "",
            previous_token=self._token("prev", page[0]) if start and page else "",
        )

    def _token(self, direction: str, record: Record) -> str:
        """Return the token of a neighbour page: pgstac's names an item, OpenSearch's is opaque."""
        token = f"{direction}:{record.collection}:{record.id}"
        return token if self.backend == PGSTAC else urlsafe_b64encode(token.encode()).decode()

    def _listing(self, query: Query) -> list[Record]:
        """Return all matching records in order; cached until the catalog changes."""
        with self._lock:
            if query.key not in self._listings:
                records = list(self._records.values())
                if len(self._listings) >= _KEPT_LISTINGS:
                    self._listings.clear()
                self._listings[query.key] = _sorted(_matching(records, query), query.sort)
            return self._listings[query.key][: self.result_cap]

    def _start(self, query: Query, listing: list[Record]) -> int:
        if not query.token:
            return 0
        direction, item_id = _item_of(query.token)
        record = self._records.get(item_id)
        if record is None:
            if self.restart_on_dead_token:
                return 0
            raise DeadToken(f"the item of token {query.token!r} is not in the catalog")
        # A keyset token contains the last item of a page, which need not match any more.
        ids = [found.id for found in listing]
        is_listed = record.id in ids
        if not is_listed:
            ids = [found.id for found in _sorted([*listing, record], query.sort)]
        at = ids.index(record.id)
        return at + is_listed if direction == "next" else max(0, at - query.limit)


def _time(properties: Mapping[str, Any], name: str) -> datetime | None:
    found = properties.get(name)
    return parse_utc(found) if found else None


def _item_of(token: str) -> tuple[str, str]:
    """Return the direction of a paging token, and the id of its item."""
    if not token.startswith(("next:", "prev:")):
        try:
            token = urlsafe_b64decode(token).decode()
        except ValueError:
            return "", ""
    direction, _, name = token.partition(":")
    return direction, name.partition(":")[2]


def _matching(records: list[Record], query: Query) -> list[Record]:
    """Return the records that match every condition; cheap conditions are first."""
    if query.collections:
        records = [record for record in records if record.collection in query.collections]
    if query.ids:
        records = [record for record in records if record.id in query.ids]
    records = [record for record in records if _is_within(record.sensed_at, query)]
    if query.filter:
        records = [record for record in records if query.filter.matches(record.item)]
    if query.area:
        area = query.area
        records = [r for r in records if r.geometry is None or area.intersects(r.geometry)]
    return records


def _is_within(sensed_at: datetime | None, query: Query) -> bool:
    is_before = query.sensed_from and sensed_at and sensed_at < query.sensed_from
    is_after = query.sensed_until and sensed_at and sensed_at > query.sensed_until
    return not (is_before or is_after)


def _sorted(records: list[Record], keys: tuple[SortKey, ...]) -> list[Record]:
    """Return records sorted by *keys*, then by ID; records without a value are last."""
    ordered = sorted(records, key=attrgetter("id"), reverse=keys[-1].descending)
    for key in reversed(keys):
        having = [record for record in ordered if record.value(key.field) is not None]
        lacking = [record for record in ordered if record.value(key.field) is None]
        having.sort(key=lambda record: record.value(key.field), reverse=key.descending)
        ordered = [*having, *lacking]
    return ordered
