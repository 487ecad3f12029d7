"""Products in the ledger: record, claim, advance, find."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, Final

from s2mirror import lifecycle
from s2mirror.adapters.ledger.connection import Connection, moment, stamp
from s2mirror.errors import IllegalTransition, UsageError
from s2mirror.lifecycle import Event, State
from s2mirror.model import CatalogQuery, Entry, Product, Step, Verdict

_TIMES: Final = ("sensed_at", "published_at", "generated_at")
_PRODUCT_FIELDS: Final = tuple(field.name for field in fields(Product))

INSERT: Final = f"""
INSERT INTO product ({", ".join(_PRODUCT_FIELDS)},
                     state, reason, priority, attempts, next_attempt_at, changed_at)
VALUES ({", ".join(f":{name}" for name in _PRODUCT_FIELDS)},
        'discovered', '', :priority, 0, :now, :now)
ON CONFLICT (id) DO NOTHING
"""
JOIN_AREA: Final = """
INSERT INTO membership (area, product_id) VALUES (:area, :product_id) ON CONFLICT DO NOTHING
"""
# One statement, so two workers can never claim the same product.
CLAIM: Final = """
UPDATE product
   SET state = 'downloading', changed_at = :now
 WHERE id = (SELECT id FROM product
              WHERE state = 'queued' AND next_attempt_at <= :now
                AND (:areas = '[]' OR EXISTS (
                  SELECT 1 FROM membership
                   WHERE product_id = product.id
                     AND area IN (SELECT value FROM json_each(:areas))))
              ORDER BY priority DESC, sensed_at DESC LIMIT 1)
RETURNING id
"""
ADVANCE: Final = """
UPDATE product
   SET state = :to_state, reason = :reason, changed_at = :now, next_attempt_at = :next_attempt_at,
       attempts = coalesce(:attempts, attempts),
       path = CASE WHEN :leaves THEN NULL ELSE coalesce(:path, path) END,
       size_bytes = coalesce(:size_bytes, size_bytes)
 WHERE id = :id AND state = :from_state
"""
REVISE: Final = f"""
UPDATE product SET {", ".join(f"{name} = :{name}" for name in _PRODUCT_FIELDS if name != "id")}
 WHERE id = :id
"""
RETRY_LATER: Final = """
UPDATE product SET reason = :reason, attempts = :attempts, next_attempt_at = :next_attempt_at
 WHERE id = :id AND state = :state
"""
LOG: Final = """
INSERT INTO history (product_id, at, event, from_state, to_state, reason)
VALUES (:id, :now, :event, :from_state, :to_state, :reason)
"""
LOG_DISCOVERY: Final = """
INSERT INTO history (product_id, at, event, from_state, to_state, reason)
VALUES (:id, :now, 'discover', '', 'discovered', '')
"""
_ROW: Final = """
SELECT p.*, (SELECT json_group_array(area) FROM membership WHERE product_id = p.id) AS areas
  FROM product AS p
"""
_ONE: Final = f"{_ROW} WHERE p.id = :id"
_IN_STATE: Final = f"""{_ROW}
 WHERE p.state IN (SELECT value FROM json_each(:states))
 ORDER BY p.priority DESC, p.sensed_at DESC, p.id
"""
_STANDING: Final = f"{_ROW} WHERE p.path IS NOT NULL ORDER BY p.path"
_LISTED: Final = f"""{_ROW}
 WHERE (:state = '' OR p.state = :state) AND (:tile = '' OR p.tile = :tile)
   AND (:area = '' OR p.id IN (SELECT product_id FROM membership WHERE area = :area))
 ORDER BY p.sensed_at DESC, p.id LIMIT :limit
"""
_EXPECTED: Final = """
SELECT count(*) AS products FROM product
 WHERE collection = :collection AND published_at >= :published_from
   AND sensed_at BETWEEN :sensed_from AND :sensed_until
   AND id IN (SELECT product_id FROM membership
               WHERE area IN (SELECT value FROM json_each(:areas)))
