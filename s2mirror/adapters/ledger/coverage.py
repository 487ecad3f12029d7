"""Which search has listed everything for each area, so that no other need list it again."""

import json
from collections.abc import Mapping
from typing import Final

from s2mirror.adapters.ledger.connection import Connection

NOTE: Final = """
INSERT INTO coverage (collection, area, fingerprint, search)
VALUES (:collection, :area, :fingerprint, :search)
ON CONFLICT (collection, area) DO UPDATE
   SET fingerprint = excluded.fingerprint, search = excluded.search
"""
# A search that never saw a product has no watermark, and then nor has its heir: all is news.
TAKE_OVER: Final = (
    """
    INSERT INTO cursor (search, watermark, listed_at, listed_count, new_count)
    SELECT :search, CASE WHEN count(watermark) = count(*) THEN min(watermark) END,
           min(listed_at), 0, 0
      FROM cursor WHERE search IN (SELECT value FROM json_each(:donors))
    """,
    """
    INSERT INTO sweep (search, kind, under_way, completed_at, found_late)
    SELECT :search, kind, 0, min(completed_at), sum(found_late)
      FROM sweep WHERE kind = 'full' AND search IN (SELECT value FROM json_each(:donors))
    """,
)
FORGET: Final = "DELETE FROM coverage WHERE area = :area"


class Coverage:
    """The coverage rows of a ledger. A fingerprint says what an area wants."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def searches(self, fingerprints: Mapping[str, str]) -> dict[tuple[str, str], str]:
        """Return, by collection and area, the search that has listed all an area wants now."""
        rows = self._connection.query("SELECT * FROM coverage")
        return {
            (row["collection"], row["area"]): row["search"]
            for row in rows
            if fingerprints.get(row["area"]) == row["fingerprint"]
        }

    def note(self, collection: str, fingerprints: Mapping[str, str], search: str) -> None:
        """Remember that a search has listed all that these areas want."""
        facts = {"collection": collection, "search": search}
        rows = [facts | {"area": a, "fingerprint": f} for a, f in fingerprints.items()]
        with self._connection.atomic():
            self._connection.execute_many(NOTE, rows)

    def take_over(self, collection: str, fingerprints: Mapping[str, str], search: str) -> None:
        """Let a new search go on where others stand, if together they cover its areas."""
        known = self.searches(fingerprints)
        donors = {known.get((collection, area)) for area in fingerprints}
        if None in donors or search in donors:
            return
        params = {"search": search, "donors": json.dumps(sorted(filter(None, donors)))}
        with self._connection.atomic():
            for statement in TAKE_OVER:
                self._connection.execute(statement, params)
            self.note(collection, fingerprints, search)

    def forget(self, area: str) -> None:
        """Forget that anything of an area was listed."""
        self._connection.execute(FORGET, {"area": area})
