"""The archive as STAC: items, collections and catalogs of the held products."""

from s2mirror.stac.assets import asset_fields, asset_key, asset_keys
from s2mirror.stac.catalogs import Box, catalog, collection, collection_link, month_extent
from s2mirror.stac.item import (
    SUPERSEDED_BY,
    assets_of,
    extensions_of,
    iso_time,
    item,
    item_properties,
    known_properties,
    source_of,
)

__all__ = [
    "SUPERSEDED_BY",
    "Box",
    "asset_fields",
    "asset_key",
    "asset_keys",
    "assets_of",
    "catalog",
    "collection",
    "collection_link",
    "extensions_of",
    "iso_time",
    "item",
    "item_properties",
    "known_properties",
    "month_extent",
    "source_of",
]
