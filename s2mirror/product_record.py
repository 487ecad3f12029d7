"""A product record: what the ledger knows of one product, as a small JSON file beside the archive.

The records exist so that a lost ledger can be made again. A record contains the rows of the ledger
as they are, and the SHA-256 of its content; a record that does not match it is not used.
"""

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from s2mirror.errors import HostileInput
from s2mirror.naming import check_product_id

SCHEMA: Final = 1
"""Increases when a reader of earlier records could not read new ones."""
MAX_RECORD_BYTES: Final = 4 * 1024**2
"""Real records have about 10 kB; a longer file is no record."""
_BYTES: Final = "base64"
Value = str | int | float | bytes | None
Rows = Mapping[str, Sequence[Mapping[str, Value]]]
"""Rows by table of the ledger, each row by column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductRecord:
    """The rows of one product."""

    product_id: str
    rows: Rows


def pack(record: ProductRecord) -> bytes:
    """Return the content of the file of a record; the same for equal records."""
    content = {"schema": SCHEMA, "product": record.product_id, "rows": record.rows}
    text = json.dumps(content, default=_encoded, sort_keys=True, separators=(",", ":"))
    return f'{{"sha256":"{_digest(text)}","record":{text}}}\n'.encode()


def unpack(data: bytes, product_id: str) -> ProductRecord:
    """Return the record of a product from the content of its file.

    Raises HostileInput, with the reason, for anything else.
    """
    try:
        return _record(data, product_id)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HostileInput(f"it is damaged: {error or type(error).__name__}") from error


def _record(data: bytes, product_id: str) -> ProductRecord:
    if len(data) > MAX_RECORD_BYTES:
        raise ValueError(f"it has more than {MAX_RECORD_BYTES} B")
    document = json.loads(data)
    content = document["record"]
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    if document["sha256"] != _digest(text):
        raise ValueError("its content does not match its checksum")
    if content["schema"] != SCHEMA:
        raise ValueError(
            f"its format is {content['schema']!r}, and this version reads {SCHEMA}; another "
            "version of s2mirror wrote it"
        )
    if content["product"] != check_product_id(product_id):
        raise ValueError(f"it is the record of {content['product']!r}")
    rows = {table: [_row(row) for row in found] for table, found in content["rows"].items()}
    return ProductRecord(product_id=product_id, rows=rows)


def _row(row: Mapping[str, Any]) -> dict[str, Value]:
    return {column: _decoded(value) for column, value in row.items()}


def _decoded(value: Any) -> Value:  # noqa: ANN401 - parsed JSON
    if isinstance(value, dict):
        return b64decode(value[_BYTES], validate=True)
    if isinstance(value, bool) or not isinstance(value, str | int | float | None):
        raise TypeError(f"{value!r} is no value of a row")
    return value


def _encoded(value: object) -> dict[str, str]:
    """Return what JSON has for a value that it lacks."""
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} is no value of a row")
    return {_BYTES: b64encode(value).decode()}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
