"""What was listed for each product, and what its files were proven to be.

Up to three documents per product: the ``listing`` that staged bytes belong to, what is ``staged``
and proven, and the ``proof`` of what stands in the archive tree.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import Digest, Listing, ProvenFile
from s2mirror.selection import WHOLE, Selection, to_text

PUT: Final = """
INSERT INTO proof (product_id, kind, document) VALUES (:id, :kind, :document)
ON CONFLICT (product_id, kind) DO UPDATE SET document = excluded.document
"""
_GET: Final = "SELECT document FROM proof WHERE product_id = :id AND kind = :kind"
_PUBLISH: Final = (
    "UPDATE OR REPLACE proof SET kind = 'proof' WHERE product_id = :id AND kind = 'staged'"
)
_PUT_STAGED_SELECTION: Final = """
INSERT INTO selection (product_id, kind, document, whole_bytes)
VALUES (:id, 'staged', :document, :whole_bytes)
ON CONFLICT (product_id, kind) DO UPDATE
   SET document = excluded.document, whole_bytes = excluded.whole_bytes
"""
_PUBLISH_SELECTION: Final = (
    "UPDATE OR REPLACE selection SET kind = 'held' WHERE product_id = :id AND kind = 'staged'"
)
_DROP_LISTING: Final = "DELETE FROM proof WHERE product_id = :id AND kind = 'listing'"


class Proofs:
    """The listings and proofs of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_listing(self, product_id: str, listing: Listing) -> None:
        """Remember which versions of which objects a product's staged files belong to."""
        self._put(product_id, "listing", {"files": [asdict(file) for file in listing.files]})

    def staged_versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes, by path, of the versions that staged files are of."""
        document = self._get(product_id, "listing")
        return _versions(document["files"]) if document else {}

    def proven_versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes, by path, of the files last held."""
        return _versions(self._get(product_id, "proof") or [])

    def put_staged(
        self,
        product_id: str,
        files: Sequence[ProvenFile],
        *,
        selection: Selection = WHOLE,
        whole_bytes: int | None = None,
    ) -> None:
        """Remember what every file of a staged product is, and which of them were chosen.

        *whole_bytes* is what all of its files have, chosen or not.
        """
        params = {"id": product_id, "document": to_text(selection), "whole_bytes": whole_bytes}
        with self._connection.atomic():
            self._put(product_id, "staged", [asdict(file) for file in files])
            self._connection.execute(_PUT_STAGED_SELECTION, params)

    def publish(self, product_id: str) -> None:
        """Make what is known of the staged files the proof of what is held."""
        with self._connection.atomic():
            self._connection.execute(_PUBLISH, {"id": product_id})
            self._connection.execute(_PUBLISH_SELECTION, {"id": product_id})
            self._connection.execute(_DROP_LISTING, {"id": product_id})

    def proof(self, product_id: str) -> tuple[ProvenFile, ...] | None:
        """Return what every file of a held product was proven to be; None if unknown."""
        return _proven(self._get(product_id, "proof"))

    def newest(self, product_id: str) -> tuple[ProvenFile, ...] | None:
        """Return what was proven last, be it staged or held; None if unknown."""
        return _proven(self._get(product_id, "staged") or self._get(product_id, "proof"))

    def forget(self, product_id: str) -> None:
        """Drop what was known, when no bytes of the product are left."""
        self._connection.execute("DELETE FROM proof WHERE product_id = :id", {"id": product_id})

    def _put(self, product_id: str, kind: str, document: object) -> None:
        packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode())
        self._connection.execute(PUT, {"id": product_id, "kind": kind, "document": packed})

    def _get(self, product_id: str, kind: str) -> Any | None:  # noqa: ANN401 - parsed JSON
        rows = self._connection.query(_GET, {"id": product_id, "kind": kind})
        return json.loads(zlib.decompress(rows[0]["document"])) if rows else None


def _proven(document: list[dict[str, Any]] | None) -> tuple[ProvenFile, ...] | None:
    if document is None:
        return None
    return tuple(ProvenFile(**{**file, "digest": Digest(**file["digest"])}) for file in document)


def _versions(files: list[dict[str, Any]]) -> dict[str, tuple[str, int]]:
    return {file["path"]: (file["etag"], file["size_bytes"]) for file in files}
