"""The mirror's events: a table of its own, which is read together with the products' history."""

import heapq
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.pins import PIN_EVENTS
from s2mirror.adapters.ledger.row_checksums import damaged, is_intact
from s2mirror.adapters.ledger.rows import decoded
from s2mirror.lifecycle import Event
from s2mirror.times import format_utc

MAX_EVENTS: Final = 100_000
"""A compaction keeps at most this many: a fault that comes and goes must not fill a disk."""
PRODUCT_EVENTS: Final = MappingProxyType(
    {
        "discover": "product.discovered",
        Event.ENQUEUE.value: "product.enqueued",
        Event.CLAIM.value: "product.claimed",
        Event.INTERRUPT.value: "product.interrupted",
        Event.VERIFY.value: "product.verified",
        Event.PUBLISH.value: "product.published",
        Event.ADOPT.value: "product.adopted",
        Event.GIVE_UP.value: "product.failed",
        Event.CORRUPT.value: "product.quarantined",
        Event.MARK.value: "product.processed",
        Event.PRUNE.value: "product.pruned",
        Event.REQUEUE.value: "product.requeued",
        Event.REVISE.value: "product.revised",
        Event.COMPLETE.value: "product.completed",
        Event.SUPERSEDE.value: "product.superseded",
        Event.WITHDRAW.value: "product.withdrawn",
        Event.RESTORE.value: "product.restored",
        **PIN_EVENTS,
        "move": "product.moved",
    }
)
"""The name, as an event, of each entry in a product's history."""
_ADD: Final = """
INSERT INTO event (at, event, area, product_id, detail)
VALUES (:at, :event, :area, :product_id, :detail)
"""
_COMPACT: Final = """
DELETE FROM event WHERE at < :before OR id <= (SELECT max(id) FROM event) - :keep
"""
_NAMES: Final = "SELECT DISTINCT event FROM event"
_AREAS: Final = f"""
(SELECT json_group_array(CASE WHEN {is_intact("membership")} THEN area END)
   FROM membership WHERE product_id = e.product_id) AS areas
"""
_ROWS: Final = MappingProxyType(
    {
        "event": f"SELECT id, at, event, area, product_id, detail, {_AREAS} FROM event AS e",
        "history": "SELECT id, at, event, '' AS area, product_id, reason AS detail, "
        f"{_AREAS} FROM history AS e",
    }
)
_JOINED: Final = """
EXISTS (SELECT 1 FROM membership AS m WHERE m.area = :area AND m.product_id = e.product_id)
"""
_IN_AREA: Final = MappingProxyType(
    {
        "event": f"(area = :area OR {_JOINED})",
        "history": _JOINED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorEvent:
    """One event of the mirror or of a product."""

    at: datetime
    event: str
    """Such as ``config.refused`` or ``product.pruned``."""
    areas: tuple[str, ...]
    """The area of the event, and all areas of the product."""
    product_id: str
    """Empty for an event without a product."""
    detail: str
    """The reason, for people; may be empty."""


class Events:
    """The events of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(
        self, event: str, *, at: datetime, area: str = "", product_id: str = "", detail: str = ""
    ) -> None:
        """Record an event of the mirror. Transitions of products are in their history already."""
        params = {"event": event, "area": area, "product_id": product_id, "detail": detail}
        self._connection.execute(_ADD, params | {"at": format_utc(at)})

    def since(
        self,
        at: datetime,
        *,
        until: datetime | None = None,
        area: str = "",
        events: Collection[str] = (),
        product_id: str = "",
        limit: int | None = None,
    ) -> Iterator[MirrorEvent]:
        """Yield the events of mirror and products from *at* to *until*, oldest first.

        A few are read per query. *events* are names or first words: ``brake`` selects
        ``brake.held`` and ``brake.released``. With *limit*, only the newest are yielded.
        """
        params = {"area": area, "product_id": product_id, "until": until and format_utc(until)}
        names = self._full_names(events) if events else None
        return _Selection(self._connection, params, names).since(format_utc(at), limit)

    def names(self) -> list[str]:
        """Return the names of all events that the ledger may have, sorted."""
        own = [row["event"] for row in self._connection.query(_NAMES)]
        return sorted({*own, *PRODUCT_EVENTS.values()})

    def compact(self, before: datetime) -> int:
        """Delete the events before a time, and the oldest of too many; return their number."""
        params = {"before": format_utc(before), "keep": MAX_EVENTS}
        return self._connection.execute(_COMPACT, params)

    def _full_names(self, words: Collection[str]) -> list[str]:
        """Return the names of the events that names or first words select."""
        return [n for n in self.names() if any(f"{n}.".startswith(f"{w}.") for w in words)]


class _Selection:
    """The events that match filters; a filter without a value selects all."""

    def __init__(
        self, connection: Connection, filters: dict[str, Any], names: list[str] | None
    ) -> None:
        self._connection = connection
        self._params: Row = {name: value for name, value in filters.items() if value}
        self._tables = tuple(_ROWS)
        if names is not None:
            verbs = [verb for verb, name in PRODUCT_EVENTS.items() if name in names]
            self._params["names"] = json.dumps([*names, *verbs])
            self._tables = ("event", "history") if verbs else ("event",)

    def since(self, start: str, limit: int | None) -> Iterator[MirrorEvent]:
        """Yield the events from a time on, oldest first; with *limit*, only the newest."""
        start, surplus = (start, 0) if limit is None else self._start_of_newest(start, limit)
        found = heapq.merge(
            *(self._rows(table, start) for table in self._tables), key=attrgetter("at")
        )
        return islice(found, surplus, None)

    def _start_of_newest(self, start: str, limit: int) -> tuple[str, int]:
        """Return the time of the oldest of the newest events, and how many to skip from there on.

        So the newest events can be read oldest first, without all of them in memory.
        """
        times = " UNION ALL ".join(
            f"SELECT at FROM {table} AS e WHERE at >= :start{self._conditions(table)}"
            for table in self._tables
        )
        params = {**self._params, "start": start}
        newest = (
            f"SELECT count(*) AS events, min(at) AS at FROM ({times} ORDER BY at DESC LIMIT :limit)"
        )
        (found,) = self._connection.query(newest, params | {"limit": limit})
        if not found["events"]:
            return start, 0
        total = f"SELECT count(*) AS events FROM ({times})"
        (all_rows,) = self._connection.query(total, params | {"start": found["at"]})
        return found["at"], all_rows["events"] - found["events"]

    def _rows(self, table: str, start: str) -> Iterator[MirrorEvent]:
        """Yield the events of one table from a time on."""
        sql = f"""{_ROWS[table]}
 WHERE (at, id) > (:at, :id){self._conditions(table)} ORDER BY at, id LIMIT 500"""
        params = {**self._params, "at": start, "id": -1}
        while rows := self._connection.query(sql, params):
            yield from (self._event(table, row) for row in rows)
            params |= {"at": rows[-1]["at"], "id": rows[-1]["id"]}

    def _conditions(self, table: str) -> str:
        """Return the SQL of the filters that have a value."""
        known = {
            "area": _IN_AREA[table],
            "product_id": "product_id = :product_id",
            "until": "at <= :until",
            "names": "event IN (SELECT value FROM json_each(:names))",
        }
        return "".join(f" AND {known[name]}" for name in self._params)

    def _event(self, table: str, row: Row) -> MirrorEvent:
        path, areas = self._connection.path, json.loads(row["areas"])
        if None in areas:
            raise damaged(path, "membership", row["product_id"], "area")
        key = row["product_id"] if table == "history" else str(row["id"])
        return MirrorEvent(
            at=decoded(path, table, "at", row["at"], key=key),
            event=PRODUCT_EVENTS.get(row["event"], row["event"]),
            areas=tuple(sorted({*areas, row["area"]} - {""})),
            product_id=row["product_id"],
            detail=row["detail"],
        )
