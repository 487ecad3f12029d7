"""Pinned products: members of a pseudo-area, with the time and the command in their history."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.row_checksums import recomputed
from s2mirror.adapters.ledger.rows import decoded
from s2mirror.model import DROPPED, PINNED
from s2mirror.times import format_utc

PIN_EVENTS: Final = MappingProxyType({"pin": "product.pinned", "unpin": "product.unpinned"})
"""The name, as an event, of the entries that are no transitions."""
_GIVEN: Final = "product_id IN (SELECT value FROM json_each(:ids))"
_IS_PINNED: Final = f"""
EXISTS (SELECT 1 FROM membership WHERE area = '{PINNED}' AND product_id = product.id)
"""
_LOG: Final = """
INSERT INTO history (product_id, at, event, from_state, to_state, reason)
SELECT id, :now, :event, state, state, :reason FROM product
 WHERE id IN (SELECT value FROM json_each(:ids)) AND
"""
_LOG_PIN: Final = f"{_LOG} NOT {_IS_PINNED}"
_LOG_UNPIN: Final = f"{_LOG} {_IS_PINNED}"
_MEMBER: Final = {"area": f"'{PINNED}'", "product_id": "value"}
JOIN: Final = f"""
INSERT INTO membership (area, product_id, checksums)
SELECT '{PINNED}', value, {recomputed("membership", _MEMBER)} FROM json_each(:ids) WHERE 1
ON CONFLICT DO NOTHING
"""
_LEAVE: Final = f"DELETE FROM membership WHERE area = '{PINNED}' AND {_GIVEN}"
_FORGET_DROP: Final = f"DELETE FROM membership WHERE area = '{DROPPED}' AND {_GIVEN}"
_SINCE: Final = f"""
SELECT at, reason FROM history WHERE product_id = :id AND event = 'pin'
   AND EXISTS (SELECT 1 FROM membership WHERE area = '{PINNED}' AND product_id = :id)
 ORDER BY id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Pin:
    """When a product was pinned, and by which command."""

    at: datetime
    command: str


class Pins:
    """The pinned products of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, ids: Collection[str], *, command: str, now: datetime) -> None:
        """Pin known products, and forget that they were dropped. Pinned ones stay as they are."""
        params = {"ids": json.dumps(list(ids))}
        with self._connection.atomic():
            entry = {"now": format_utc(now), "event": "pin", "reason": f"s2mirror {command}"}
            self._connection.execute(_LOG_PIN, params | entry)
            self._connection.execute(JOIN, params)
            self._connection.execute(_FORGET_DROP, params)

    def remove(self, ids: Collection[str], *, command: str, now: datetime) -> None:
        """Unpin products."""
        params = {"ids": json.dumps(list(ids))}
        with self._connection.atomic():
            entry = {"now": format_utc(now), "event": "unpin", "reason": f"s2mirror {command}"}
            self._connection.execute(_LOG_UNPIN, params | entry)
            self._connection.execute(_LEAVE, params)

    def of(self, product_id: str) -> Pin | None:
        """Return when and by which command a product was pinned; None if it is not."""
        rows = self._connection.query(_SINCE, {"id": product_id})
        if not rows:
            return None
        path = self._connection.path
        return Pin(
            at=decoded(path, "history", "at", rows[0]["at"], key=product_id),
            command=rows[0]["reason"],
        )
