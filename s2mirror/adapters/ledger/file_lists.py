"""The files of each product: requested, listed, and verified.

Up to three documents per product: the ``listing`` that staged bytes belong to, what is ``staged``
and proven, and the ``proof`` of what stands in the archive tree. They are compressed JSON; in the
last two the paths come first, compressed by themselves: who wants only these unpacks no more.
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
"""For queries that join the file list of what is held; :func:`held_document` checks it."""
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
"""No path has it."""


class FileLists:
    """The listings and proofs of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_listing(self, product_id: str, listing: Listing) -> None:
        """Remember which versions of which objects a product's staged files belong to."""
        document = {"files": [asdict(file) for file in listing.files]}
        self._put(product_id, "listing", _packed(document))

    def staged_versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes, by path, of the versions that staged files are of."""
        document = self._get(product_id, "listing")
        files = _unpacked(document)["files"] if document else []
        return {file["path"]: (file["etag"], file["size_bytes"]) for file in files}

    def held_versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes, by path, of the files last held."""
        files = self.held(product_id) or ()
        return {file.path: (file.etag, file.size_bytes) for file in files}

    def put_staged(
        self,
        product_id: str,
        files: Sequence[VerifiedFile],
        *,
        selection: Selection = WHOLE,
        whole_bytes: int | None = None,
    ) -> None:
        """Remember what every file of a staged product is, and which of them were chosen.

        *whole_bytes* is what all of its files have, chosen or not.
        """
        params = {"id": product_id, "document": to_text(selection), "whole_bytes": whole_bytes}
        with self._connection.atomic():
            self._put(product_id, "staged", _packed_files(files))
            self._connection.execute(_PUT_STAGED_SELECTION, params)

    def publish(self, product_id: str) -> None:
        """Make what is known of the staged files the proof of what is held."""
        with self._connection.atomic():
            self._get(product_id, "staged")  # a damaged one must not be passed over
            self._connection.execute(_PUBLISH, {"id": product_id})
            self._connection.execute(_PUBLISH_SELECTION, {"id": product_id})
            self._connection.execute(_DROP_LISTING, {"id": product_id})

    def held(self, product_id: str) -> tuple[VerifiedFile, ...] | None:
        """Return what every file of a held product was proven to be; None if unknown."""
        document = self._get(product_id, "held")
        return files_in(document) if document else None

    def newest(self, product_id: str) -> tuple[VerifiedFile, ...] | None:
        """Return what was proven last, be it staged or held; None if unknown."""
        document = self._get(product_id, "staged") or self._get(product_id, "held")
        return files_in(document) if document else None

    def forget(self, product_id: str) -> None:
        """Drop what was known, when no bytes of the product are left."""
        self._connection.execute("DELETE FROM file_list WHERE product_id = :id", {"id": product_id})

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
    """Return what ``HELD_DOCUMENT`` has found. Raises LedgerError if it is damaged."""
    if isinstance(found, str):
        raise damaged(path, "file_list", product_id, "row")
    return found


def files_in(document: bytes) -> tuple[VerifiedFile, ...]:
    """Return the files in a proof's document."""
    opener = zlib.decompressobj()
    head = opener.decompress(document)
    return tuple(
        VerifiedFile(
            path=path,
            size_bytes=size_bytes,
            etag=etag,
            digest=Digest(algorithm=algorithm, hexdigest=hexdigest),
        )
        for path, (size_bytes, etag, algorithm, hexdigest) in zip(
            _paths(head), _unpacked(opener.unused_data), strict=True
        )
    )


def paths_in(document: bytes) -> list[str]:
    """Return the paths of the files in a document, without the rest."""
    opener = zlib.decompressobj()
    head = opener.decompress(document)
    return _paths(head)


def _paths(head: bytes) -> list[str]:
    return head.decode().split(_SEPARATOR) if head else []


def _packed(document: object) -> bytes:
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def _packed_files(files: Sequence[VerifiedFile]) -> bytes:
    head = _SEPARATOR.join(file.path for file in files)
    rest = [(f.size_bytes, f.etag, f.digest.algorithm, f.digest.hexdigest) for f in files]
    return zlib.compress(head.encode()) + _packed(rest)


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
        """Remember which files a person asked for, beside what the areas want."""
        self._connection.execute(ASK, {"id": product_id, "document": to_text(selection)})

    def asked(self, product_id: str) -> Selection | None:
        """Return which files a person asked for; None if nobody did."""
        rows = self._connection.query(_ASKED, {"id": product_id})
        return self._selection(rows[0]) if rows else None

    def all_asked(self) -> dict[str, Selection]:
        """Return by product id which files persons asked for."""
        rows = self._connection.query(_ALL_ASKED)
        return {row["product_id"]: self._selection(row) for row in rows}

    def _selection(self, row: Row) -> Selection:
        require_intact(self._connection.path, "selection", row)
        return from_text(row["document"])

    def whole_bytes(self, product_id: str) -> int | None:
        """Return what all files of a held product would have; None if that is not known."""
        rows = self._connection.query(_WHOLE_BYTES, {"id": product_id})
        if not rows:
            return None
        require_intact(self._connection.path, "selection", rows[0])
        whole_bytes: int | None = rows[0]["whole_bytes"]
        return whole_bytes

    def share(self, selection: Selection) -> float:
        """Return which part of a product *selection* was, of products held so; 1 if of none."""
        if selection.whole:
            return 1.0
        row = self._connection.query(_SHARE, {"document": to_text(selection)})[0]
        return row["held_bytes"] / row["whole_bytes"] if row["whole_bytes"] else 1.0

    def partial_count(self) -> int:
        """Return how many products stand in the tree with some of their files, by choice."""
        return int(self._connection.query(_PARTIAL)[0]["products"])
