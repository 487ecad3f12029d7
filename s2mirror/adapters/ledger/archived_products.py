"""Held products with their metadata, and removals that have begun."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.file_lists import (
    HELD_DOCUMENT,
    contents_of,
    held_document,
    paths_in,
)
from s2mirror.adapters.ledger.items import unpacked
from s2mirror.adapters.ledger.processing import Processing
from s2mirror.adapters.ledger.row_checksums import checked, insert, require_intact
from s2mirror.adapters.ledger.rows import decoded, path_of, product_of
from s2mirror.errors import PathRefused
from s2mirror.lifecycle import Event, State
from s2mirror.model import ArchivedProduct, ItemSummary, Product, Transition
from s2mirror.process_model import RunState
from s2mirror.radiometry import UNKNOWN_RADIOMETRY
from s2mirror.times import format_utc

_AT_ONCE: Final = 500
_ROW: Final = f"""
SELECT p.*, {checked("product", "p")}, item.properties, {HELD_DOCUMENT} AS files,
       (SELECT max(at) FROM history WHERE product_id = p.id AND event = 'claim') AS fetched_at,
       (SELECT verified_at FROM verification WHERE product_id = p.id) AS verified_at,
       (SELECT json_group_array(json_array(preview.name, image.value))
          FROM preview,
               json_each(CASE WHEN json_valid(preview.paths) THEN preview.paths ELSE '[]' END)
                 AS image
         WHERE subject = p.id AND outcome = 'made' AND preview.name <> 'quicklook') AS previews
  FROM product AS p
  LEFT JOIN item ON item.product_id = p.id
  LEFT JOIN file_list ON file_list.product_id = p.id AND file_list.kind = 'held'
"""
_BY_ID: Final = f"{_ROW} WHERE p.id IN (SELECT value FROM json_each(:ids)) AND p.path IS NOT NULL"
_SUMMARY: Final = f"""
SELECT p.id, p.path, p.s3_prefix, p.footprint_wkb, {checked("product", "p")}, item.properties,
       {HELD_DOCUMENT} AS files,
       (SELECT max(at) FROM history WHERE product_id = p.id AND event = 'claim') AS fetched_at,
       (SELECT verified_at FROM verification WHERE product_id = p.id) AS verified_at
  FROM product AS p
  LEFT JOIN item ON item.product_id = p.id
  LEFT JOIN file_list ON file_list.product_id = p.id AND file_list.kind = 'held'
 WHERE p.id IN (SELECT value FROM json_each(:ids)) AND p.path IS NOT NULL
"""
_PRODUCTS: Final = f"""
SELECT p.*, {checked("product", "p")} FROM product AS p
 WHERE p.id IN (SELECT value FROM json_each(:ids)) AND p.path IS NOT NULL
"""
_IDS: Final = """
SELECT {columns} FROM product AS p {index}
 WHERE path IS NOT NULL AND sensed_at BETWEEN :start AND :end
   AND (:tile = '' OR tile = :tile)
   AND (:collections = '[]' OR collection IN (SELECT value FROM json_each(:collections)))
   AND (:state = '' OR state = :state)
   AND (:area = '' OR EXISTS (
     SELECT 1 FROM membership WHERE product_id = p.id AND area = :area))
 ORDER BY sensed_at, id
"""
_OTHER_VERSIONS: Final = """
SELECT other.id FROM product AS this JOIN product AS other
    ON other.tile = this.tile AND other.sensed_at = this.sensed_at
   AND other.collection = this.collection AND other.platform = this.platform
 WHERE this.id IN (SELECT value FROM json_each(:ids))
   AND other.path IS NOT NULL AND other.id NOT IN (SELECT value FROM json_each(:ids))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveQuery:
    """Selects held products. A filter that is None or empty selects everything."""

    start: datetime | None = None
    """First sensing time, included."""
    end: datetime | None = None
    """Last sensing time, included."""
    tile: str = ""
    area: str = ""
    """Name of an area that claims them."""
    collections: tuple[str, ...] = ()
    state: State | None = None
    geometry_wkb: bytes | None = None
    """A WGS 84 geometry that the footprints intersect."""

    def of(self, collection: str) -> "ArchiveQuery":
        """Return the same query for one collection."""
        return replace(self, collections=(collection,))


