"""The STAC catalog: searches in, products out."""

from s2mirror.adapters.stac_catalog.client import StacApiCatalog
from s2mirror.adapters.stac_catalog.items import parse_item, parse_page
from s2mirror.adapters.stac_catalog.transport import StacOptions

__all__ = ["StacApiCatalog", "StacOptions", "parse_item", "parse_page"]
