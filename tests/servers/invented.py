"""STAC items in CDSE's form, for products that do not exist."""

from datetime import UTC, datetime
from typing import Any

COLLECTION = "sentinel-2-l2a"
EXTENSIONS = ("eo/v2.0.0", "file/v2.1.0", "grid/v1.1.0", "processing/v1.2.0", "product/v0.1.0")
NORTH_SOUTH_WEST_EAST = (48.7, 47.7, 7.7, 9.1)


def collection() -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": COLLECTION,
        "title": "Sentinel-2 Level-2A",
        "description": "Invented products",
        "license": "other",
        "links": [],
        "extent": {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2015-06-27T10:25:31Z", None]]},
        },
    }


def item(day: int = 1, *, tile: str = "32TMT", published: datetime | None = None) -> dict[str, Any]:
    """Return an item of a product sensed on one day of May 2026, by default listed at noon."""
    name = f"S2C_MSIL2A_202605{day:02d}T102601_N0512_R108_T{tile}_202605{day:02d}T160005"
    north, south, west, east = NORTH_SOUTH_WEST_EAST
    ring = [[west, north], [west, south], [east, south], [east, north], [west, north]]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            f"https://stac-extensions.github.io/{e}/schema.json" for e in EXTENSIONS
        ],
        "id": name,
        "collection": COLLECTION,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, south, east, north],
        "links": [_enclosure(name, day)],
        "assets": _assets(name, day),
        "properties": _properties(
            name, day, tile, published or datetime(2026, 5, day, 12, tzinfo=UTC)
        ),
    }


def prefix(name: str, day: int) -> str:
    return f"Sentinel-2/MSI/L2A/2026/05/{day:02d}/{name}.SAFE/"


def _enclosure(name: str, day: int) -> dict[str, Any]:
    return {
        "rel": "enclosure",
        "href": f"s3://eodata/{prefix(name, day)}",
        "type": "application/x-directory",
        "title": "S3 path to source directory",
        "auth:refs": ["s3"],
        "storage:refs": ["cdse-s3", "creodias-s3"],
    }


def _assets(name: str, day: int) -> dict[str, Any]:
    return {
        "safe_manifest": {
            "href": f"s3://eodata/{prefix(name, day)}manifest.safe",
            "type": "application/xml",
            "roles": ["metadata"],
            "file:size": 68907,
            # A multihash: MD5 (d501), 16 bytes (10), and the digest.
            "file:checksum": "d50110" + "5a" * 16,
            "file:local_path": f"{name}.SAFE/manifest.safe",
            "alternate": {
                "https": {"href": f"https://download.invalid/{name}", "auth:refs": ["oidc"]}
            },
        }
    }


def _properties(name: str, day: int, tile: str, published: datetime) -> dict[str, Any]:
    sensed = f"2026-05-{day:02d}T10:26:01.024000Z"
    listed = published.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "datetime": sensed,
        "start_datetime": sensed,
        "end_datetime": sensed,
        "created": listed,
        "updated": listed,
        "published": listed,
        "expires": "2262-01-01T00:00:00.000000Z",
        "platform": "sentinel-2c",
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "product:type": "S2MSI2A",
        "grid:code": f"MGRS-{tile}",
        "eo:cloud_cover": 36.08,
        "sat:relative_orbit": 108,
        "processing:version": "05.12",
        "statistics": {"water": 3.429567, "nodata": 0},
        "auth:schemes": {"s3": {"type": "s3"}},
        "storage:schemes": {"cdse-s3": {"type": "custom-s3", "requester_pays": False}},
        "_private": {"visible": True, "product_name": f"{name}.SAFE", "product_size": 1186241276},
    }
