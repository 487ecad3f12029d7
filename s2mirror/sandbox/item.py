"""Generates STAC items as the STAC catalog serves them for Sentinel-2."""

import hashlib
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from s2mirror.sandbox.assets import ProductLocation, assets_of
from s2mirror.sandbox.spec import ProductSpec

_DESIGNATORS: Final = {
    "sentinel-2a": "2015-028A",
    "sentinel-2b": "2017-013A",
    "sentinel-2c": "2024-157A",
}
_OPENID: Final = (
    "https://identity.dataspace.copernicus.eu/auth/realms/CDSE/.well-known/openid-configuration"
)
_EXTENSIONS: Final = (
    "https://cs-si.github.io/eopf-stac-extension/v1.2.0/schema.json",
    "https://stac-extensions.github.io/alternate-assets/v1.2.0/schema.json",
    "https://stac-extensions.github.io/authentication/v1.1.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    "https://stac-extensions.github.io/file/v2.1.0/schema.json",
    "https://stac-extensions.github.io/grid/v1.1.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/product/v1.0.0/schema.json",
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/sat/v1.1.0/schema.json",
    "https://stac-extensions.github.io/storage/v2.0.0/schema.json",
    "https://stac-extensions.github.io/timestamps/v1.1.0/schema.json",
    "https://stac-extensions.github.io/view/v1.1.0/schema.json",
)


def write_item(
    spec: ProductSpec, files: Mapping[str, bytes], geometry: BaseGeometry
) -> dict[str, Any]:
    """Return the item of a product with *files*, without the links that the API adds."""
    location = ProductLocation(
        product_id=spec.id,
        prefix=spec.prefix,
        uuid=str(uuid.UUID(bytes=hashlib.sha256(spec.id.encode()).digest()[:16])),
        is_recent=spec.item_style == "2026",
    )
    total = sum(len(content) for content in files.values())
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": spec.id,
        "collection": spec.collection,
        "geometry": mapping(geometry),
        "bbox": list(geometry.bounds),
        "properties": {**_properties(spec), **_private(location, total)},
        "links": _links(location),
        "assets": assets_of(location, files, utm_zone=_utm_code(spec.tile)),
    }


def write_light_item(spec: ProductSpec, geometry: BaseGeometry) -> dict[str, Any]:
    """Return an item with the assets that need no files, for catalogs of many thousands."""
    return write_item(spec, {}, geometry)


def _utm_code(tile: str) -> int:
    """Return the EPSG code of a tile's UTM zone; latitude bands from N on are north."""
    return (32600 if tile[2] >= "N" else 32700) + int(tile[:2])


def _properties(spec: ProductSpec) -> dict[str, Any]:
    sensed = _time(spec.sensed_at.replace(microsecond=25000))
    created = _time(spec.listed_at.replace(microsecond=0))
    return {
        "datetime": sensed,
        "start_datetime": sensed,
        "end_datetime": sensed,
        "created": created,
        "published": _time(spec.listed_at),
        "updated": _time(spec.updated_at or spec.listed_at),
        "eopf:origin_datetime": created,
        "expires": "2262-01-01T00:00:00.000000Z",
        **_platform(spec),
        **_processing(spec),
        **_clouds(spec),
        "grid:code": f"MGRS-{spec.tile}",
        "eopf:datatake_id": spec.datatake_id,
        "eopf:datastrip_id": spec.datastrip_id,
        "eopf:instrument_mode": "INS-NOBS",
        **_l2a_only(spec),
        **_schemes(spec.item_style),
    }


def _platform(spec: ProductSpec) -> dict[str, Any]:
    return {
        "platform": spec.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "sat:orbit_state": "descending",
        "sat:relative_orbit": spec.relative_orbit,
        "sat:absolute_orbit": spec.absolute_orbit,
        "sat:platform_international_designator": _DESIGNATORS.get(spec.platform, "2024-157A"),
        "view:azimuth": 112.231811449877,
        "view:incidence_angle": 5.02719722657594,
        "view:sun_azimuth": 155.4,
        "view:sun_elevation": 61.2,
    }


def _processing(spec: ProductSpec) -> dict[str, Any]:
    return {
        "processing:datetime": _time(spec.generated_at),
        "processing:level": spec.level[:2],
        "processing:version": spec.baseline,
        "processing:facility": "ESA",
        "processing:software": {"eometadatatool": "260327122600+dirty"},
        "product:type": f"S2MSI{spec.level[1:]}",
        "product:timeliness": "PT24H",
        "product:timeliness_category": "NRT",
    }


def _clouds(spec: ProductSpec) -> dict[str, Any]:
    known = spec.cloud_cover_percent is not None
    return {"eo:cloud_cover": spec.cloud_cover_percent} if known else {}


def _l2a_only(spec: ProductSpec) -> dict[str, Any]:
    if spec.level != "L2A":
        return {}
    statistics = {"water": 3.4, "nodata": 0, "vegetation": 41.9, "not_vegetated": 42.2}
    return {"eo:snow_cover": 0.0, "statistics": statistics}


@lru_cache(maxsize=2)
def _schemes(item_style: str) -> dict[str, Any]:
    # Older items have neither type nor class in their storage schemes.
    kind = {"type": "custom-s3", "class": "hot"} if item_style == "2026" else {}
    return {
        "auth:schemes": {
            "s3": {"type": "s3"},
            "oidc": {"type": "openIdConnect", "openIdConnectUrl": _OPENID},
        },
        "storage:schemes": {
            "cdse-s3": {
                **kind,
                "title": "Copernicus Data Space Ecosystem S3",
                "platform": "https://eodata.dataspace.copernicus.eu",
                "requester_pays": False,
            },
            "creodias-s3": {
                **kind,
                "title": "CREODIAS S3",
                "platform": "https://eodata.cloudferro.com",
                "requester_pays": True,
            },
        },
    }


def _private(location: ProductLocation, total_bytes: int) -> dict[str, Any]:
    if not location.is_recent:
        return {}
    return {
        "_private": {
            "visible": True,
            "product_name": f"{location.product_id}.SAFE",
            "product_size": total_bytes,
            "product_uuid": location.uuid,
        }
    }


def _links(location: ProductLocation) -> list[dict[str, Any]]:
    history = {
        "rel": "version-history",
        "href": "https://trace.dataspace.copernicus.eu/api/v1/traces/name/"
        f"{location.product_id}.SAFE.zip",
        "type": "application/json",
        "title": "Product history record from the CDSE traceability service",
    }
    enclosure = {
        "rel": "enclosure",
        "href": f"s3://eodata/{location.prefix}",
        "type": "application/x-directory",
        "title": "S3 path to source directory",
        "auth:refs": ["s3"],
        "storage:refs": ["cdse-s3", "creodias-s3"],
    }
    return [enclosure, history] if location.is_recent else [history]


def _time(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
