"""Rows of the ledger as values; each row is checked first."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from s2mirror.adapters.ledger.row_checksums import checked, damaged, is_intact, require_intact
from s2mirror.errors import HostileInput, LedgerError
from s2mirror.layout import check_product_path
from s2mirror.lifecycle import State
from s2mirror.model import LedgerEntry, Product
from s2mirror.preview_model import Outcome
from s2mirror.selection import from_text
from s2mirror.times import parse_utc

TIMES: Final = ("sensed_at", "published_at", "generated_at")
PRODUCT_FIELDS: Final = tuple(field.name for field in fields(Product))
HELD_SELECTION: Final = f"""
(SELECT CASE WHEN {is_intact("selection")} THEN document ELSE 'damaged' END
   FROM selection WHERE product_id = p.id AND kind = 'held')
"""
ENTRY_ROWS: Final = f"""
SELECT p.rowid AS number, p.*, {checked("product", "p")},
       (SELECT json_group_array(CASE WHEN {is_intact("membership")} THEN area END)
          FROM membership WHERE product_id = p.id) AS areas,
       {HELD_SELECTION} AS selection,
       (SELECT verified_at FROM verification WHERE product_id = p.id) AS verified_at
  FROM product AS p
"""
"""Every row of the product table, for :func:`entry_of`."""
UNDECODABLE: Final = (ValueError, TypeError, KeyError, RecursionError)
DECODERS: Final[Mapping[tuple[str, str], tuple[str, Callable[[Any], Any]]]] = MappingProxyType(
    {
        ("history", "at"): ("product_id", parse_utc),
        ("event", "at"): ("id", parse_utc),
        ("transfer", "hour"): ("hour", parse_utc),
        ("preview", "outcome"): ("subject", Outcome),
        ("preview", "paths"): ("subject", json.loads),
        ("preview", "made_at"): ("subject", parse_utc),
        ("verification", "verified_at"): ("product_id", parse_utc),
        ("damage", "found_at"): ("product_id", parse_utc),
        ("damage", "tried_at"): ("product_id", parse_utc),
        ("scrub", "at"): ("id", parse_utc),
        ("trashed", "state"): ("product_id", State),
    }
)
"""By table and column without checksums: the column that names the row, and the decoder."""


def decoded(path: Path, table: str, column: str, value: object, *, key: str) -> Any:  # noqa: ANN401 - the decoder's result
    """Return the decoded value of a column. Raises LedgerError if that fails."""
    try:
        return DECODERS[table, column][1](value)
    except UNDECODABLE as error:
        raise damaged(path, table, key, column) from error


def entry_of(path: Path, row: Mapping[str, Any]) -> LedgerEntry:
    """Return a row of the product table as an entry; *path* is the ledger's, for errors.

    Raises LedgerError for a damaged row, and for a path that is not the product's own folder.
    """
    product = product_of(path, row)
    if row["selection"] == "damaged":
        raise damaged(path, "selection", product.id, "row")
    areas = json.loads(row["areas"])
    if None in areas:
        raise damaged(path, "membership", product.id, "area")
    return LedgerEntry(
        product=product,
        state=State(row["state"]),
        reason=row["reason"],
        attempts=row["attempts"],
        next_attempt_at=parse_utc(row["next_attempt_at"]),
        changed_at=parse_utc(row["changed_at"]),
        path=path_of(path, row),
        areas=tuple(sorted(areas)),
        selection=from_text(row["selection"] or "[]"),
        verified_at=_verified_at(path, row),
    )


def _verified_at(path: Path, row: Mapping[str, Any]) -> datetime | None:
    if row["verified_at"] is None:
        return None
    at: datetime = decoded(path, "verification", "verified_at", row["verified_at"], key=row["id"])
    return at


def product_of(path: Path, row: Mapping[str, Any]) -> Product:
    """Return the product of a row. Raises LedgerError for a damaged row."""
    require_intact(path, "product", row)
    values = {name: row[name] for name in PRODUCT_FIELDS}
    return Product(**values | {name: parse_utc(values[name]) for name in TIMES})


def path_of(path: Path, row: Mapping[str, Any]) -> str | None:
    """Return the folder of a row, or None. Raises LedgerError for a damaged row."""
    require_intact(path, "product", row)
    folder: str | None = row["path"]
    check_path(path, row["id"], folder)
    return folder


def check_path(path: Path, product_id: str, folder: str | None) -> None:
    """Raise LedgerError for a folder that is not this product's alone."""
    if folder is None:
        return
    try:
        check_product_path(product_id, folder)
    except HostileInput as error:
        raise LedgerError(
            f"ledger {path}: the stored path of {product_id} is {folder!r}, which is not this "
            "product's own folder in the archive; run `s2mirror audit --repair`"
        ) from error
