"""The catalogs and collections above the items."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

_LEVELS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "sentinel-2-l1c": ("Sentinel-2 Level-1C", "top-of-atmosphere reflectance"),
        "sentinel-2-l2a": ("Sentinel-2 Level-2A", "surface reflectance"),
    }
)
_LEGAL_NOTICE: Final = (
    "https://sentinels.copernicus.eu/documents/247904/690755/Sentinel_Data_Legal_Notice"
)
_PROVIDERS: Final = (
    {"name": "ESA", "roles": ["producer"], "url": "https://www.esa.int"},
    {
        "name": "Copernicus Data Space Ecosystem",
        "roles": ["host"],
        "url": "https://dataspace.copernicus.eu",
    },
)
Box = tuple[float, float, float, float]


def catalog(
    name: str, title: str, links: Sequence[Mapping[str, str]], **more: object
) -> dict[str, Any]:
    """Return a STAC catalog with *links*."""
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": name,
        "title": title,
        "description": title,
        "links": list(links),
        **more,
    }


def collection(
    name: str,
    links: Sequence[Mapping[str, str]],
    *,
    bbox: Box,
    start: str,
    assets: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a STAC collection of this archive, without an end of its period."""
    title, content = _LEVELS.get(name, (name, "products"))
    found = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "title": title,
        "description": f"{title} products held by this archive: {content}, in tiles of 110 km.",
        "license": "other",
        "keywords": ["Copernicus", "Sentinel-2"],
        "providers": list(_PROVIDERS),
        "extent": {
            "spatial": {"bbox": [list(bbox)]},
            "temporal": {"interval": [[start, None]]},
        },
        "links": [{"rel": "license", "href": _LEGAL_NOTICE}, *links],
    }
    return {**found, "assets": dict(assets)} if assets else found


def collection_link(name: str, folder: Path | None, catalog_url: str) -> dict[str, str]:
    """Return the link to the collection for an item outside of any catalog.

    It leads to the local catalog in *folder*; without a folder, to CDSE's collection.
    """
    there = f"{catalog_url.rstrip('/')}/collections/{name}"
    href = f"{folder / name / 'collection.json'}" if folder else there
    return {"rel": "collection", "href": href, "type": "application/json"}


def month_extent(sensed_at: datetime, box: Box) -> tuple[Box, str]:
    """Return the bounding box of an item in whole degrees, and the start of its month.

    Rounding keeps a collection's extent from changing with every item. Across the antimeridian, the
    box spans all longitudes.
    """
    west, south, east, north = box
    if west > east:
        west, east = -180.0, 180.0
    bounds = (math.floor(west), math.floor(south), math.ceil(east), math.ceil(north))
    return bounds, f"{sensed_at:%Y-%m}-01T00:00:00Z"
