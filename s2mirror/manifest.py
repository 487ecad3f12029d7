"""The content of a complete SAFE: files and digests by ``manifest.safe``, and folders."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from s2mirror.checksum import manifest_digest
from s2mirror.errors import HostileInput, IntegrityError
from s2mirror.model import Digest
from s2mirror.naming import check_remote_path

NAME: Final = "manifest.safe"
MAX_BYTES: Final = 8 * 1024**2
"""Real manifests have 49 to 92 kB."""

_SIZE: Final = re.compile(r"[0-9]{1,15}")
_ROOT_FOLDERS: Final = ("AUX_DATA", "HTML", "rep_info")
_GRANULE_FOLDERS: Final = ("AUX_DATA", "IMG_DATA", "QI_DATA")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestObject:
    """One data object of a manifest."""

    path: str
    size_bytes: int
    digest: Digest


def parse_manifest(document: bytes) -> Mapping[str, ManifestObject]:
    """Return the objects of a ``manifest.safe`` by path relative to the product folder.

    Raises IntegrityError if it is not a complete manifest, and HostileInput if a path leaves the
    product folder or the XML attacks the parser.
    """
    if len(document) > MAX_BYTES:
        raise HostileInput(f"{NAME} has {len(document)} B; a real one has less than 0.1 MB")
    try:
        root = fromstring(document, forbid_dtd=True)
    except DefusedXmlException as error:
        raise HostileInput(f"{NAME} declares entities or a DTD, which no SAFE has") from error
    except (ParseError, LookupError, ValueError) as error:
        # The last two are for an encoding that Python or its parser does not support.
        raise IntegrityError(f"{NAME} is not well-formed XML: {error}") from error
    objects: dict[str, ManifestObject] = {}
    for found in _objects(root):
        if objects.setdefault(found.path, found) != found:
            raise IntegrityError(f"{NAME} lists {found.path!r} twice, with different bytes")
    if not objects:
        raise IntegrityError(f"{NAME} lists no data objects; it is not a SAFE manifest")
    return objects


def required_folders(paths: Iterable[str]) -> frozenset[str]:
    """Return the folders, empty or not, that Sen2Cor and others expect beside a product's files.

    An object store has no empty folders, so it never lists the ``AUX_DATA`` of the root.
    """
    granules = {
        PurePosixPath(*parts[:2])
        for parts in (PurePosixPath(path).parts for path in paths)
        if parts[0] == "GRANULE" and len(parts) > 1
    }
    inner = {str(granule / name) for granule in granules for name in _GRANULE_FOLDERS}
    return frozenset(inner.union(_ROOT_FOLDERS))


def _objects(root: Element) -> Iterator[ManifestObject]:
    for stream in root.iterfind("dataObjectSection/dataObject/byteStream"):
        location, checksum = stream.find("fileLocation"), stream.find("checksum")
        if location is None or checksum is None:
            raise IntegrityError(f"{NAME} has a data object without a location or a checksum")
        yield ManifestObject(
            path=check_remote_path(location.get("href", "")),
            size_bytes=_size(stream.get("size", "")),
            digest=manifest_digest(checksum.get("checksumName", ""), checksum.text or ""),
        )


def _size(text: str) -> int:
    if not _SIZE.fullmatch(text.strip()):
        raise IntegrityError(f"{NAME} has a data object of size {text[:40]!r}; expected bytes")
    return int(text)
