"""The archive on disk: staging, one rename to publish, quarantine, trash."""

from s2mirror.adapters.archive.archive import Archive
from s2mirror.adapters.archive.catalog_files import GEOPARQUET, CollectionExtent, joined
from s2mirror.adapters.archive.filesystem import NETWORK_KINDS, filesystem_kind
from s2mirror.adapters.archive.stage import Part, Stage, file_bytes, file_digest
from s2mirror.adapters.archive.static_catalog import (
    ItemDocument,
    ItemPath,
    StaticCatalog,
    item_path_of,
)

__all__ = [
    "GEOPARQUET",
    "NETWORK_KINDS",
    "Archive",
    "CollectionExtent",
    "ItemDocument",
    "ItemPath",
    "Part",
    "Stage",
    "StaticCatalog",
    "file_bytes",
    "file_digest",
    "filesystem_kind",
    "item_path_of",
    "joined",
]
