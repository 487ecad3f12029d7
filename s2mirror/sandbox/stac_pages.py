"""The STAC API's landing page, collections and queryables, as CDSE serves them."""

from collections.abc import Mapping
from typing import Any, Final

_SUMMARIES: Final = {
    "sentinel-2-l1c": ("L1C", "S2MSI1C", "L1"),
    "sentinel-2-l2a": ("L2A", "S2MSI2A", "L2"),
}
COLLECTIONS: Final = tuple(_SUMMARIES)
_OTHERS: Final = (
    *(f"ccm-optical-{number:03d}" for number in range(180)),
    *(f"clms_land-{number:03d}" for number in range(140)),
    *(f"cop-dem-{number:02d}" for number in range(40)),
    *(f"sentinel-1-{number:02d}" for number in range(20)),
    *(f"sentinel-3-{number:02d}" for number in range(37)),
)
ALL_COLLECTIONS: Final = tuple(sorted((*COLLECTIONS, *_OTHERS)))
"""As many as CDSE has, and likewise sorted: the first 200 have none of the Sentinels."""
_DEFAULT_COLLECTIONS: Final = 10
_MAX_COLLECTIONS: Final = 200
_OGC: Final = "http://www.opengis.net/spec/"
_STAC: Final = "https://api.stacspec.org/"
CONFORMANCE: Final = (
    *(f"{_OGC}cql2/1.0/conf/{name}" for name in ("basic-cql2", "cql2-json", "cql2-text")),
    f"{_OGC}ogcapi-common-2/1.0/conf/simple-query",
    *(f"{_OGC}ogcapi-features-1/1.0/conf/{name}" for name in ("core", "geojson", "oas30")),
    *(f"{_OGC}ogcapi-features-3/1.0/conf/{name}" for name in ("features-filter", "filter")),
    f"{_STAC}v1.0.0-rc.1/collection-search",
    *(
        f"{_STAC}v1.0.0-rc.1/collection-search#{name}"
        for name in ("fields", "filter", "free-text", "query", "sort")
    ),
    f"{_STAC}v1.0.0-rc.2/item-search#filter",
    f"{_STAC}v1.0.0/collections",
    f"{_STAC}v1.0.0/collections/extensions/transaction",
    f"{_STAC}v1.0.0/core",
    f"{_STAC}v1.0.0/item-search",
    *(f"{_STAC}v1.0.0/item-search#{name}" for name in ("fields", "query", "sort")),
    f"{_STAC}v1.0.0/ogcapi-features",
    *(f"{_STAC}v1.0.0/ogcapi-features#{name}" for name in ("fields", "query", "sort")),
    f"{_STAC}v1.0.0/ogcapi-features/extensions/transaction",
)
_QUERYABLES_REL: Final = "http://www.opengis.net/def/rel/ogc/1.0/queryables"
_TIME: Final = {"type": "string", "format": "date-time", "pattern": "(\\+00:00|Z)$"}
_PERCENT: Final = {"type": "number", "minimum": 0, "maximum": 100}
_PROPERTIES: Final = {
    "id": {"type": "string"},
    "datetime": _TIME,
    "geometry": {"$ref": "https://geojson.org/schema/Feature.json"},
    "platform": {"type": "string"},
    "instruments": {"type": "array"},
    "grid:code": {"type": "string"},
    "published": _TIME,
    "eo:cloud_cover": _PERCENT,
    "eo:snow_cover": _PERCENT,
    "sat:orbit_state": {"type": "string"},
    "sat:relative_orbit": {"type": "integer"},
    "processing:version": {"type": "string"},
}


