"""How long new images take to reach the mirror: three histograms per area, kept as they happen.

Only products that were published while their area was watched are counted: after the first complete
listing of the area with its present filters (``coverage.watched_since``). The lags of a backfill
would tell the age of the archive instead.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import accumulate, groupby
from typing import Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.model import Product
from s2mirror.times import format_utc

UPPER_BOUNDS_SECONDS: Final = (
    *(300, 900, 1800),
    *(hours * 3600 for hours in (1, 2, 3, 6, 12, 24, 48, 168, 720)),
)
"""The upper bounds of the buckets, included; one more bucket has all longer lags."""
_BEYOND: Final = -1
"""Stands for the upper bound of the last bucket."""


class Lag(StrEnum):
    """A part of the time from an image's sensing to its place in the archive."""

    SENSED_TO_PUBLISHED = "sensed_to_published"
    PUBLISHED_TO_SEEN = "published_to_seen"
    SEEN_TO_ARCHIVED = "seen_to_archived"


@dataclass(frozen=True, slots=True, kw_only=True)
class LagHistogram:
    """The distribution of one lag of one area, since the area was first watched."""

    area: str
    lag: Lag
    upper_bounds_seconds: tuple[int, ...]
    """Of every bucket but the last, which has no upper bound."""
    counts: tuple[int, ...]
    """Products of each bucket alone, not cumulative; one more than there are bounds."""
    count: int
    """The number of products."""
    sum_seconds: float
    median_at_most_seconds: int | None
    """The upper bound of the bucket of the median; None if that is the last bucket."""


_ADD: Final = """
INSERT INTO lag (area, name, upper_seconds, products, sum_seconds) {rows}
ON CONFLICT (area, name, upper_seconds) DO UPDATE
   SET products = products + excluded.products, sum_seconds = sum_seconds + excluded.sum_seconds
"""
ADD: Final = _ADD.format(rows="VALUES (:area, :lag, :upper_seconds, 1, :seconds)")
AWAIT: Final = """
INSERT OR REPLACE INTO lag_due (product_id, area, seen_at) VALUES (:product_id, :area, :now)
"""
_WATCHED: Final = """
SELECT area, watched_since FROM coverage WHERE collection = :collection
"""
_ALL: Final = "SELECT * FROM lag ORDER BY area, name"
# Runs in the transaction that records the publication, so that each is counted once.
_ARCHIVED: Final = _ADD.format(
    rows=f"""
    SELECT area, '{Lag.SEEN_TO_ARCHIVED}',
           coalesce((SELECT min(value) FROM json_each('{[*UPPER_BOUNDS_SECONDS]}')
                      WHERE value >= seconds), {_BEYOND}), 1, seconds
      FROM (SELECT area, max(0.0, 86400 * (julianday(new.changed_at) - julianday(seen_at)))
                AS seconds
              FROM lag_due WHERE product_id = new.id) WHERE seconds IS NOT NULL
    """
)


def lag_tables(gone: str) -> tuple[str, ...]:
    """Return the SQL of the tables and triggers; *gone* is the SQL list of states."""
    return (
        """
        CREATE TABLE lag (
          area TEXT NOT NULL,
          name TEXT NOT NULL,
          upper_seconds INTEGER NOT NULL,
          products INTEGER NOT NULL,
          sum_seconds REAL NOT NULL,
          PRIMARY KEY (area, name, upper_seconds)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TABLE lag_due (
          product_id TEXT NOT NULL,
          area TEXT NOT NULL,
          seen_at TEXT NOT NULL,
          PRIMARY KEY (product_id, area)
        ) STRICT, WITHOUT ROWID
        """,
        f"""
        CREATE TRIGGER lag_archived AFTER UPDATE OF state ON product
          WHEN new.state = 'archived' AND old.state = 'verified'
          BEGIN {_ARCHIVED}; DELETE FROM lag_due WHERE product_id = new.id; END
        """,
        f"""
        CREATE TRIGGER lag_given_up AFTER UPDATE OF state ON product WHEN new.state IN {gone}
          BEGIN DELETE FROM lag_due WHERE product_id = new.id; END
        """,
    )


class Lags:
    """The lag rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note_seen(
        self, new: Iterable[Product], areas: Mapping[str, Collection[str]], *, now: datetime
    ) -> None:
        """Count the first two lags of *new* products, and await the third.

        *areas* maps product ids to area names. Call it in the transaction that records them.
        """
        watched: dict[str, dict[str, str]] = {}
        for product in new:
            if product.collection not in watched:
                watched[product.collection] = self._watched(product.collection)
            # Compared as text, so that a damaged time is no error.
            published_at, since = format_utc(product.published_at), watched[product.collection]
            for area in areas[product.id]:
                if area in since and since[area] <= published_at:
                    self._note(product, area, now)

    def histograms(self) -> tuple[LagHistogram, ...]:
        """Return the histograms of every area with a counted product, by area and lag."""
        rows = self._connection.query(_ALL)
        groups = groupby(rows, key=lambda row: (row["area"], row["name"]))
        return tuple(
            _histogram(area, Lag(name), [*found])
            for (area, name), found in groups
            if name in set(Lag)  # a damaged name is no lag
        )

    def _watched(self, collection: str) -> dict[str, str]:
        rows = self._connection.query(_WATCHED, {"collection": collection})
        return {row["area"]: row["watched_since"] for row in rows}

    def _note(self, product: Product, area: str, now: datetime) -> None:
        published_at = product.published_at
        for lag, seconds in (
            (Lag.SENSED_TO_PUBLISHED, (published_at - product.sensed_at).total_seconds()),
            (Lag.PUBLISHED_TO_SEEN, (now - published_at).total_seconds()),
        ):
            params = {
                "area": area,
                "lag": lag,
                "upper_seconds": _upper_bound(seconds),
                "seconds": max(0.0, seconds),
            }
            self._connection.execute(ADD, params)
        self._connection.execute(
            AWAIT, {"product_id": product.id, "area": area, "now": format_utc(now)}
        )


def _histogram(area: str, lag: Lag, rows: list[Row]) -> LagHistogram:
    found = Counter({row["upper_seconds"]: row["products"] for row in rows})
    counts = tuple(found[bound] for bound in (*UPPER_BOUNDS_SECONDS, _BEYOND))
    return LagHistogram(
        area=area,
        lag=lag,
        upper_bounds_seconds=UPPER_BOUNDS_SECONDS,
        counts=counts,
        count=sum(counts),
        sum_seconds=sum(row["sum_seconds"] for row in rows),
        median_at_most_seconds=_median(counts),
    )


def _median(counts: tuple[int, ...]) -> int | None:
    bounds = zip(UPPER_BOUNDS_SECONDS, accumulate(counts), strict=False)
    return next((bound for bound, below in bounds if 2 * below >= sum(counts)), None)


def _upper_bound(seconds: float) -> int:
    return next((bound for bound in UPPER_BOUNDS_SECONDS if seconds <= bound), _BEYOND)
