"""Changes of products in the ledger: record, claim, advance."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from s2mirror import lifecycle
from s2mirror.adapters.ledger.reading import ProductReader, claimants
from s2mirror.adapters.ledger.row_checksums import insert, is_intact, recomputed, update
from s2mirror.adapters.ledger.rows import PRODUCT_FIELDS, TIMES, check_path
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.errors import IllegalTransition
from s2mirror.lifecycle import WAITING, Event, State
from s2mirror.model import LedgerEntry, Product, Transition
from s2mirror.times import format_utc

_NEW: Final = {
    **{name: f":{name}" for name in PRODUCT_FIELDS},
    "state": "'discovered'",
    "reason": "''",
    "priority": ":priority",
    "attempts": "0",
    "next_attempt_at": ":now",
    "changed_at": ":now",
}
INSERT: Final = f"{insert('product', _NEW)} ON CONFLICT (id) DO NOTHING"
_JOINED: Final = {"area": ":area", "product_id": ":product_id"}
JOIN_AREA: Final = f"{insert('membership', _JOINED)} ON CONFLICT DO NOTHING"
RAISE: Final = update(
    "product", {"priority": ":priority"}, "id = :product_id AND priority < :priority"
)
REWEIGH: Final = f"""
UPDATE product SET priority = wanted.priority,
                   checksums = {recomputed("product", {"priority": "wanted.priority"})}
  FROM (SELECT p.id, max(coalesce(value, 0)) AS priority
          FROM product AS p JOIN membership ON product_id = p.id
               LEFT JOIN json_each(:priorities) ON key = area
         WHERE p.state IN {sql_states(WAITING)} GROUP BY p.id) AS wanted
 WHERE wanted.id = product.id AND {is_intact("product")}
"""
# One statement, so that two workers cannot claim the same product.
CLAIM: Final = (
    update(
        "product",
        {"state": "'downloading'", "changed_at": ":now"},
        f"""
        id = (SELECT id FROM product
               WHERE state = 'queued' AND next_attempt_at <= :now AND :only IN ('', id)
                 AND (:areas = '[]' OR EXISTS (
                   SELECT 1 FROM membership
                    WHERE product_id = product.id
                      AND area IN (SELECT value FROM json_each(:areas))))
                 AND {is_intact("product")}
               ORDER BY priority DESC, sensed_at DESC LIMIT 1)
        """,
    )
    + " RETURNING id"
)
ADVANCE: Final = update(
    "product",
    {
        "state": ":to_state",
        "reason": ":reason",
        "changed_at": ":now",
        "next_attempt_at": ":next_attempt_at",
        "attempts": "coalesce(:attempts, attempts)",
        "path": "CASE WHEN :leaves THEN NULL ELSE coalesce(:path, path) END",
        "size_bytes": "coalesce(:size_bytes, size_bytes)",
    },
    "id = :id AND state = :from_state",
)
REVISE: Final = update(
    "product",
    {name: f":{name}" for name in PRODUCT_FIELDS if name != "id"},
    "id = :id AND state = :state",
)
PUBLISHED: Final = update(
    "product", {"published_at": ":published_at"}, "id = :id AND published_at < :published_at"
)
RETRY_LATER: Final = update(
    "product",
    {"reason": ":reason", "attempts": ":attempts", "next_attempt_at": ":next_attempt_at"},
    "id = :id AND state = :state",
)
# A row with a later time than now was written while this machine's clock was ahead.
MAKE_DUE: Final = update(
    "product",
    {"next_attempt_at": ":now", "changed_at": ":now"},
    "state = 'queued' AND changed_at > :now",
)
LOG: Final = """
INSERT INTO history (product_id, at, event, from_state, to_state, reason)
VALUES (:id, :now, :event, :from_state, :to_state, :reason)
"""
LOG_DISCOVERY: Final = """
INSERT INTO history (product_id, at, event, from_state, to_state, reason)
SELECT :id, :now, 'discover', '', 'discovered', ''
 WHERE NOT EXISTS (SELECT 1 FROM history WHERE product_id = :id)
"""
RELEASE: Final = """
DELETE FROM membership
 WHERE area = :area AND product_id IN (SELECT value FROM json_each(:ids))
