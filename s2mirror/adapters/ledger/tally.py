"""The table of products and bytes by area and state, and the triggers that keep it.

With this table, a count reads a few rows instead of all products.
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

RECOUNT: Final = (
    "DELETE FROM tally",
    """
    INSERT INTO tally (area, state, products, size_bytes)
    SELECT '', state, count(*), coalesce(sum(size_bytes), 0) FROM product GROUP BY state
     UNION ALL
    SELECT area, state, count(*), coalesce(sum(size_bytes), 0)
      FROM product JOIN membership ON product_id = id GROUP BY area, state
    """,
)


def tally() -> Iterator[str]:
    """Yield the SQL of the table of counts, and of the triggers that keep it."""

    def count(rows: str, row: str = "new", sign: str = "") -> str:
        """Return the SQL that changes counts by some rows."""
        return _COUNT.format(rows=rows.format(row=row, sign=sign))

    yield _TALLY
    added = count("VALUES ('', new.state, 1, coalesce(new.size_bytes, 0))")
    changed = count(_OF_PRODUCT, "old", "-") + count(_OF_PRODUCT)
    joined, left = count(_OF_MEMBERSHIP), count(_OF_MEMBERSHIP, "old", "-")
    for name, event, body in (
        ("insert", "INSERT ON product", added),
        ("update", "UPDATE OF state, size_bytes ON product", changed),
        ("join", "INSERT ON membership", joined),
        ("release", "DELETE ON membership", left),
    ):
        yield f"CREATE TRIGGER tally_{name} AFTER {event} BEGIN {body} END"