"""
_KNOWN: Final = "SELECT id, revision FROM product WHERE id IN (SELECT value FROM json_each(:ids))"


class Products:
    """The product rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def known(self, ids: Iterable[str]) -> dict[str, str]:
        """Return the revision of each of *ids* that the ledger has already."""
        rows = self._connection.query(_KNOWN, {"ids": json.dumps(list(ids))})
        return {row["id"]: row["revision"] for row in rows}

    def record(
        self,
        products: Sequence[Product],
        areas: Mapping[str, Collection[str]],
        *,
        priorities: Mapping[str, int],
        now: datetime,
    ) -> None:
        """Add *products* as discovered, and all of *areas*' memberships, in one transaction.

        *areas* maps product ids, known ones too, to area names; *priorities* area names to
        numbers. A product takes the highest priority of its areas.
        """
        rows = [_new_row(product, areas[product.id], priorities, now) for product in products]
        members = [{"area": a, "product_id": i} for i, names in areas.items() for a in names]
        with self._connection.atomic():
            self._connection.execute_many(INSERT, rows)
            self._connection.execute_many(LOG_DISCOVERY, rows)
            self._connection.execute_many(JOIN_AREA, members)

    def claim(self, now: datetime, areas: Collection[str] = ()) -> Entry | None:
        """Move one due product to ``downloading`` and return it: priority, then newest sensing.

        Without *areas* any area's products may be claimed.
        """
        with self._connection.atomic():
            params = {"now": stamp(now), "areas": json.dumps(list(areas))}
            rows = self._connection.query(CLAIM, params)
            if not rows:
                return None
            entry = self.get(rows[0]["id"])
            before = replace(entry, state=State.QUEUED)
            self._connection.execute(
                LOG, _step(before, Verdict(event=Event.CLAIM), entry.state, now)
            )
        return entry

    def advance(self, entry: Entry, verdict: Verdict, *, now: datetime) -> None:
        """Let *verdict* happen to a product, with its history line, in one transaction.

        Raises IllegalTransition if the life table has no such road, or if the product has left
        the state that *entry* has.
        """
        to_state = lifecycle.advance(entry.state, verdict.event)
        step = _step(entry, verdict, to_state, now)
        change = step | {
            "attempts": verdict.attempts,
            "next_attempt_at": stamp(verdict.next_attempt_at or now),
            "path": verdict.path,
            "size_bytes": verdict.size_bytes,
            "leaves": lifecycle.leaves_tree(entry.state, verdict.event),
        }
        with self._connection.atomic():
            if self._connection.execute(ADVANCE, change) != 1:
                raise IllegalTransition(
                    f"{entry.product.id} is no longer {entry.state}; it cannot {verdict.event} now"
                )
            self._connection.execute(LOG, step)

    def revise(self, product: Product) -> None:
        """Replace what the catalogue said of a known product by what it says now."""
        row = asdict(product)
        self._connection.execute(REVISE, row | {name: stamp(row[name]) for name in _TIMES})

    def retry_later(
        self, entry: Entry, *, reason: str, attempts: int, next_attempt_at: datetime
    ) -> None:
        """Keep a product's state, but note a failed attempt to move it on."""
        self._connection.execute(
            RETRY_LATER,
            {
                "id": entry.product.id,
                "state": entry.state,
                "reason": reason,
                "attempts": attempts,
                "next_attempt_at": stamp(next_attempt_at),
            },
        )

    def get(self, product_id: str) -> Entry:
        """Return one product. Raises UsageError if the ledger has none of that id."""
        rows = self._connection.query(_ONE, {"id": product_id})
        if not rows:
            raise UsageError(
                f"the ledger knows no product {product_id!r}; `s2mirror list` shows those it has"
            )
        return _entry(rows[0])

    def in_state(self, *states: State) -> list[Entry]:
        """Return all products in any of *states*, by priority, then newest sensing first."""
        rows = self._connection.query(_IN_STATE, {"states": json.dumps(states)})
        return [_entry(row) for row in rows]

    def standing(self) -> list[Entry]:
        """Return all products with a folder in the archive tree, whatever their state."""
        return [_entry(row) for row in self._connection.query(_STANDING)]

    def listed(self, *, state: str, area: str, tile: str, limit: int) -> list[Entry]:
        """Return at most *limit* products, newest sensing first; an empty filter fits all."""
        params = {"state": state, "area": area, "tile": tile, "limit": limit}
        return [_entry(row) for row in self._connection.query(_LISTED, params)]

    def history(self, product_id: str) -> list[Step]:
        """Return every transition of a product, oldest first."""
        sql = "SELECT * FROM history WHERE product_id = :id ORDER BY id"
        rows = self._connection.query(sql, {"id": product_id})
        return [
            Step(
                at=moment(row["at"]),
                event=row["event"],
                from_state=row["from_state"],
                to_state=row["to_state"],
                reason=row["reason"],
            )
            for row in rows
        ]

    def counts(self) -> dict[State, tuple[int, int]]:
        """Return how many products, and how many bytes of them, are in each state."""
        sql = """SELECT state, count(*) AS products, coalesce(sum(size_bytes), 0) AS size_bytes
                   FROM product GROUP BY state"""
        return {
            State(row["state"]): (row["products"], row["size_bytes"])
            for row in self._connection.query(sql)
        }

    def area_counts(self) -> dict[str, dict[State, int]]:
        """Return how many products of each area are in each state."""
        sql = """SELECT area, state, count(*) AS products FROM membership
                   JOIN product ON product.id = product_id GROUP BY area, state"""
        found: dict[str, dict[State, int]] = {}
        for row in self._connection.query(sql):
            found.setdefault(row["area"], {})[State(row["state"])] = row["products"]
        return found

    def expected(self, query: CatalogQuery, areas: Collection[str]) -> int:
        """Return how many known products of *areas* a query ought to list."""
        params = {
            "areas": json.dumps(list(areas)),
            "collection": query.collection,
            "published_from": stamp(query.published_from) if query.published_from else "",
            "sensed_from": stamp(query.sensed_from) if query.sensed_from else "",
            "sensed_until": stamp(query.sensed_until) if query.sensed_until else "9",
        }
        return int(self._connection.query(_EXPECTED, params)[0]["products"])

    def next_due_at(self) -> datetime | None:
        """Return when the next queued product is due; None if none is queued."""
        sql = "SELECT min(next_attempt_at) AS due FROM product WHERE state = 'queued'"
        due = self._connection.query(sql)[0]["due"]
        return moment(due) if due else None


def _new_row(
    product: Product, areas: Collection[str], priorities: Mapping[str, int], now: datetime
) -> dict[str, Any]:
    row = asdict(product)
    row |= {name: stamp(row[name]) for name in _TIMES}
    priority = max((priorities.get(area, 0) for area in areas), default=0)
    return row | {"priority": priority, "now": stamp(now)}


def _step(entry: Entry, verdict: Verdict, to_state: State, now: datetime) -> dict[str, Any]:
    return {
        "id": entry.product.id,
        "event": verdict.event,
        "from_state": entry.state,
        "to_state": to_state,
        "reason": verdict.reason,
        "now": stamp(now),
    }


def _entry(row: dict[str, Any]) -> Entry:
    values = {name: row[name] for name in _PRODUCT_FIELDS}
    values |= {name: moment(values[name]) for name in _TIMES}
    return Entry(
        product=Product(**values),
        state=State(row["state"]),
        reason=row["reason"],
        attempts=row["attempts"],
        next_attempt_at=moment(row["next_attempt_at"]),
        changed_at=moment(row["changed_at"]),
        path=row["path"],
        areas=tuple(sorted(json.loads(row["areas"]))),
    )
