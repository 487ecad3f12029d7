"""The options of the local STAC catalog."""

from pathlib import Path

from s2mirror.config import fields
from s2mirror.layout import CATALOG_FOLDER


class LocalCatalogSettings(fields.Section):
    """The STAC catalog of what the archive holds."""

    enabled: fields.Flag = True
    folder: fields.AnyPath | None = None
    """None for the folder ``catalog`` of the archive."""
    geoparquet_every: fields.DurationOrNever = None
    """How often all items are written to one GeoParquet file per collection; None for never."""

    def folder_in(self, root: Path) -> Path:
        """Return where the catalog stands.

        Raises ValueError if that is among the products: neither may be within the other.
        """
        own = root / CATALOG_FOLDER
        folder = self.folder or own
        if folder != own and (folder.is_relative_to(root) or root.is_relative_to(folder)):
            raise ValueError(
                f"expected a folder apart from the archive {root}, or {own}; got {folder}"
            )
        return folder
