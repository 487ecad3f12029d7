"""The files of each product: requested, listed, and verified.

Up to three documents per product: the ``listing`` of the staged bytes, the verified ``staged``
files, and the ``proof`` of the files in the archive tree. They are compressed JSON; the last two
start with the paths, compressed separately, so that a reader of the paths does not unpack the rest:
sizes, ETags and digests, and the radiometry of the images.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection, Row
from s2mirror.adapters.ledger.row_checksums import (
    checked,
    damaged,
    insert,
    is_intact,
    require_intact,
    update,
)
from s2mirror.model import Digest, Listing, VerifiedFile
from s2mirror.radiometry import UNKNOWN_RADIOMETRY, Conversion, Radiometry
from s2mirror.selection import WHOLE, Selection, from_text, to_text

PUT: Final = f"""
{insert("file_list", {"product_id": ":id", "kind": ":kind", "document": ":document"})}
ON CONFLICT (product_id, kind) DO UPDATE
   SET document = excluded.document, checksums = excluded.checksums
"""
_GET: Final = f"""
SELECT product_id, document, {checked("file_list")}
  FROM file_list WHERE product_id = :id AND kind = :kind
"""
HELD_DOCUMENT: Final = f"""
CASE WHEN {is_intact("file_list")} THEN file_list.document
     WHEN file_list.document IS NOT NULL THEN 'damaged' END
"""
"""Column for queries that join the held file list; :func:`held_document` checks its value."""
_STAGED: Final = "product_id = :id AND kind = 'staged'"
_PUBLISH: Final = update("file_list", {"kind": "'held'"}, _STAGED, verb="UPDATE OR REPLACE")
_SELECTED: Final = {
    "product_id": ":id",
    "kind": "'staged'",
    "document": ":document",
    "whole_bytes": ":whole_bytes",
}
_PUT_STAGED_SELECTION: Final = f"""
{insert("selection", _SELECTED)}
ON CONFLICT (product_id, kind) DO UPDATE
   SET document = excluded.document, whole_bytes = excluded.whole_bytes,
       checksums = excluded.checksums
"""
_PUBLISH_SELECTION: Final = update(
    "selection", {"kind": "'held'"}, _STAGED, verb="UPDATE OR REPLACE"
)
_DROP_LISTING: Final = "DELETE FROM file_list WHERE product_id = :id AND kind = 'listing'"

_SEPARATOR: Final = "\0"
"""No path contains it."""


class FileLists:
    """The file lists of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_listing(self, product_id: str, listing: Listing) -> None:
        """Record the versions of the objects of which a product's staged files are."""
        document = {"files": [asdict(file) for file in listing.files]}
        self._put(product_id, "listing", _packed(document))

    def staged_versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes, by path, of the versions of the staged files."""
        document = self._get(product_id, "listing")
        files = _unpacked(document)["files"] if document else []
        return {file["path"]: (file["etag"], file["size_bytes"]) for file in files}

    def held_versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes, by path, of the files that were held last."""
        files = self.held(product_id) or ()
        return {file.path: (file.etag, file.size_bytes) for file in files}

    def put_staged(
        self,
        product_id: str,
        files: Sequence[VerifiedFile],
        *,
        selection: Selection = WHOLE,
        whole_bytes: int | None = None,
        radiometry: Radiometry = UNKNOWN_RADIOMETRY,
    ) -> None:
        """Record the verified files of a staged product, their selection and *radiometry*.

        *whole_bytes* is the size of all of its files, selected or not.
        """
        params = {"id": product_id, "document": to_text(selection), "whole_bytes": whole_bytes}
        with self._connection.atomic():
            self._put(product_id, "staged", _packed_files(files, radiometry))
            self._connection.execute(_PUT_STAGED_SELECTION, params)

    def publish(self, product_id: str) -> None:
        """Make the staged file list the held one."""
        with self._connection.atomic():
            self._get(product_id, "staged")  # a damaged row must raise, not be skipped
            self._connection.execute(_PUBLISH, {"id": product_id})
            self._connection.execute(_PUBLISH_SELECTION, {"id": product_id})
            self._connection.execute(_DROP_LISTING, {"id": product_id})

    def held(self, product_id: str) -> tuple[VerifiedFile, ...] | None:
        """Return the verified files of a held product; None if unknown."""
        document = self._get(product_id, "held")
        return files_in(document) if document else None

    def newest(self, product_id: str) -> tuple[VerifiedFile, ...] | None:
        """Return the files that were verified last, staged or held; None if unknown."""
        document = self._get(product_id, "staged") or self._get(product_id, "held")
        return files_in(document) if document else None

    def _put(self, product_id: str, kind: str, document: bytes) -> None:
        self._connection.execute(PUT, {"id": product_id, "kind": kind, "document": document})

    def _get(self, product_id: str, kind: str) -> bytes | None:
        rows = self._connection.query(_GET, {"id": product_id, "kind": kind})
        return document_of(self._connection.path, rows[0]) if rows else None


