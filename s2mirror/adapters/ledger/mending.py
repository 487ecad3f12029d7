"""Finds damaged rows by their checksums, and restores them.

A flipped bit is the usual damage, and the CRC-32 of a short value identifies it: of all values that
differ in one bit, only the right one has the stored checksum. A row with more damage is deleted in
such a way that a later sync finds its values again.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.processing import PLAN_ALL
from s2mirror.adapters.ledger.row_checksums import (
    CHECKSUM_BYTES,
    TABLES,
    Stored,
    arguments,
    checksum,
    checksums_of,
    damaged_columns,
    recomputed,
)
from s2mirror.adapters.ledger.rows import DECODERS, UNDECODABLE
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.adapters.ledger.tally import RECOUNT
from s2mirror.adapters.ledger.verifications import UNKNOWN
from s2mirror.lifecycle import GONE

_SEARCHED_BYTES: Final = 32 * 1024
"""In longer values, the search for a flipped bit would take minutes."""
_FORGET_PRODUCT: Final = (
    *(
        f"DELETE FROM {table} WHERE product_id = :key"
        for table in (
            *("membership", "file_list", "selection", "removal", "moved_source", "trashed"),
            *("preview_due", "item", "verification", "damage"),
            *("process_state", "process_queue", "process_run"),
        )
    ),
    "DELETE FROM product WHERE rowid = :number",
)
# Every search then lists its whole period again, including the deleted products.
_FORGET_SEARCHES: Final = tuple(f"DELETE FROM {table}" for table in ("cursor", "sweep", "coverage"))
_FIND_AGAIN: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        # The feed of deletions is read again from its beginning.
        "deletion": ("DELETE FROM state_value WHERE name = 'deletions.read_until'",),
        "membership": _FORGET_SEARCHES,
        "verification": (UNKNOWN,),
        "process_state": (PLAN_ALL,),
    }
)
# The last state in the history, if the product was removed on purpose: it stays removed.
_STAYS_GONE: Final = f"""
SELECT to_state, at FROM history WHERE product_id = :key
   AND id = (SELECT max(id) FROM history WHERE product_id = :key)
   AND to_state IN {sql_states(GONE)}
"""
_LONG_AGO: Final = "'1970-01-01T00:00:00.000000+00:00'"
_UNKNOWN: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(TABLES["product"], "''")
    | dict.fromkeys(("relative_orbit", "priority", "attempts"), "0")
    | dict.fromkeys(("cloud_cover_percent", "size_bytes", "path"), "NULL")
    | dict.fromkeys(("sensed_at", "published_at", "generated_at", "next_attempt_at"), _LONG_AGO)
    | {"footprint_wkb": "x'010300000000000000'", "state": ":state", "changed_at": ":at"}
)
"""The values of a removed product in place of damaged ones. The footprint is an empty polygon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DamagedRow:
    """A row whose values differ from the written ones."""

    table: str
    number: int
    key: str
    """The product's ID, or the name of the state value."""
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.columns)} (table {self.table})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    """The outcome of mending a ledger."""

    restored: tuple[DamagedRow, ...]
    """Rows that have their written values again."""
    forgotten: tuple[DamagedRow, ...]
    """Rows that are deleted; the next sync finds the products again."""


def damaged_rows(
    connection: Connection, tables: Sequence[str] = tuple(TABLES)
) -> tuple[DamagedRow, ...]:
    """Return the damaged rows of *tables*. This reads all of their rows."""
    return tuple(row for table in tables for row in _damaged_in(connection, table))


def _damaged_in(connection: Connection, table: str) -> Iterator[DamagedRow]:
    key = next(iter(TABLES[table]))
    found = recomputed(table)
    rows = connection.query(
        f"SELECT rowid AS number, {key} AS key, checksums, {found} AS recomputed FROM {table}"
        f" WHERE checksums IS NOT {found}"
    )
    for row in rows:
        columns = damaged_columns(table, row["checksums"], row["recomputed"])
        yield DamagedRow(table=table, number=row["number"], key=str(row["key"]), columns=columns)


def mend(connection: Connection) -> Mended:
    """Restore the damaged rows, and delete those that cannot be restored.

    Call it while no other program uses the ledger. It also rebuilds indexes and counts.
    """
    connection.execute("REINDEX")
    with connection.atomic():
        before = damaged_rows(connection)
        restored = tuple(row for row in before if _restore(connection, row))
        forgotten = damaged_rows(connection)
        for row in forgotten:
            _forget(connection, row)
        unreadable = tuple(_unreadable(connection))
        for row in unreadable:
            _forget(connection, row)
        for statement in RECOUNT:
            connection.execute(statement)
    return Mended(restored=restored, forgotten=forgotten + unreadable)


