"""The archive on disk: staging, one rename to publish, quarantine, trash."""

from s2mirror.adapters.archive.archive import Archive
from s2mirror.adapters.archive.catalog_files import GEOPARQUET, CollectionExtent, joined
from s2mirror.adapters.archive.change_feed import ChangeFeed
from s2mirror.adapters.archive.filesystem import (
    NETWORK_KINDS,
    NO_HARD_LINKS,
    explained,
    filesystem_kind,
)
from s2mirror.adapters.archive.found_products import (
    FolderSource,
    FoundProduct,
    FoundQueue,
    ProductFolder,
    ProductSource,
    Unadopted,
    ZipSource,
    find_products,
    open_zip,
    read_queue,
)
from s2mirror.adapters.archive.mending import Mender
from s2mirror.adapters.archive.product_files import FolderContent, hash_files, read_content
from s2mirror.adapters.archive.record_files import RecordFiles
from s2mirror.adapters.archive.stage import Part, Stage
from s2mirror.adapters.archive.static_catalog import (
    ItemDocument,
    ItemPath,
    StaticCatalog,
    item_path_of,
)
from s2mirror.adapters.archive.tree import Tree
from s2mirror.adapters.archive.work_folder import (
    ForeignEntry,
    disk_space,
    trashed_bytes,
    trashed_id,
    work_changed_at,
)

__all__ = [
    "GEOPARQUET",
    "NETWORK_KINDS",
    "NO_HARD_LINKS",
    "Archive",
    "ChangeFeed",
    "CollectionExtent",
    "FolderContent",
    "FolderSource",
    "ForeignEntry",
    "FoundProduct",
    "FoundQueue",
    "ItemDocument",
    "ItemPath",
    "Mender",
    "Part",
    "ProductFolder",
    "ProductSource",
    "RecordFiles",
    "Stage",
    "StaticCatalog",
    "Tree",
    "Unadopted",
    "ZipSource",
    "disk_space",
    "explained",
    "filesystem_kind",
    "find_products",
    "hash_files",
    "item_path_of",
    "joined",
    "open_zip",
    "read_content",
    "read_queue",
    "trashed_bytes",
    "trashed_id",
    "work_changed_at",
]
