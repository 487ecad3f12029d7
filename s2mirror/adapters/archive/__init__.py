"""The archive on disk: staging, one rename to publish, quarantine, trash."""

from s2mirror.adapters.archive.archive import Archive
from s2mirror.adapters.archive.filesystem import NETWORK_KINDS, filesystem_kind
from s2mirror.adapters.archive.lists import GEOPARQUET, Extent, joined
from s2mirror.adapters.archive.shelf import Place, Shelf, Written, place_of
from s2mirror.adapters.archive.stage import Part, Stage, file_bytes, file_digest

__all__ = [
    "GEOPARQUET",
    "NETWORK_KINDS",
    "Archive",
    "Extent",
    "Part",
    "Place",
    "Shelf",
    "Stage",
    "Written",
    "file_bytes",
    "file_digest",
    "filesystem_kind",
    "joined",
    "place_of",
]
