"""Converts a product record of OData to a product.

The record has the same values as the STAC item, as the STAC catalog is filled from it; its fields
are in https://documentation.dataspace.copernicus.eu/APIs/OData.html. Where a value is missing, the
product's name contains it.
"""

from functools import partial
from typing import Any, Final

from s2mirror.catalog_values import (
    MAX_TEXT,
    Json,
    malformed_rejected,
    number,
    page_of,
    shown_text,
    size_bytes,
)
from s2mirror.clean_text import storable_text
from s2mirror.errors import ItemRejected, ItemSkipped
from s2mirror.geometry import footprint, pack
from s2mirror.layout import check_product_path
from s2mirror.model import Page, Product
from s2mirror.naming import (
    ProductName,
    check_product_id,
    check_remote_path,
    parse_name,
    unmirrored_kind,
)
from s2mirror.tiles import normal_tile
from s2mirror.times import parse_utc

COLLECTIONS: Final = {"sentinel-2-l1c": "S2MSI1C", "sentinel-2-l2a": "S2MSI2A"}
"""The product type of each STAC collection."""
_MAX_CHECKSUMS: Final = 8


def parse_records(records: list[Any], *, collection: str, bucket: str) -> Page:
    """Return the products of a page, and the unusable records with reasons."""
    return page_of(records, partial(_parse, collection, bucket), record_id, collection)


def record_id(record: object) -> str:
    """Return the product id of a record, as text that can be shown."""
    found = record.get("Name") if isinstance(record, dict) else None
    return shown_text(str(found or "").removesuffix(".SAFE"))


def _parse(collection: str, bucket: str, record: object) -> tuple[Product, Json]:
    if not isinstance(record, dict):
        raise ItemRejected(f"it is {type(record).__name__}, not a product record")
    with malformed_rejected():
        return _product(record, collection, bucket)


def _product(record: Json, collection: str, bucket: str) -> tuple[Product, dict[str, Any]]:
    product_id = check_product_id(str(record["Name"]).removesuffix(".SAFE"))
    if kind := unmirrored_kind(product_id):
        raise ItemSkipped(kind)
    name = parse_name(product_id)
    if name is None:
        raise ItemRejected("its name is not that of a Sentinel-2 product")
    known = {entry["Name"]: entry["Value"] for entry in record.get("Attributes") or ()}
    if (found := known.get("productType", COLLECTIONS[collection])) != COLLECTIONS[collection]:
        raise ItemRejected(f"its product type is {found!r}, not {COLLECTIONS[collection]!r}")
    product = Product(
        id=product_id,
        collection=collection,
        platform=name.platform,
        tile=normal_tile(name.tile),
        baseline=name.baseline,
        relative_orbit=name.relative_orbit,
        sensed_at=parse_utc(record["ContentDate"]["Start"]),
        published_at=parse_utc(record["PublicationDate"]),
        generated_at=name.discriminator,
        cloud_cover_percent=number(known.get("cloudCover")),
        size_bytes=size_bytes(record.get("ContentLength")),
        s3_prefix=_s3_prefix(record, product_id, bucket),
        datatake_id=storable_text(known.get("productGroupId") or "", MAX_TEXT),
        datastrip_id=storable_text(known.get("datastripId") or "", MAX_TEXT),
        revision="",
        footprint_wkb=pack(footprint(record.get("GeoFootprint"))),
    )
    return product, _properties(product, name, record)


def _properties(product: Product, name: ProductName, record: Json) -> dict[str, Any]:
    """Return the properties that a STAC item of the product has, and OData's checksums."""
    sensed_at = product.sensed_at.isoformat().replace("+00:00", "Z")
    return {
        "datetime": sensed_at,
        "start_datetime": sensed_at,
        "end_datetime": sensed_at,
        "published": product.published_at.isoformat().replace("+00:00", "Z"),
        "platform": product.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "grid:code": f"MGRS-{product.tile}",
        "sat:relative_orbit": product.relative_orbit,
        "processing:version": product.baseline,
        "processing:level": f"L{name.level[1]}",
        "product:type": COLLECTIONS[product.collection],
        "eopf:datatake_id": product.datatake_id,
        "eopf:datastrip_id": product.datastrip_id,
        **(
            {"eo:cloud_cover": product.cloud_cover_percent}
            if product.cloud_cover_percent is not None
            else {}
        ),
        "s2mirror:zip_checksums": _checksums(record),
    }


def _checksums(record: Json) -> dict[str, str]:
    """Return the digests of the product's zip; empty within a minute of its publication."""
    found = record.get("Checksum") or []
    return {
        storable_text(entry["Algorithm"], MAX_TEXT): storable_text(entry["Value"], MAX_TEXT)
        for entry in found[:_MAX_CHECKSUMS]
    }


def _s3_prefix(record: Json, product_id: str, bucket: str) -> str:
    """Return the key prefix in ``S3Path``, which begins with ``/eodata/``; never guessed."""
    found_bucket, _, path = str(record["S3Path"]).strip("/").partition("/")
    if found_bucket.lower() != bucket.lower():
        raise ItemRejected(f"it is stored in bucket {found_bucket!r}, not in {bucket!r}")
    return check_product_path(product_id, check_remote_path(path)) + "/"