def _unreadable(connection: Connection) -> Iterator[DamagedRow]:
    """Yield the rows without checksums that have a value of which nothing can be made."""
    for (table, column), (key, decode) in DECODERS.items():
        sql = f"SELECT rowid AS number, {key} AS key, {column} AS value FROM {table}"
        for row in connection.query(sql):
            try:
                decode(row["value"])
            except UNDECODABLE:
                name, number = str(row["key"]), row["number"]
                yield DamagedRow(table=table, number=number, key=name, columns=(column,))


def _forget(connection: Connection, row: DamagedRow) -> None:
    params = {"key": row.key, "number": row.number}
    if row.table != "product":
        connection.execute(f"DELETE FROM {row.table} WHERE rowid = :number", {"number": row.number})
        for statement in _FIND_AGAIN.get(row.table, ()):
            connection.execute(statement)
        return
    if gone := connection.query(_STAYS_GONE, {"key": row.key}):
        changed = {name: _UNKNOWN[name] for name in (*row.columns, "state", "path", "changed_at")}
        changes = ", ".join(f"{name} = {value}" for name, value in changed.items())
        connection.execute(
            f"UPDATE product SET {changes}, checksums = {recomputed('product', changed)}"
            " WHERE rowid = :number",
            {"number": row.number, "state": gone[0]["to_state"], "at": gone[0]["at"]},
        )
        return
    for statement in (*_FORGET_PRODUCT, *_FORGET_SEARCHES):
        used = {name: value for name, value in params.items() if f":{name}" in statement}
        connection.execute(statement, used)


def _restore(connection: Connection, row: DamagedRow) -> bool:
    """Restore a row if flipped bits explain its damage; return whether it was restored."""
    names = [f"{argument} AS v{n}" for n, argument in enumerate(arguments(row.table))]
    sql = f"SELECT {', '.join(names)}, checksums FROM {row.table} WHERE rowid = :number"
    (found,) = connection.query(sql, {"number": row.number})
    written, values = found.pop("checksums"), list(found.values())
    right = _restored(values, _numbers(written, len(values)))
    if right is None:
        return False
    columns = TABLES[row.table]
    changes = [
        f"{column} = {f'CAST(:v{n} AS TEXT)' if kind == 'TEXT' else f':v{n}'}"
        for n, (column, kind) in enumerate(columns.items())
    ]
    params = {f"v{n}": value for n, value in enumerate(right)}
    connection.execute(
        f"UPDATE {row.table} SET {', '.join(changes)}, checksums = :sums WHERE rowid = :number",
        params | {"sums": checksums_of(*right), "number": row.number},
    )
    return True


def _numbers(written: object, count: int) -> list[int]:
    if not isinstance(written, bytes) or len(written) != count * CHECKSUM_BYTES:
        return []
    return list(struct.unpack(f">{count}I", written))


def _restored(values: Sequence[Stored], written: Sequence[int]) -> list[Stored] | None:
    """Return the written values, if each of *values* differs from them in one bit at most."""
    if not written:
        return None
    for key in (values[0], *_one_bit_off(values[0])):
        seed = checksum(key, 0)
        others = [_right(v, w, seed) for v, w in zip(values[1:], written[1:], strict=True)]
        first = _right(key, written[0], seed)
        if first and first[0] == key and all(others):
            return [key, *(other[0] for other in others if other)]
    return None


def _right(value: Stored, written: int, seed: int) -> tuple[Stored] | None:
    """Return, in a tuple, the value with that checksum: *value*, or one that differs in a bit."""
    found = checksum(value, seed)
    # No flipped bit of a value changes a single bit of its checksum: so the checksum is damaged.
    if (found ^ written).bit_count() <= 1:
        return (value,)
    return next(((near,) for near in _one_bit_off(value) if checksum(near, seed) == written), None)


def _one_bit_off(value: Stored) -> Iterator[Stored]:
    if isinstance(value, bytes):
        yield from _flipped(value if len(value) <= _SEARCHED_BYTES else b"")
    elif value is not None:
        form = ">q" if isinstance(value, int) else ">d"
        yield from (struct.unpack(form, near)[0] for near in _flipped(struct.pack(form, value)))


def _flipped(value: bytes) -> Iterator[bytes]:
    changed = bytearray(value)
    for place in range(len(value)):
        for bit in range(8):
            changed[place] ^= 1 << bit
            yield bytes(changed)
            changed[place] ^= 1 << bit
