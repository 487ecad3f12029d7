"""All rows of a product, to write them beside the archive and to make a lost ledger again."""

import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from s2mirror.adapters.ledger.changes import ChangeKind
from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.file_lists import files_in
from s2mirror.adapters.ledger.reading import ProductReader
from s2mirror.adapters.ledger.row_checksums import TABLES, checked, insert, require_intact
from s2mirror.adapters.ledger.rows import UNDECODABLE
from s2mirror.adapters.ledger.schema import sql_states
from s2mirror.adapters.ledger.tally import RECOUNT
from s2mirror.errors import HostileInput, LedgerError, UsageError
from s2mirror.lifecycle import GONE, IN_PROGRESS, State
from s2mirror.model import PINNED
from s2mirror.naming import check_relative_path
from s2mirror.process_model import RunState
from s2mirror.product_record import ProductRecord, Value

RECORDS: Final = "records"
"""The consumer of change notes that writes the product records."""
KINDS: Final = frozenset(ChangeKind)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Which rows of a table a record contains."""

    key: str
    """The column with the product's id."""
    columns: tuple[str, ...]
    where: str = "true"
    order: str = "rowid"


RECORDED: Final[Mapping[str, _Table]] = MappingProxyType(
    {
        "product": _Table(key="id", columns=tuple(TABLES["product"])),
        "membership": _Table(key="product_id", columns=tuple(TABLES["membership"]), order="area"),
        "file_list": _Table(
            key="product_id", columns=tuple(TABLES["file_list"]), where="kind = 'held'"
        ),
        "selection": _Table(
            key="product_id",
            columns=tuple(TABLES["selection"]),
            where="kind IN ('held', 'asked')",
            order="kind",
        ),
        "item": _Table(key="product_id", columns=("product_id", "properties")),
        "deletion": _Table(key="product_id", columns=tuple(TABLES["deletion"])),
        "preview": _Table(
            key="subject",
            columns=("subject", "name", "outcome", "paths", "reason", "made_at", "units"),
            order="name",
        ),
        "verification": _Table(key="product_id", columns=("product_id", "verified_at")),
        "trashed": _Table(key="product_id", columns=("product_id", "state", "path")),
        "damage": _Table(key="product_id", columns=("product_id", "found_at", "detail")),
        "process_state": _Table(
            key="product_id", columns=tuple(TABLES["process_state"]), order="entry"
        ),
        "process_run": _Table(
            key="product_id",
            columns=(
                *("product_id", "entry", "attempt", "began_at", "ended_at", "outcome"),
                *("exit_code", "output"),
            ),
            order="entry, attempt",
        ),
        "history": _Table(
            key="product_id",
            columns=("product_id", "at", "event", "from_state", "to_state", "reason"),
            order="id",
        ),
    }
)
"""The tables of a record, in the order in which their rows are inserted."""
NOTE_KNOWN: Final = f"""
INSERT INTO change (consumer, product_id, kind, at)
SELECT :consumer, id, 'published', changed_at FROM product
 WHERE path IS NOT NULL OR state IN {sql_states(GONE)} OR EXISTS (
   SELECT 1 FROM membership WHERE product_id = id AND area = '{PINNED}')
"""
_DELETE: Final = tuple(
    f"DELETE FROM {table} WHERE {key} = :id"
    for table, key in (
        *((table, "product_id") for table in ("removal", "move", "preview_due")),
        *((table, spec.key) for table, spec in RECORDED.items() if table != "product"),
        ("product", "id"),
    )
)
_PACKED: Final = MappingProxyType({"file_list": "document", "item": "properties"})
"""The columns with compressed documents."""
_MAX_UNPACKED_BYTES: Final = 16 * 1024**2


