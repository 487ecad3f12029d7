"""The files of a product that is on disk: what its own manifest and its folder say about them.

Whatever a source does (a read error, a lying zip file, a link, a file that grows meanwhile) is an
IntegrityError or PathRefused of that product.
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from s2mirror import manifest
from s2mirror.adapters.archive import FolderSource, FoundProduct, ProductSource, ZipSource, open_zip
from s2mirror.checksum import COMPUTED
from s2mirror.errors import HostileInput, IntegrityError
from s2mirror.manifest import ManifestObject, parse_manifest
from s2mirror.model import Digest
from s2mirror.radiometry import MAX_BYTES as MAX_METADATA_BYTES
from s2mirror.radiometry import metadata_path

MAX_PRODUCT_BYTES: Final = 20_000_000_000
"""By its manifest. Real products have less than 1.5 GB; this bounds what a zip file can unpack."""
_MAX_LOOSE_BYTES: Final = 16 * 1024**2
_LOOSE_FOLDERS: Final = ("HTML/", "rep_info/")
_UNREADABLE: Final = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,  # of an encrypted member
)


class WantedFile(NamedTuple):
    """A file to verify."""

    path: str
    size_bytes: int
    digest: Digest | None
    """By the manifest; None for a file that it does not list."""

    @property
    def algorithm(self) -> str:
        """The algorithm by which it is hashed."""
        return self.digest.algorithm if self.digest else COMPUTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a product's folder or zip file states, before its images are read."""

    document: bytes
    """Its ``manifest.safe``."""
    metadata: bytes
    """Its ``MTD_MSI….xml``; empty without one."""
    promised: Mapping[str, ManifestObject]
    sizes: Mapping[str, int]
    lacking: tuple[str, ...]
    """Files of the manifest that are missing, or have another size."""
    loose: tuple[str, ...]
    """Files that real products have and that no manifest lists, such as the quicklook."""
    strays: tuple[str, ...]
    """Other files: they are not adopted."""

    @property
    def wanted(self) -> list[WantedFile]:
        """The files to verify."""
        lacking = {*self.lacking}
        return [
            WantedFile(manifest.NAME, len(self.document), None),
            *(WantedFile(path, self.sizes[path], None) for path in self.loose),
            *(
                WantedFile(found.path, found.size_bytes, found.digest)
                for path, found in self.promised.items()
                if path not in lacking
            ),
        ]


@contextmanager
def open_source(found: FoundProduct) -> Iterator[ProductSource]:
    """Open the files of a product. Raises IntegrityError and PathRefused."""
    if not found.zipped:
        yield FolderSource(found.path)
        return
    with readable(found.path.name):
        file = open_zip(found.path)
    with closing(file):
        yield ZipSource(file, found.product_id)


def examine(source: ProductSource, product_id: str) -> Contents:
    """Read the manifest of a product and compare names and sizes.

    Raises IntegrityError if it has no usable manifest, and PathRefused for a link in it.
    """
    with readable(manifest.NAME):
        sizes = source.sizes()
    if manifest.NAME not in sizes:
        raise IntegrityError(f"it has no {manifest.NAME}, so nothing verifies its files")
    document = _small_file(source, manifest.NAME, manifest.MAX_BYTES)
    promised = parse_manifest(document)
    if sum(found.size_bytes for found in promised.values()) > MAX_PRODUCT_BYTES:
        raise HostileInput(f"its manifest lists more than {MAX_PRODUCT_BYTES // 10**9} GB")
    others = sorted(sizes.keys() - promised.keys() - {manifest.NAME})
    loose = [p for p in others if _is_loose(p, product_id) and sizes[p] <= _MAX_LOOSE_BYTES]
    path = metadata_path(sizes)
    return Contents(
        document=document,
        metadata=_small_file(source, path, MAX_METADATA_BYTES) if path in promised else b"",
        promised=promised,
        sizes=sizes,
        lacking=tuple(p for p, o in promised.items() if sizes.get(p) != o.size_bytes),
        loose=tuple(loose),
        strays=tuple(path for path in others if path not in loose),
    )


def _is_loose(path: str, product_id: str) -> bool:
    return path.startswith(_LOOSE_FOLDERS) or path == f"{product_id}-ql.jpg"


def _small_file(source: ProductSource, path: str, limit: int) -> bytes:
    with readable(path), source.open(path) as file:
        return file.read(limit + 1)


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Raise IntegrityError for whatever a damaged disk, file or zip file makes of a read."""
    try:
        yield
    except _UNREADABLE as error:
        raise IntegrityError(f"{what} cannot be read: {error}") from error
