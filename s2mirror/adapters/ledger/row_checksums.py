"""A checksum for each column of the rows that steer removal and verification.

SQLite does not check its file: a flipped bit in a path or a state makes another path or state. Each
row of the tables below therefore has ``checksums``: a CRC-32 of each of its columns, seeded with
the row's key, so that a value of another row does not match either. Every write of a row computes
them again, and only if the previous ones match, so that no later change hides a damaged value.
Every read of a row compares them and names the columns that differ.
"""

import sqlite3
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from s2mirror.errors import LedgerError

CHECKSUM_BYTES: Final = 4
TABLES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "product": {
            "id": "TEXT",
            "collection": "TEXT",
            "platform": "TEXT",
            "tile": "TEXT",
            "baseline": "TEXT",
            "relative_orbit": "INTEGER",
            "sensed_at": "TEXT",
            "published_at": "TEXT",
            "generated_at": "TEXT",
            "cloud_cover_percent": "REAL",
            "size_bytes": "INTEGER",
            "s3_prefix": "TEXT",
            "datatake_id": "TEXT",
            "datastrip_id": "TEXT",
            "revision": "TEXT",
            "footprint_wkb": "BLOB",
            "state": "TEXT",
            "reason": "TEXT",
            "priority": "INTEGER",
            "attempts": "INTEGER",
            "next_attempt_at": "TEXT",
            "changed_at": "TEXT",
            "path": "TEXT",
        },
        "file_list": {"product_id": "TEXT", "kind": "TEXT", "document": "BLOB"},
        "selection": {
            "product_id": "TEXT",
            "kind": "TEXT",
            "document": "TEXT",
            "whole_bytes": "INTEGER",
        },
        "deletion": {
            "product_id": "TEXT",
            "deleted_at": "TEXT",
            "cause": "TEXT",
            "listed": "INTEGER",
        },
        "removal": {"product_id": "TEXT", "event": "TEXT", "reason": "TEXT"},
        "moved_source": {"product_id": "TEXT", "source": "TEXT"},
        "request": {
            "id": "TEXT",
            "kind": "TEXT",
            "arguments": "TEXT",
            "renewed_at": "TEXT",
            "state": "TEXT",
            "answer": "TEXT",
        },
        "state_value": {"name": "TEXT", "value": "TEXT"},
        "membership": {"product_id": "TEXT", "area": "TEXT"},
        "process_state": {
            "product_id": "TEXT",
            "entry": "TEXT",
            "state": "TEXT",
            "priority": "INTEGER",
            "sensed_at": "TEXT",
            "attempt": "INTEGER",
            "failures": "INTEGER",
            "next_attempt_at": "TEXT",
            "failing_since": "TEXT",
            "reason": "TEXT",
            "asked": "INTEGER",
        },
        "cursor": {
            "search": "TEXT",
            "watermark": "TEXT",
            "listed_at": "TEXT",
            "listed_count": "INTEGER",
            "new_count": "INTEGER",
            "error": "TEXT",
            "error_at": "TEXT",
        },
        "sweep": {
            "search": "TEXT",
            "kind": "TEXT",
            "under_way": "INTEGER",
            "reached": "TEXT",
            "completed_at": "TEXT",
            "found_late": "INTEGER",
        },
    }
)
"""Columns and their types by table; the first is the key that seeds the checksums."""
_ARGUMENT: Final[Mapping[str, str]] = MappingProxyType(
    {
        # As bytes, because damaged text cannot be passed. A value of another type becomes NULL.
        "TEXT": "CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) END",
        "BLOB": "CASE typeof({0}) WHEN 'blob' THEN {0} END",
        "INTEGER": "CASE typeof({0}) WHEN 'integer' THEN {0} END",
        "REAL": "CASE WHEN typeof({0}) IN ('integer', 'real') THEN CAST({0} AS REAL) END",
    }
)
Stored = bytes | int | float | None


def register(connection: sqlite3.Connection) -> None:
    """Register the SQL function ``checksums_of`` for a connection."""
    connection.create_function("checksums_of", -1, checksums_of, deterministic=True)