class ProductRecords:
    """The rows of products in a ledger, by product."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def note_all(self) -> int:
        """Note every product that needs a record as changed; return the number of products."""
        return self._connection.execute(NOTE_KNOWN, {"consumer": RECORDS})

    def of(self, ids: Iterable[str]) -> dict[str, ProductRecord]:
        """Return the records of those of *ids* that the ledger has.

        A product with a damaged row is left out: its last record is the better one.
        """
        params = {"ids": json.dumps(sorted(ids))}
        with self._connection.atomic():  # one state of the ledger
            found = {name: self._by_product(name, params) for name in RECORDED}
        damaged = {key for rows in found.values() for key, own in rows.items() if own is None}
        return {
            key: ProductRecord(
                product_id=key,
                rows={table: own for table, rows in found.items() if (own := rows.get(key))},
            )
            for key in found["product"].keys() - damaged
        }

    def _by_product(
        self, table: str, params: Mapping[str, str]
    ) -> dict[str, list[Mapping[str, Value]] | None]:
        """Return the rows of a table by product; None for a product with a damaged one."""
        found: dict[str, list[Mapping[str, Value]] | None] = {}
        spec = RECORDED[table]
        for row in self._connection.query(_select(table, spec), params):
            own = found.setdefault(row[spec.key], [])
            try:
                if table in TABLES:
                    require_intact(self._connection.path, table, row)
            except LedgerError:
                found[row[spec.key]] = None
            else:
                if own is not None:
                    own.append({column: row[column] for column in spec.columns})
        return found

    def put(self, record: ProductRecord) -> bool:
        """Replace the rows of a product by those of its record; return whether that was necessary.

        It is not if they are the same, or if the record is the older one. A download that was under
        way is queued again. Call :meth:`recount` at the end. Raises
        HostileInput for rows that no ledger has, and then changes none.
        """
        known = self.of([record.product_id]).get(record.product_id)
        if known is not None and (known == record or _is_older(record, known)):
            return False
        self._replace(record)
        return True

    def recount(self) -> None:
        """Count the products again that the triggers have not counted."""
        with self._connection.atomic():
            for statement in RECOUNT:
                self._connection.execute(statement)

    def _replace(self, record: ProductRecord) -> None:
        try:
            with self._connection.atomic():
                # The new row has the key of the one that others refer to.
                self._connection.execute("PRAGMA defer_foreign_keys = ON")
                for statement in _DELETE:
                    self._connection.execute(statement, {"id": record.product_id})
                for table, row in _checked_rows(record):
                    self._connection.execute(_insert(table), row)
                ProductReader(self._connection).get(record.product_id)
        except LedgerError as error:
            cause = error.__cause__
            if isinstance(cause, sqlite3.Error) and not isinstance(cause, sqlite3.IntegrityError):
                raise  # such as a full disk: no fault of the record
            raise HostileInput(f"its rows cannot be used: {error}") from error
        except (*UNDECODABLE, OverflowError, UsageError, zlib.error) as error:
            raise HostileInput(f"its rows cannot be used: {error}") from error


def _is_older(record: ProductRecord, known: ProductRecord) -> bool:
    """Return whether the history of a product continues in the ledger after its record.

    A record may be older than a backup: the backup can contain changes whose records were not
    written yet, and records are no longer written once they are switched off. Times are compared
    only if the ledger no longer has the older history, as it is with removed products.
    """
    history, later = record.rows.get("history", ()), known.rows.get("history", ())
    if not history:
        return False
    last, (product,) = history[-1], known.rows["product"]
    if last in later:
        return last != later[-1]
    return product["state"] in GONE and str(last.get("at")) < str(product["changed_at"])


def _select(table: str, spec: _Table) -> str:
    sums = f", {checked(table)}" if table in TABLES else ""
    return (
        f"SELECT {', '.join(f'{table}.{column}' for column in spec.columns)}{sums} FROM {table} "
        f"WHERE {spec.key} IN (SELECT value FROM json_each(:ids)) AND {spec.where} "
        f"ORDER BY {spec.key}, {spec.order}"
    )


def _insert(table: str) -> str:
    values = {column: f":{column}" for column in RECORDED[table].columns}
    if table in TABLES:
        return insert(table, values)
    # A trigger has inserted a verification with the product.
    columns, expressions = ", ".join(values), ", ".join(values.values())
    return f"INSERT OR REPLACE INTO {table} ({columns}) VALUES ({expressions})"


def _checked_rows(record: ProductRecord) -> Iterator[tuple[str, Row]]:
    """Yield table and row, in the order of insertion. Raises HostileInput for unknown ones."""
    if unknown := record.rows.keys() - RECORDED.keys():
        raise HostileInput(f"it has rows of the unknown table {min(unknown)!r}")
    for table, spec in RECORDED.items():
        for row in record.rows.get(table, ()):
            if row.keys() != set(spec.columns):
                raise HostileInput(f"a row of the table {table} has other columns")
            if row[spec.key] != record.product_id:
                raise HostileInput(f"a row of the table {table} is of another product")
            yield table, _checked_row(table, dict(row))


def _checked_row(table: str, row: Row) -> Row:
    """Return a row as it is inserted; raise one of the errors of a value that cannot be read."""
    if table == "product" and row["state"] in IN_PROGRESS:
        row["state"] = State.QUEUED.value
    elif table == "process_state" and row["state"] == RunState.RUNNING:
        row["state"] = RunState.WAITING.value
    elif table in _PACKED:
        _require_small(row[_PACKED[table]])
        if table == "file_list":
            files_in(row["document"])
    elif table == "preview":
        for path in json.loads(row["paths"]):
            check_relative_path(path)
    return row


def _require_small(packed: bytes) -> None:
    """Raise ValueError for compressed data that would fill the memory."""
    while packed:
        opener = zlib.decompressobj()
        opener.decompress(packed, _MAX_UNPACKED_BYTES)
        if opener.unconsumed_tail:
            raise ValueError(f"it has a document of more than {_MAX_UNPACKED_BYTES} B")
        packed = opener.unused_data
