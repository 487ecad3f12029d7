"""Queries of products in the ledger."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.product_lists import ProductList, ProductQuery
from s2mirror.adapters.ledger.row_checksums import checked, damaged
from s2mirror.adapters.ledger.rows import ENTRY_ROWS, decoded, entry_of, path_of
from s2mirror.errors import UsageError
from s2mirror.lifecycle import HELD, State
from s2mirror.model import PINNED, CatalogQuery, HistoryEntry, LedgerEntry, Product
from s2mirror.times import format_utc, parse_utc

_ONE: Final = f"{ENTRY_ROWS} WHERE p.id = :id"
_IN_STATE: Final = f"""{ENTRY_ROWS}
 WHERE p.state IN (SELECT value FROM json_each(:states))
 ORDER BY p.priority DESC, p.sensed_at DESC, p.id
"""
_TREE_PAGE: Final = f"{ENTRY_ROWS} WHERE p.path > :after ORDER BY p.path LIMIT 500"
_HOMELESS: Final = f"""{ENTRY_ROWS}
 WHERE p.state IN (SELECT value FROM json_each(:states)) AND p.path IS NULL
"""
_HAS_FOLDER: Final = "SELECT 1 FROM product WHERE path = :path"
_ARCHIVED: Final = f"""
SELECT id, path, {checked("product")} FROM product
 WHERE path > :after AND state = 'archived' ORDER BY path LIMIT 500
"""
_HELD_VERSIONS: Final = f"""{ENTRY_ROWS}
 WHERE p.path IS NOT NULL AND (p.tile, p.sensed_at, p.collection, p.platform) IN (
   SELECT tile, sensed_at, collection, platform FROM product INDEXED BY product_newest
    WHERE path IS NOT NULL GROUP BY 1, 2, 3, 4 HAVING count(*) > 1)
"""
_CLAIMED_BY: Final = """EXISTS (
   SELECT 1 FROM membership WHERE product_id = p.id
      AND +area IN (SELECT value FROM json_each(:areas)))"""
# The plus keeps SQLite from an index lookup for each of hundreds of areas.
_FIND: Final = f"{ENTRY_ROWS} WHERE p.id IN (SELECT value FROM json_each(:ids))"
# The newest of every area, so that an area with many products does not exclude the others.
_WAITING: Final = f"""{ENTRY_ROWS}
 WHERE p.id IN (
   SELECT product_id
     FROM (SELECT product_id,
                  row_number() OVER (PARTITION BY area ORDER BY sensed_at DESC) AS place
             FROM product JOIN membership ON product_id = id
            WHERE state = 'discovered' AND +area IN (SELECT value FROM json_each(:areas)))
    WHERE place <= :limit)
 ORDER BY p.priority DESC, p.sensed_at DESC
"""
_DUE: Final = f"""{ENTRY_ROWS}
 WHERE p.state = 'queued' AND p.next_attempt_at <= :now AND (:areas = '[]' OR {_CLAIMED_BY})
 ORDER BY p.priority DESC, p.sensed_at DESC
"""
_VERSIONS: Final = f"""{ENTRY_ROWS}
 WHERE (p.tile, p.sensed_at, p.collection, p.platform) IN (
   SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:images))
"""
_OF_AREA: Final = f"""{ENTRY_ROWS}
 WHERE p.id IN (SELECT product_id FROM membership
                 WHERE area = :area AND product_id > :after ORDER BY product_id LIMIT 500)
 ORDER BY p.id
"""
_UNCLAIMED: Final = f"{ENTRY_ROWS} WHERE p.path IS NOT NULL AND NOT {_CLAIMED_BY} ORDER BY p.path"
_REMAINING: Final = f"""
SELECT count(*) AS products FROM product AS p
 WHERE p.state IN (SELECT value FROM json_each(:states)) AND {_CLAIMED_BY}
"""
_NEXT_DUE: Final = f"""
SELECT min(next_attempt_at) AS due FROM product AS p
 WHERE p.state = 'queued' AND (:areas = '[]' OR {_CLAIMED_BY})