def checksums_of(*values: Stored) -> bytes:
    """Return the checksums of a row, from its values in the order of ``TABLES``."""
    seed = checksum(values[0], 0)
    return b"".join([checksum(value, seed).to_bytes(CHECKSUM_BYTES) for value in values])


def checksum(value: Stored, seed: int) -> int:
    """Return the checksum of one value."""
    if isinstance(value, bytes):
        return zlib.crc32(value, seed)
    return zlib.crc32(b"\0" + repr(value).encode(), seed)


def arguments(table: str, changed: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """Yield the arguments of ``checksums_of`` as SQL; *changed* are expressions by column."""
    for column, kind in TABLES[table].items():
        yield _ARGUMENT[kind].format(changed.get(column, f"{table}.{column}"))


def recomputed(table: str, changed: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return SQL for the checksums of a row of *table* with *changed* columns."""
    return f"checksums_of({', '.join(arguments(table, changed))})"


def is_intact(table: str) -> str:
    """Return SQL for whether a row of *table* is undamaged."""
    return f"{table}.checksums = {recomputed(table)}"


def insert(table: str, values: Mapping[str, str]) -> str:
    """Return the statement that inserts a row of expressions by column; the others are NULL."""
    absent = {column: values.get(column, "NULL") for column in TABLES[table]}
    return (
        f"INSERT INTO {table} ({', '.join(values)}, checksums) "
        f"VALUES ({', '.join(values.values())}, {recomputed(table, absent)})"
    )


def update(table: str, changed: Mapping[str, str], where: str, *, verb: str = "UPDATE") -> str:
    """Return the statement that changes intact rows of *table* to expressions by column."""
    changes = ", ".join(f"{column} = {expression}" for column, expression in changed.items())
    return (
        f"{verb} {table} SET {changes}, checksums = {recomputed(table, changed)} "
        f"WHERE ({where}) AND {is_intact(table)}"
    )


def upsert(
    table: str, values: Mapping[str, str], changed: Mapping[str, str], *, conflict: str
) -> str:
    """Return the statement that inserts a row, or changes the intact one with the same key."""
    changes = ", ".join(f"{column} = {expression}" for column, expression in changed.items())
    return (
        f"{insert(table, values)} ON CONFLICT ({conflict}) DO UPDATE "
        f"SET {changes}, checksums = {recomputed(table, changed)} WHERE {is_intact(table)}"
    )


def checked(table: str, alias: str = "") -> str:
    """Return SQL for the two columns that :func:`require_intact` compares."""
    name = alias or table
    values = {column: f"{name}.{column}" for column in TABLES[table]}
    return f"{name}.checksums, {recomputed(table, values)} AS recomputed"


def require_intact(path: Path, table: str, row: Mapping[str, Any]) -> None:
    """Raise LedgerError, with product and columns, if a row is damaged."""
    if row["checksums"] != row["recomputed"]:
        key = next(iter(TABLES[table]))
        columns = damaged_columns(table, row["checksums"], row["recomputed"])
        raise damaged(path, table, row[key], *columns)


def damaged(path: Path, table: str, key: str, *columns: str) -> LedgerError:
    """Return the error for damaged columns of a row."""
    return LedgerError(
        f"ledger {path}: the stored {', '.join(columns)} of {key} (table {table}) is damaged; run "
        "`s2mirror audit --repair`, which restores it"
    )


def damaged_columns(table: str, written: object, found: bytes) -> tuple[str, ...]:
    """Return the columns whose checksums differ; the key if all do, as it is their seed."""
    names = tuple(TABLES[table])
    if not isinstance(written, bytes) or len(written) != len(found):
        return ("checksums",)
    parts = [slice(at, at + CHECKSUM_BYTES) for at in range(0, len(found), CHECKSUM_BYTES)]
    differing = tuple(
        name for name, part in zip(names, parts, strict=True) if written[part] != found[part]
    )
    return names[:1] if len(differing) == len(names) else differing
