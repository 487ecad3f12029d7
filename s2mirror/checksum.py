"""Digests in CDSE's formats: the manifest's ``checksumName`` and STAC's multihash."""

import hashlib
from typing import IO, Final, Protocol

from s2mirror.errors import IntegrityError
from s2mirror.model import Digest

_HASHLIB_NAMES: Final = {"MD5": "md5", "SHA3-256": "sha3_256", "SHA3_256": "sha3_256"}
_BY_HEX_DIGITS: Final = {32: "md5", 64: "sha3_256"}
_MULTIHASH_CODES: Final = {"md5": "d50110", "sha3_256": "1620"}
_MULTIHASH_HEADS: Final = ("d50110", "d50120", "1620", "1610")
_READ_BYTES: Final = 1024 * 1024
COMPUTED: Final = "sha3_256"
"""The algorithm for files without a digest in the manifest."""


class Hasher(Protocol):
    """The methods of hashlib's objects that s2mirror uses."""

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Add bytes to the hash."""

    def hexdigest(self) -> str:
        """Return the digest in lower-case hex."""


def manifest_digest(name: str, value: str) -> Digest:
    """Return a digest from a manifest's ``checksumName`` and text.

    Real manifests mix upper and lower case within one file. Raises IntegrityError for an
    algorithm that this version cannot compute, or a value of the wrong length.
    """
    algorithm = _HASHLIB_NAMES.get(name.strip().upper())
    hexdigest = value.strip().lower()
    if algorithm is None:
        raise IntegrityError(
            f"manifest.safe names the checksum {name!r}; known are MD5 and SHA3-256. "
            "Update s2mirror, or report the product"
        )
    if len(hexdigest) != new_hasher(algorithm).digest_size * 2 or not _is_hex(hexdigest):
        raise IntegrityError(f"manifest.safe has {value!r}, which is not a digest of {name}")
    return Digest(algorithm=algorithm, hexdigest=hexdigest)


def stac_digest(multihash: str) -> Digest | None:
    """Return a digest from a ``file:checksum``; None for a form that CDSE does not use.

    CDSE labels some 32-byte SHA3-256 digests MD5 (``d50120…``, item of 2024-01-16), so the length
    decides, not the label.
    """
    text = multihash.lower()
    head = next((head for head in _MULTIHASH_HEADS if text.startswith(head)), None)
    if head is None or not _is_hex(text):
        return None
    body = text[len(head) :]
    algorithm = _BY_HEX_DIGITS.get(len(body))
    return Digest(algorithm=algorithm, hexdigest=body) if algorithm else None


def multihash(digest: Digest) -> str:
    """Return a digest in the form of STAC's ``file:checksum``."""
    return f"{_MULTIHASH_CODES[digest.algorithm]}{digest.hexdigest}"


def new_hasher(algorithm: str) -> "hashlib._Hash":
    """Return a new hashlib object. MD5 protects against accidents here, not against attackers."""
    return hashlib.new(algorithm, usedforsecurity=False)


def hash_all(file: IO[bytes], hasher: Hasher) -> None:
    """Feed every remaining byte of *file* to *hasher*."""
    while chunk := file.read(_READ_BYTES):
        hasher.update(chunk)


def _is_hex(text: str) -> bool:
    return all(char in "0123456789abcdef" for char in text)
