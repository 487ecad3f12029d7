"""The tables of products by area and state, and of held ones by baseline, and their triggers.

With these tables, a count reads a few rows instead of all products.
"""

from collections.abc import Iterator
from typing import Final

_TALLY: Final = """
CREATE TABLE tally (
  area TEXT NOT NULL,
  state TEXT NOT NULL,
  products INTEGER NOT NULL,
  size_bytes INTEGER NOT NULL,
  PRIMARY KEY (area, state)
) STRICT, WITHOUT ROWID
"""
_COUNT: Final = """
INSERT INTO tally (area, state, products, size_bytes) {rows}
ON CONFLICT (area, state) DO UPDATE
   SET products = products + excluded.products, size_bytes = size_bytes + excluded.size_bytes;
"""
_OF_PRODUCT: Final = """
SELECT area, {row}.state, {sign}1, {sign}coalesce({row}.size_bytes, 0)
  FROM (SELECT '' AS area UNION ALL SELECT area FROM membership WHERE product_id = {row}.id)
 WHERE true
"""
_OF_MEMBERSHIP: Final = """
SELECT {row}.area, state, {sign}1, {sign}coalesce(size_bytes, 0)
  FROM product WHERE id = {row}.product_id
"""
_BASELINES: Final = """
CREATE TABLE baseline_tally (
  area TEXT NOT NULL,
  collection TEXT NOT NULL,
  baseline TEXT NOT NULL,
  products INTEGER NOT NULL,
  PRIMARY KEY (area, collection, baseline)
) STRICT, WITHOUT ROWID
"""
_COUNT_BASELINE: Final = """
INSERT INTO baseline_tally (area, collection, baseline, products) {rows}
ON CONFLICT (area, collection, baseline) DO UPDATE SET products = products + excluded.products;
"""
_HELD: Final = """
SELECT area, {row}.collection, {row}.baseline, {sign}1
  FROM membership WHERE product_id = {row}.id AND {row}.path IS NOT NULL
"""
_HELD_MEMBER: Final = """
SELECT {row}.area, collection, baseline, {sign}1
  FROM product WHERE id = {row}.product_id AND path IS NOT NULL
"""
_MOVED: Final = "new.path IS NOT old.path OR new.baseline <> old.baseline"

RECOUNT: Final = (
    "DELETE FROM tally",
    """
    INSERT INTO tally (area, state, products, size_bytes)
    SELECT '', state, count(*), coalesce(sum(size_bytes), 0) FROM product GROUP BY state
     UNION ALL
    SELECT area, state, count(*), coalesce(sum(size_bytes), 0)
      FROM product JOIN membership ON product_id = id GROUP BY area, state
    """,
    "DELETE FROM baseline_tally",
    """
    INSERT INTO baseline_tally (area, collection, baseline, products)
    SELECT area, collection, baseline, count(*)
      FROM product JOIN membership ON product_id = id
     WHERE path IS NOT NULL GROUP BY area, collection, baseline
    """,
)


def _count(rows: str, row: str = "new", sign: str = "", *, into: str = _COUNT) -> str:
    """Return the SQL that changes the counts of a table by some rows."""
    return into.format(rows=rows.format(row=row, sign=sign))


def tally() -> Iterator[str]:
    """Yield the SQL of the tables of counts, and of the triggers that keep them."""
    yield _TALLY
    added = _count("VALUES ('', new.state, 1, coalesce(new.size_bytes, 0))")
    changed = _count(_OF_PRODUCT, "old", "-") + _count(_OF_PRODUCT)
    joined, left = _count(_OF_MEMBERSHIP), _count(_OF_MEMBERSHIP, "old", "-")
    for name, event, body in (
        ("insert", "INSERT ON product", added),
        ("update", "UPDATE OF state, size_bytes ON product", changed),
        ("join", "INSERT ON membership", joined),
        ("release", "DELETE ON membership", left),
    ):
        yield f"CREATE TRIGGER tally_{name} AFTER {event} BEGIN {body} END"
    yield from _baselines()


def _baselines() -> Iterator[str]:
    """Yield the SQL of the table of held products by baseline, and of its triggers."""
    yield _BASELINES
    for event, rows in (
        (f"UPDATE OF path, baseline ON product WHEN {_MOVED}", (("old", "-"), ("new", ""))),
        ("INSERT ON membership", (("new", ""),)),
        ("DELETE ON membership", (("old", "-"),)),
    ):
        held = _HELD if "product" in event else _HELD_MEMBER
        body = "".join(_count(held, *of, into=_COUNT_BASELINE) for of in rows)
        name = event.partition(" ")[0].lower()
        yield f"CREATE TRIGGER baseline_tally_{name} AFTER {event} BEGIN {body} END"
