"""What was listed for each product, and what its files were proven to be."""

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.model import Digest, Listing, ProvenFile

PUT: Final = """
INSERT INTO proof (product_id, kind, document) VALUES (:id, :kind, :document)
ON CONFLICT (product_id) DO UPDATE SET kind = excluded.kind, document = excluded.document
"""
_ANY: Final = "SELECT kind, document FROM proof WHERE product_id = :id"


class Proofs:
    """One document per product: its listing while it is fetched, its proof once it is held."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_listing(self, product_id: str, listing: Listing) -> None:
        """Remember which versions of which objects a product's staged files belong to."""
        self._put(product_id, "listing", {"files": [asdict(file) for file in listing.files]})

    def versions(self, product_id: str) -> dict[str, tuple[str, int]]:
        """Return ETag and size in bytes of every file, by path, as last listed or proven."""
        rows = self._connection.query(_ANY, {"id": product_id})
        if not rows:
            return {}
        document = _unpacked(rows[0]["document"])
        files = document["files"] if rows[0]["kind"] == "listing" else document
        return {file["path"]: (file["etag"], file["size_bytes"]) for file in files}

    def put_proof(self, product_id: str, files: Sequence[ProvenFile]) -> None:
        """Remember what every file of a complete product is; replaces the listing."""
        self._put(product_id, "proof", [asdict(file) for file in files])

    def proof(self, product_id: str) -> tuple[ProvenFile, ...] | None:
        """Return what every file of a held product was proven to be; None if unknown."""
        rows = self._connection.query(_ANY, {"id": product_id})
        if not rows or rows[0]["kind"] != "proof":
            return None
        document = _unpacked(rows[0]["document"])
        return tuple(ProvenFile(**{**f, "digest": Digest(**f["digest"])}) for f in document)

    def forget(self, product_id: str) -> None:
        """Drop what was known, when no bytes of the product are left."""
        self._connection.execute("DELETE FROM proof WHERE product_id = :id", {"id": product_id})

    def _put(self, product_id: str, kind: str, document: object) -> None:
        packed = zlib.compress(json.dumps(document, separators=(",", ":")).encode())
        self._connection.execute(PUT, {"id": product_id, "kind": kind, "document": packed})


def _unpacked(document: bytes) -> Any:  # noqa: ANN401 - parsed JSON
    return json.loads(zlib.decompress(document))
