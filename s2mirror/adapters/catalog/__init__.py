"""The STAC catalogue: searches in, products out."""

from s2mirror.adapters.catalog.client import StacCatalog
from s2mirror.adapters.catalog.items import parse_item, parse_page
from s2mirror.adapters.catalog.transport import StacOptions

__all__ = ["StacCatalog", "StacOptions", "parse_item", "parse_page"]