def landing(root: str) -> dict[str, Any]:
    """Return the landing page of an API whose address is *root*."""
    return {
        "type": "Catalog",
        "id": "cdse-stac",
        "title": "Copernicus Data Space on loopback",
        "description": "A stand-in for the Copernicus Data Space's STAC catalog. "
        "Its products are made up.",
        "stac_version": "1.0.0",
        "conformsTo": list(CONFORMANCE),
        "links": [
            _json_link("self", root),
            _json_link("root", root),
            _json_link("data", f"{root}collections"),
            _json_link("conformance", f"{root}conformance"),
            _search_link(root, "GET"),
            _search_link(root, "POST"),
            {
                "rel": _QUERYABLES_REL,
                "type": "application/schema+json",
                "href": f"{root}queryables",
                "method": "GET",
            },
            {
                "rel": "service-desc",
                "type": "application/vnd.oai.openapi+json;version=3.0",
                "href": f"{root}api",
            },
        ],
        "stac_extensions": [],
    }


def collections_page(root: str, params: Mapping[str, str]) -> dict[str, Any]:
    """Return one page of all collections, sorted by id: those of Sentinel-2 are on a late one."""
    limit = min(int(params.get("limit", _DEFAULT_COLLECTIONS)), _MAX_COLLECTIONS)
    start = int(params.get("offset", 0))
    found = [any_collection(root, name) for name in ALL_COLLECTIONS[start : start + limit]]
    links = [_json_link("root", root)]
    if start + limit < len(ALL_COLLECTIONS):
        links.append(_json_link("next", f"{root}collections?limit={limit}&offset={start + limit}"))
    counts = {"numberMatched": len(ALL_COLLECTIONS), "numberReturned": len(found)}
    return {"collections": found, "links": links, **counts}


def any_collection(root: str, name: str) -> dict[str, Any]:
    """Return a collection. Others than those of Sentinel-2 have scalars in their summaries."""
    if name in COLLECTIONS:
        return collection(root, name)
    summaries = {"gsd": 30, "constellation": name.partition("-")[0]}
    home = f"{root}collections/{name}"
    return {
        "id": name,
        "type": "Collection",
        "stac_version": "1.1.0",
        "description": "A collection without items.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-27T10:25:31Z", None]]},
        },
        "summaries": summaries,
        "links": [_json_link("self", home), _json_link("root", root)],
    }


def collection(root: str, name: str) -> dict[str, Any]:
    """Return one collection; *name* is one of COLLECTIONS."""
    level, product_type, processing_level = _SUMMARIES[name]
    home = f"{root}collections/{name}"
    return {
        "id": name,
        "type": "Collection",
        "title": f"Sentinel-2 Level-{level[1:]}",
        "description": f"Made-up Sentinel-2 Level-{level[1:]} products.",
        "license": "other",
        "keywords": ["Copernicus", "Sentinel", "Imagery"],
        "stac_version": "1.1.0",
        "stac_extensions": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-27T10:25:31Z", None]]},
        },
        "summaries": {
            "gsd": [10],
            "platform": ["sentinel-2a", "sentinel-2b", "sentinel-2c"],
            "instruments": ["msi"],
            "constellation": ["sentinel-2"],
            "product:type": [product_type],
            "processing:level": [processing_level],
        },
        "links": [
            {"rel": "items", "type": "application/geo+json", "href": f"{home}/items"},
            _json_link("parent", root),
            _json_link("root", root),
            _json_link("self", home),
            {
                "rel": _QUERYABLES_REL,
                "type": "application/schema+json",
                "href": f"{home}/queryables",
            },
        ],
    }


def queryables(address: str) -> dict[str, Any]:
    """Return the JSON schema of the properties for filters."""
    return {
        "$id": address,
        "$schema": "https://json-schema.org/draft-07/schema#",
        "type": "object",
        "title": "STAC Queryables.",
        "properties": _PROPERTIES,
        "additionalProperties": True,
    }


def _json_link(rel: str, href: str) -> dict[str, str]:
    return {"rel": rel, "type": "application/json", "href": href}


def _search_link(root: str, method: str) -> dict[str, str]:
    return {
        "rel": "search",
        "type": "application/geo+json",
        "title": f"STAC search [{method}]",
        "href": f"{root}search",
        "method": method,
    }
