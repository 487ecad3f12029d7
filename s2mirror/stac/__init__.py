"""The archive in STAC's words: items, collections and catalogues of what stands on this disk."""

from s2mirror.stac.catalogues import Box, catalogue, collection, month_extent
from s2mirror.stac.item import assets_of, item, item_properties

__all__ = ["Box", "assets_of", "catalogue", "collection", "item", "item_properties", "month_extent"]
