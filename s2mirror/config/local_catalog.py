"""The options of the STAC catalog of the archive, and of its change feed."""

from pathlib import Path
from typing import Final

from pydantic import Field

from s2mirror.config import fields
from s2mirror.config.units import GIB, KIB
from s2mirror.layout import CATALOG_FOLDER

_MIB: Final = KIB**2


class LocalCatalogSettings(fields.Section):
    """Options of the STAC catalog of the archive."""

    enabled: fields.Flag = True
    folder: fields.AnyPath | None = None
    """None for the folder ``catalog`` in the archive."""
    geoparquet_every: fields.DurationOrNever = None
    """Time between exports of all items, to one GeoParquet file per collection; None for never."""

    def folder_in(self, root: Path) -> Path:
        """Return the folder of the catalog.

        Raises ValueError if it contains the folder of the products, or is within it.
        """
        own = root / CATALOG_FOLDER
        folder = self.folder or own
        if folder != own and (folder.is_relative_to(root) or root.is_relative_to(folder)):
            raise ValueError(
                f"expected a folder apart from the archive {root}, or {own}; got {folder}"
            )
        return folder


class ChangeFeedSettings(fields.Section):
    """Options of the change feed of the archive."""

    enabled: fields.Flag = True
    file_bytes: fields.SizeBytes = Field(default=64 * _MIB, alias="file_size")
    """At this size, a file of the feed is closed, and another one begins."""
    keep_bytes: fields.SizeOrUnlimited = Field(default=10 * GIB, alias="keep")
    """The total size of closed files above which the oldest are removed; None: all are kept."""