"""


class Products(ProductReader):
    """The product rows of a ledger."""

    def record(
        self,
        products: Sequence[Product],
        areas: Mapping[str, Collection[str]],
        *,
        priorities: Mapping[str, int],
        now: datetime,
    ) -> None:
        """Add *products* as discovered, and the memberships in *areas*, in one transaction.

        *areas* maps product ids, of known products too, to area names; *priorities* maps area names
        to numbers. The priority of a product is the highest of its areas.
        """
        rows = [_new_row(product, areas[product.id], priorities, now) for product in products]
        members = [
            {"area": a, "product_id": i, "priority": priorities.get(a, 0)}
            for i, names in areas.items()
            for a in names
        ]
        with self._connection.atomic():
            self._connection.execute_many(INSERT, rows)
            self._connection.execute_many(LOG_DISCOVERY, rows)
            self._connection.execute_many(JOIN_AREA, members)
            self._connection.execute_many(RAISE, members)

    def reweigh(self, priorities: Mapping[str, int]) -> None:
        """Set the priority of waiting products to the highest one of their areas."""
        self._connection.execute(REWEIGH, {"priorities": json.dumps(priorities)})

    def claim(
        self, now: datetime, areas: Collection[str] = (), *, only: str = ""
    ) -> LedgerEntry | None:
        """Move a due product to ``downloading`` and return it: by priority, then newest sensing.

        Claims only products of *areas*, or pinned ones; without *areas*, any. With *only*,
        claims that product or none. Returns None if none is due.
        """
        with self._connection.atomic():
            params = {"now": format_utc(now), "areas": claimants(areas), "only": only}
            rows = self._connection.query(CLAIM, params)
            if not rows:
                return None
            entry = self.get(rows[0]["id"])
            before = replace(entry, state=State.QUEUED)
            self._connection.execute(
                LOG, _step(before, Transition(event=Event.CLAIM), entry.state, now)
            )
        return entry

    def advance(self, entry: LedgerEntry, transition: Transition, *, now: datetime) -> None:
        """Apply a transition to a product, with its history entry, in one transaction.

        Raises IllegalTransition if the table of states has no such transition, or if the product is
        no longer in the state of *entry*.
        """
        check_path(self._connection.path, entry.product.id, transition.path)
        to_state = lifecycle.advance(entry.state, transition.event)
        step = _step(entry, transition, to_state, now)
        change = step | {
            "attempts": transition.attempts,
            "next_attempt_at": format_utc(transition.next_attempt_at or now),
            "path": transition.path,
            "size_bytes": transition.size_bytes,
            "leaves": lifecycle.leaves_tree(entry.state, transition.event),
        }
        with self._connection.atomic():
            if self._connection.execute(ADVANCE, change) != 1:
                self.get(entry.product.id)  # raises LedgerError for a damaged row
                raise IllegalTransition(
                    f"{entry.product.id} is no longer {entry.state}; "
                    f"it cannot {transition.event} now"
                )
            self._connection.execute(LOG, step)

    def revise(self, product: Product, state: State) -> None:
        """Replace the catalog's values of a known product.

        A product that is no longer in *state* is being downloaded and is not changed.
        """
        self._connection.execute(REVISE, _values(product) | {"state": state})

    def note_published(self, products: Iterable[Product]) -> None:
        """Record when known products were published last."""
        rows = [{"id": p.id, "published_at": format_utc(p.published_at)} for p in products]
        with self._connection.atomic():
            self._connection.execute_many(PUBLISHED, rows)

    def retry_later(
        self, entry: LedgerEntry, *, reason: str, attempts: int, next_attempt_at: datetime
    ) -> None:
        """Record a failed attempt without changing the product's state."""
        self._connection.execute(
            RETRY_LATER,
            {
                "id": entry.product.id,
                "state": entry.state,
                "reason": reason,
                "attempts": attempts,
                "next_attempt_at": format_utc(next_attempt_at),
            },
        )

    def set_back(self, now: datetime) -> int:
        """Make products due that were queued while the clock was ahead; return their number."""
        return self._connection.execute(MAKE_DUE, {"now": format_utc(now)})

    def join(self, area: str, product_id: str) -> None:
        """Add a product to an area, such as that of the pinned or the dropped ones."""
        self._connection.execute(JOIN_AREA, {"area": area, "product_id": product_id})

    def release(self, area: str, ids: Iterable[str]) -> None:
        """Remove products from an area."""
        self._connection.execute(RELEASE, {"area": area, "ids": json.dumps(list(ids))})


def _new_row(
    product: Product, areas: Collection[str], priorities: Mapping[str, int], now: datetime
) -> dict[str, Any]:
    priority = max((priorities.get(area, 0) for area in areas), default=0)
    return _values(product) | {"priority": priority, "now": format_utc(now)}


def _values(product: Product) -> dict[str, Any]:
    # dataclasses.asdict copies every value, which takes ten times as long.
    row = {name: getattr(product, name) for name in PRODUCT_FIELDS}
    return row | {name: format_utc(row[name]) for name in TIMES}


def _step(
    entry: LedgerEntry, transition: Transition, to_state: State, now: datetime
) -> dict[str, Any]:
    return {
        "id": entry.product.id,
        "event": transition.event,
        "from_state": entry.state,
        "to_state": to_state,
        "reason": transition.reason,
        "now": format_utc(now),
    }
