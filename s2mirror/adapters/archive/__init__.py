"""The archive on disk: staging, one rename to publish, quarantine, trash."""

from s2mirror.adapters.archive.archive import Archive
from s2mirror.adapters.archive.catalog_files import GEOPARQUET, CollectionExtent, joined
from s2mirror.adapters.archive.filesystem import NETWORK_KINDS, explained, filesystem_kind
from s2mirror.adapters.archive.record_files import RecordFiles
from s2mirror.adapters.archive.stage import Part, Stage
from s2mirror.adapters.archive.static_catalog import (
    ItemDocument,
    ItemPath,
    StaticCatalog,
    item_path_of,
)
from s2mirror.adapters.archive.tree import ProductFolder, Tree
from s2mirror.adapters.archive.work_folder import ForeignEntry, work_changed_at

__all__ = [
    "GEOPARQUET",
    "NETWORK_KINDS",
    "Archive",
    "CollectionExtent",
    "ForeignEntry",
    "ItemDocument",
    "ItemPath",
    "Part",
    "ProductFolder",
    "RecordFiles",
    "Stage",
    "StaticCatalog",
    "Tree",
    "explained",
    "filesystem_kind",
    "item_path_of",
    "joined",
    "work_changed_at",
]