"""
_EXPECTED: Final = """
SELECT count(*) AS products FROM product
 WHERE collection = :collection AND published_at >= :published_from
   AND sensed_at BETWEEN :sensed_from AND :sensed_until
   AND id IN (SELECT product_id FROM membership
               WHERE area IN (SELECT value FROM json_each(:areas)))
   AND id NOT IN (SELECT product_id FROM deletion)
"""
_KNOWN: Final = "SELECT id, revision FROM product WHERE id IN (SELECT value FROM json_each(:ids))"
_WITHDRAWN: Final = """
SELECT id FROM product WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'withdrawn'
"""


class ProductReader:
    """Reads the product rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _entries(self, sql: str, params: Mapping[str, Any] | None = None) -> list[LedgerEntry]:
        rows = self._connection.query(sql, params)
        return [entry_of(self._connection.path, row) for row in rows]

    def known(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the revisions of known products, by id."""
        rows = self._connection.query(_KNOWN, {"ids": json.dumps(list(ids))})
        return {row["id"]: row["revision"] for row in rows}

    def withdrawn(self, ids: Iterable[str]) -> set[str]:
        """Return those of *ids* that were withdrawn."""
        rows = self._connection.query(_WITHDRAWN, {"ids": json.dumps(list(ids))})
        return {row["id"] for row in rows}

    def get(self, product_id: str) -> LedgerEntry:
        """Return one product. Raises UsageError if the ledger has no product of that id."""
        rows = self._connection.query(_ONE, {"id": product_id})
        if not rows:
            raise UsageError(
                f"the ledger knows no product {product_id!r}; `s2mirror list` shows those it has, "
                "and `s2mirror why` says why one is not among them"
            )
        return entry_of(self._connection.path, rows[0])

    def find(self, ids: Iterable[str]) -> dict[str, LedgerEntry]:
        """Return those of *ids* that the ledger has, by id."""
        rows = self._connection.query(_FIND, {"ids": json.dumps(list(ids))})
        return {row["id"]: entry_of(self._connection.path, row) for row in rows}

    def waiting(self, areas: Collection[str], limit: int) -> list[LedgerEntry]:
        """Return the newest discovered products of *areas*, at most *limit* of each."""
        params = {"areas": json.dumps(list(areas)), "limit": limit}
        return self._entries(_WAITING, params)

    def due(self, areas: Collection[str], *, now: datetime) -> list[LedgerEntry]:
        """Return the due queued products of *areas*, or pinned; without *areas*, all."""
        params = {"areas": claimants(areas), "now": format_utc(now)}
        return self._entries(_DUE, params)

    def versions(self, entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
        """Return every product of the same tile and datatake as one of *entries*."""
        images = [
            [p.tile, format_utc(p.sensed_at), p.collection, p.platform]
            for p in (entry.product for entry in entries)
        ]
        return self._entries(_VERSIONS, {"images": json.dumps(images)})

    def of_area(self, area: str) -> Iterator[Product]:
        """Yield every product of *area*, a few per query."""
        for row in _paged(self._connection, _OF_AREA, "id", area=area):
            yield entry_of(self._connection.path, row).product

    def unclaimed(self, areas: Collection[str]) -> list[LedgerEntry]:
        """Return the products in the archive tree that belong to none of *areas*."""
        return self._entries(_UNCLAIMED, {"areas": json.dumps(list(areas))})

    def in_state(self, *states: State) -> list[LedgerEntry]:
        """Return all products in any of *states*, by priority, then newest sensing first."""
        return self._entries(_IN_STATE, {"states": json.dumps(states)})

    def in_tree(self) -> "ProductsInTree":
        """Return all products with a folder in the archive tree, whatever their state."""
        return ProductsInTree(self._connection, frozenset(State))

    def held(self) -> "ProductsInTree":
        """Return all products that are held."""
        return ProductsInTree(self._connection, HELD)

    def homeless(self) -> list[LedgerEntry]:
        """Return the held products without a folder in the ledger."""
        return self._entries(_HOMELESS, {"states": json.dumps(list(HELD))})

    def has_folder(self, path: str) -> bool:
        """Return whether a product has the folder *path* in the archive tree."""
        return bool(self._connection.query(_HAS_FOLDER, {"path": path}))

    def rivals(self) -> list[LedgerEntry]:
        """Return the held products of images with several held versions."""
        return [entry for entry in self._entries(_HELD_VERSIONS) if entry.state in HELD]

    def archived(self) -> Iterator[tuple[str, str]]:
        """Yield id and path of every archived product that is not processed yet."""
        for row in _paged(self._connection, _ARCHIVED, "path"):
            yield row["id"], str(path_of(self._connection.path, row))

    def listed(self, query: ProductQuery) -> ProductList:
        """Return the products that a query selects, in its order."""
        return ProductList(self._connection, query)

    def history(self, product_id: str) -> list[HistoryEntry]:
        """Return every transition of a product, oldest first."""
        sql = "SELECT * FROM history WHERE product_id = :id ORDER BY id"
        rows = self._connection.query(sql, {"id": product_id})
        return [
            HistoryEntry(
                at=decoded(self._connection.path, "history", "at", row["at"], key=product_id),
                event=row["event"],
                from_state=row["from_state"],
                to_state=row["to_state"],
                reason=row["reason"],
            )
            for row in rows
        ]

    def counts(self) -> dict[State, tuple[int, int]]:
        """Return the number and bytes of products by state."""
        return {
            state: (row["products"], row["size_bytes"])
            for state, row in self._tally("SELECT * FROM tally WHERE area = ''")
        }

    def _tally(self, sql: str) -> Iterator[tuple[State, Row]]:
        for row in self._connection.query(sql):
            try:
                yield State(row["state"]), row
            except ValueError as error:
                name = row["area"] or "all areas"
                raise damaged(self._connection.path, "tally", name, "state") from error

    def area_counts(self) -> dict[str, dict[State, int]]:
        """Return the number of products by area and state."""
        found: dict[str, dict[State, int]] = {}
        for state, row in self._tally("SELECT * FROM tally WHERE area <> ''"):
            found.setdefault(row["area"], {})[state] = row["products"]
        return found

    def expected(self, query: CatalogQuery, areas: Collection[str]) -> int:
        """Return how many known products of *areas* a query should list.

        Products that were deleted upstream do not count.
        """
        params = {
            "areas": json.dumps(list(areas)),
            "collection": query.collection,
            "published_from": format_utc(query.published_from) if query.published_from else "",
            "sensed_from": format_utc(query.sensed_from) if query.sensed_from else "",
            "sensed_until": format_utc(query.sensed_until) if query.sensed_until else "9",
        }
        return int(self._connection.query(_EXPECTED, params)[0]["products"])

    def remaining(self, areas: Collection[str], states: Collection[State]) -> int:
        """Return the number of products in *states* of *areas*, or pinned."""
        params = {"areas": claimants(areas), "states": json.dumps(list(states))}
        return int(self._connection.query(_REMAINING, params)[0]["products"])

    def next_due_at(self, areas: Collection[str] = ()) -> datetime | None:
        """Return when the next queued product is due; None if none is queued."""
        params = {"areas": claimants(areas)}
        due = self._connection.query(_NEXT_DUE, params)[0]["due"]
        return parse_utc(due) if due else None


class ProductsInTree:
    """The products in the archive tree, by path; a few are read per query."""

    def __init__(self, connection: Connection, states: Collection[State]) -> None:
        self._connection = connection
        self._states = states

    def __iter__(self) -> Iterator[LedgerEntry]:
        """Yield the products, as they are at each query."""
        for row in _paged(self._connection, _TREE_PAGE, "path"):
            if row["state"] in self._states:
                yield entry_of(self._connection.path, row)


def _paged(connection: Connection, sql: str, key: str, **params: str) -> Iterator[Row]:
    """Yield all rows of a statement that returns some rows after ``:after``, sorted by *key*."""
    after = ""
    while rows := connection.query(sql, {**params, "after": after}):
        yield from rows
        after = rows[-1][key]


def claimants(areas: Collection[str]) -> str:
    """Return, as JSON, the names that select products: *areas* and ``PINNED``; empty for all."""
    return json.dumps([*areas, PINNED] if areas else [])