def document_of(path: Path, row: Row) -> bytes:
    """Return the document of a row of the file_list table. Raises LedgerError if it is damaged."""
    require_intact(path, "file_list", row)
    document: bytes = row["document"]
    return document


def held_document(path: Path, product_id: str, found: bytes | str | None) -> bytes | None:
    """Return the value of the column ``HELD_DOCUMENT``. Raises LedgerError if it is damaged."""
    if isinstance(found, str):
        raise damaged(path, "file_list", product_id, "row")
    return found


def files_in(document: bytes) -> tuple[VerifiedFile, ...]:
    """Return the files in a document."""
    files, _ = contents_of(document)
    return files


def contents_of(document: bytes) -> tuple[tuple[VerifiedFile, ...], Radiometry]:
    """Return the files in a document, and the radiometry that was read from one of them."""
    opener = zlib.decompressobj()
    head = opener.decompress(document)
    rest, (conversions, doubt) = _unpacked(opener.unused_data)
    files = tuple(
        VerifiedFile(
            path=path,
            size_bytes=size_bytes,
            etag=etag,
            digest=Digest(algorithm=algorithm, hexdigest=hexdigest),
        )
        for path, (size_bytes, etag, algorithm, hexdigest) in zip(_paths(head), rest, strict=True)
    )
    found = tuple((name, Conversion(*conversion)) for name, conversion in conversions)
    return files, Radiometry(conversions=found, doubt=doubt)


def paths_in(document: bytes) -> list[str]:
    """Return only the paths of the files in a document."""
    opener = zlib.decompressobj()
    head = opener.decompress(document)
    return _paths(head)


def _paths(head: bytes) -> list[str]:
    return head.decode().split(_SEPARATOR) if head else []


def _packed(document: object) -> bytes:
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def _packed_files(files: Sequence[VerifiedFile], radiometry: Radiometry) -> bytes:
    head = _SEPARATOR.join(file.path for file in files)
    rest = [(f.size_bytes, f.etag, f.digest.algorithm, f.digest.hexdigest) for f in files]
    return zlib.compress(head.encode()) + _packed(
        [rest, (radiometry.conversions, radiometry.doubt)]
    )


def _unpacked(document: bytes) -> Any:  # noqa: ANN401 - parsed JSON
    return json.loads(zlib.decompress(document))


ASK: Final = f"""
{insert("selection", {"product_id": ":id", "kind": "'asked'", "document": ":document"})}
ON CONFLICT (product_id, kind) DO UPDATE
   SET document = excluded.document, checksums = excluded.checksums
"""
_ALL_ASKED: Final = f"""
SELECT product_id, document, {checked("selection")} FROM selection WHERE kind = 'asked'
"""
_ASKED: Final = f"{_ALL_ASKED} AND product_id = :id"
_WHOLE_BYTES: Final = f"""
SELECT product_id, whole_bytes, {checked("selection")}
  FROM selection WHERE product_id = :id AND kind = 'held'
"""
_SHARE: Final = f"""
SELECT sum(size_bytes) AS held_bytes, sum(whole_bytes) AS whole_bytes
  FROM (SELECT product.size_bytes, whole_bytes
          FROM selection JOIN product ON product.id = product_id
         WHERE document = :document AND kind = 'held' AND {is_intact("selection")} LIMIT 200)
"""
_PARTIAL: Final = """
SELECT count(*) AS products FROM selection JOIN product ON product.id = product_id
 WHERE kind = 'held' AND document <> '[]' AND path IS NOT NULL
"""


class Selections:
    """The selection rows of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def ask(self, product_id: str, selection: Selection) -> None:
        """Record which files a person requested, in addition to those of the areas."""
        self._connection.execute(ASK, {"id": product_id, "document": to_text(selection)})

    def asked(self, product_id: str) -> Selection | None:
        """Return the files that a person requested; None if there was no request."""
        rows = self._connection.query(_ASKED, {"id": product_id})
        return self._selection(rows[0]) if rows else None

    def all_asked(self) -> dict[str, Selection]:
        """Return the requested files by product id."""
        rows = self._connection.query(_ALL_ASKED)
        return {row["product_id"]: self._selection(row) for row in rows}

    def _selection(self, row: Row) -> Selection:
        require_intact(self._connection.path, "selection", row)
        return from_text(row["document"])

    def whole_bytes(self, product_id: str) -> int | None:
        """Return the size in bytes of all files of a held product; None if unknown."""
        rows = self._connection.query(_WHOLE_BYTES, {"id": product_id})
        if not rows:
            return None
        require_intact(self._connection.path, "selection", rows[0])
        whole_bytes: int | None = rows[0]["whole_bytes"]
        return whole_bytes

    def share(self, selection: Selection) -> float:
        """Return the mean share of bytes that held products of *selection* have; 1 without any."""
        if selection.whole:
            return 1.0
        row = self._connection.query(_SHARE, {"document": to_text(selection)})[0]
        return row["held_bytes"] / row["whole_bytes"] if row["whole_bytes"] else 1.0

    def partial_count(self) -> int:
        """Return the number of partial products in the tree."""
        return int(self._connection.query(_PARTIAL)[0]["products"])
