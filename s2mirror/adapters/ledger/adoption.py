"""Products that were on disk already, and that the ledger takes over as held."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.file_lists import FileLists
from s2mirror.adapters.ledger.items import Items
from s2mirror.adapters.ledger.products import Products
from s2mirror.adapters.ledger.row_checksums import checked, insert, require_intact
from s2mirror.lifecycle import IN_PROGRESS, Event
from s2mirror.model import DROPPED, Product, Transition, VerifiedFile
from s2mirror.radiometry import UNKNOWN_RADIOMETRY, Radiometry
from s2mirror.selection import WHOLE, Selection

# An adopted product did not arrive, so that its delay is no lag.
_AWAIT_NO_LAG: Final = "DELETE FROM lag_due WHERE product_id = :id"

_SOURCE: Final = {"product_id": ":id", "source": ":source"}
NOTE_SOURCE: Final = f"""
{insert("moved_source", _SOURCE)}
ON CONFLICT (product_id) DO UPDATE SET source = excluded.source, checksums = excluded.checksums
"""
_SOURCES: Final = f"SELECT product_id, source, {checked('moved_source')} FROM moved_source"
_END_MOVE: Final = "DELETE FROM moved_source WHERE product_id = :id"


class Taken(StrEnum):
    """The outcome of an adoption in the ledger."""

    ADOPTED = "adopted"
    """The product is held now."""
    HELD = "held"
    """The product was in this folder of the archive before; nothing changed."""
    HELD_ELSEWHERE = "held elsewhere"
    """The product is in another folder of the archive; nothing changed."""
    IN_PROGRESS = "in progress"
    """The product is being downloaded; nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedProduct:
    """A product in the archive tree whose every file is verified."""

    product: Product
    """Used only if the ledger does not know the product yet."""
    path: str
    """Its folder, relative to the archive root."""
    files: tuple[VerifiedFile, ...]
    areas: Collection[str]
    """The areas that want it. Memberships that the ledger has already stay."""
    selection: Selection = WHOLE
    whole_bytes: int | None = None
    """The size of all of its files, selected or not; None if unknown."""
    radiometry: Radiometry = UNKNOWN_RADIOMETRY
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The catalog's properties; empty if unknown."""
    processed: bool = False
    """Whether a consumer is done with it."""
    reason: str = ""
    """Where it came from, for its history."""
    moved_from: str = ""
    """The folder whose files are to be removed now; empty if they stay."""


class Adoption:
    """Adoptions in a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._products = Products(connection)
        self._file_lists = FileLists(connection)
        self._items = Items(connection)

    def take(self, adopted: AdoptedProduct, *, now: datetime) -> Taken:
        """Record a product as archived, or processed, in one transaction.

        A product that is held or being downloaded stays as it is. A removed, failed or waiting one
        becomes held. Raises LedgerError for a path that is not a folder of this product alone.
        """
        with self._connection.atomic():
            product_id = adopted.product.id
            if (obstacle := self._obstacle(product_id, adopted.path)) is not None:
                return obstacle
            areas = {product_id: adopted.areas}
            self._products.record([adopted.product], areas, priorities={}, now=now)
            self._products.release(DROPPED, [product_id])
            self._put_files(adopted)
            self._advance(adopted, now)
            if adopted.properties:
                self._items.keep({product_id: adopted.properties})
            self._connection.execute(_AWAIT_NO_LAG, {"id": product_id})
            if adopted.moved_from:
                params = {"id": product_id, "source": adopted.moved_from}
                self._connection.execute(NOTE_SOURCE, params)
            return Taken.ADOPTED

    def moved_sources(self) -> dict[str, str]:
        """Return the folders of moved products that still exist, or may, by product id."""
        rows = self._connection.query(_SOURCES)
        for row in rows:
            require_intact(self._connection.path, "moved_source", row)
        return {row["product_id"]: row["source"] for row in rows}

    def end_move(self, product_id: str) -> None:
        """Forget where a product was moved from, once its files are removed there."""
        self._connection.execute(_END_MOVE, {"id": product_id})

    def _obstacle(self, product_id: str, path: str) -> Taken | None:
        """Return why a product is not adopted; None if it can be."""
        entry = self._products.find([product_id]).get(product_id)
        if entry is None:
            return None
        if entry.state in IN_PROGRESS:
            return Taken.IN_PROGRESS
        if entry.path is not None:
            return Taken.HELD if entry.path == path else Taken.HELD_ELSEWHERE
        return None

    def _put_files(self, adopted: AdoptedProduct) -> None:
        """Record the file list and the selection of a product in the tree."""
        self._file_lists.put_staged(
            adopted.product.id,
            adopted.files,
            selection=adopted.selection,
            whole_bytes=adopted.whole_bytes,
            radiometry=adopted.radiometry,
        )
        self._file_lists.publish(adopted.product.id)

    def _advance(self, adopted: AdoptedProduct, now: datetime) -> None:
        adopt = Transition(
            event=Event.ADOPT,
            reason=adopted.reason,
            attempts=0,
            path=adopted.path,
            size_bytes=sum(file.size_bytes for file in adopted.files),
        )
        self._products.advance(self._products.get(adopted.product.id), adopt, now=now)
        if adopted.processed:
            mark = Transition(event=Event.MARK, reason=adopted.reason, attempts=0)
            self._products.advance(self._products.get(adopted.product.id), mark, now=now)