class ArchivedProducts:
    """The held products of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ids(self, query: ArchiveQuery) -> list[str]:
        """Return the ids of the selected products, oldest sensing first."""
        index = "INDEXED BY product_image" if query.tile else "INDEXED BY product_in_archive"
        params = {
            "start": format_utc(query.start) if query.start else "",
            "end": format_utc(query.end) if query.end else "9",
            "tile": query.tile,
            "area": query.area,
            "collections": json.dumps(query.collections),
            "state": query.state or "",
        }
        columns = "id" if query.geometry_wkb is None else "id, footprint_wkb"
        rows = self._connection.query(_IDS.format(index=index, columns=columns), params)
        if query.geometry_wkb is not None and rows:
            from s2mirror.geometry import meeting  # noqa: PLC0415 - its library takes time

            meets = meeting(query.geometry_wkb, [row["footprint_wkb"] for row in rows])
            rows = [row for row, meets_it in zip(rows, meets, strict=True) if meets_it]
        return [row["id"] for row in rows]

    def find(self, ids: Iterable[str]) -> dict[str, ArchivedProduct]:
        """Return, by id, those of *ids* that are held."""
        rows = self._connection.query(_BY_ID, {"ids": json.dumps(list(ids))})
        return {row["id"]: self._product(row) for row in rows}

    def other_versions(self, ids: Iterable[str]) -> dict[str, ArchivedProduct]:
        """Return, by id, the held products of the same images as *ids*, which need not be held."""
        rows = self._connection.query(_OTHER_VERSIONS, {"ids": json.dumps(list(ids))})
        return self.find({row["id"] for row in rows}) if rows else {}

    def products(self, query: ArchiveQuery) -> Iterator[tuple[Product, State, str]]:
        """Yield each selected product, its state and its folder; its files are not read."""
        ids = self.ids(query)
        for at in range(0, len(ids), _AT_ONCE):
            some = {"ids": json.dumps(ids[at : at + _AT_ONCE])}
            rows = {row["id"]: row for row in self._connection.query(_PRODUCTS, some)}
            for row in (rows[name] for name in ids[at : at + _AT_ONCE] if name in rows):
                path = str(path_of(self._connection.path, row))
                yield product_of(self._connection.path, row), State(row["state"]), path

    def selected(self, query: ArchiveQuery) -> Iterator[ArchivedProduct]:
        """Yield the selected products, oldest sensing first, a few hundred per query."""
        ids = self.ids(query)
        for at in range(0, len(ids), _AT_ONCE):
            found = self.find(ids[at : at + _AT_ONCE])
            yield from (found[name] for name in ids[at : at + _AT_ONCE] if name in found)

    def summaries(self, query: ArchiveQuery) -> Iterator[ItemSummary]:
        """Yield summaries of the selected products, oldest sensing first: faster, for many."""
        ids = self.ids(query)
        for at in range(0, len(ids), _AT_ONCE):
            some = {"ids": json.dumps(ids[at : at + _AT_ONCE])}
            rows = {row["id"]: row for row in self._connection.query(_SUMMARY, some)}
            yield from (
                self._summary(rows[name]) for name in ids[at : at + _AT_ONCE] if name in rows
            )

    def _summary(self, row: Row) -> ItemSummary:
        properties = unpacked(row["properties"])
        return ItemSummary(
            id=row["id"],
            path=str(path_of(self._connection.path, row)),
            s3_prefix=row["s3_prefix"],
            footprint_wkb=row["footprint_wkb"],
            properties=properties,
            product=None if properties else self.find([row["id"]])[row["id"]].product,
            paths=paths_in(document) if (document := self._document(row)) else (),
            fetched_at=self._time(row, "history", "fetched_at"),
            verified_at=self._time(row, "verification", "verified_at"),
        )

    def _product(self, row: Row) -> ArchivedProduct:
        document = self._document(row)
        files, radiometry = contents_of(document) if document else ((), UNKNOWN_RADIOMETRY)
        return ArchivedProduct(
            product=product_of(self._connection.path, row),
            state=State(row["state"]),
            path=str(path_of(self._connection.path, row)),
            properties=unpacked(row["properties"]),
            files=files,
            radiometry=radiometry,
            fetched_at=self._time(row, "history", "fetched_at"),
            verified_at=self._time(row, "verification", "verified_at"),
            previews=tuple((name, path) for name, path in json.loads(row["previews"])),
        )

    def _time(self, row: Row, table: str, name: str) -> datetime | None:
        if not row[name]:
            return None
        column = "at" if table == "history" else name
        at: datetime = decoded(self._connection.path, table, column, row[name], key=row["id"])
        return at

    def _document(self, row: Row) -> bytes | None:
        return held_document(self._connection.path, row["id"], row["files"])


BEGIN: Final = f"""
{insert("removal", {"product_id": ":product_id", "event": ":event", "reason": ":reason"})}
ON CONFLICT (product_id) DO UPDATE
   SET event = excluded.event, reason = excluded.reason, checksums = excluded.checksums
"""
_BEGUN: Final = f"SELECT product_id, event, reason, {checked('removal')} FROM removal"


class Removals:
    """The removal rows of a ledger.

    After a crash, this shows why a folder is in the trash.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(self, product_id: str, transition: Transition) -> None:
        """Record why a product's folder is about to leave the tree; no run of it starts then.

        Raises PathRefused while a processing entry runs for it.
        """
        row = {"product_id": product_id, "event": transition.event, "reason": transition.reason}
        with self._connection.atomic():
            for status in Processing(self._connection).statuses(product_id).values():
                if status.state is RunState.RUNNING:
                    raise PathRefused(
                        f"{product_id} is in use: the processing entry {status.entry} runs for it. "
                        "It is removed after the end of this run"
                    )
            self._connection.execute(BEGIN, row)

    def end(self, product_id: str) -> None:
        """Delete the note of a removal that is recorded, or that was not done."""
        self._connection.execute("DELETE FROM removal WHERE product_id = :id", {"id": product_id})

    def pending(self) -> dict[str, Transition]:
        """Return the removals that have begun and are not recorded yet, by product id."""
        return {row["product_id"]: self._transition(row) for row in self._connection.query(_BEGUN)}

    def _transition(self, row: Row) -> Transition:
        require_intact(self._connection.path, "removal", row)
        return Transition(event=Event(row["event"]), reason=row["reason"])
