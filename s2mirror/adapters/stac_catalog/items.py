"""Converts a STAC item, as CDSE serves it, to a product.

Items of every age must be accepted: those of 2026 have ``enclosure`` and ``_private``, older ones
have neither. Where a property is missing, the product's name contains the same value.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
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
    normal_platform,
    parse_name,
    unmirrored_kind,
)
from s2mirror.tiles import normal_tile
from s2mirror.times import parse_utc

_BASELINE: Final = re.compile(r"\d{2}\.\d{2}")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt][\d:.]{8,20}([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MAX_PROPERTIES: Final = 64 * 1024
"""The ledger stores the properties of every product. CDSE's have about 1 kB."""
_MAX_ORBIT: Final = 999

SAFE: Final = ".SAFE"
"""CDSE's present catalog names items without this suffix; its older one had it."""


def parse_page(page: Json, *, collection: str, bucket: str) -> Page:
    """Return the products of a search response, and the unusable items with reasons."""

    def parse(item: Any) -> tuple[Product, Json]:  # noqa: ANN401 - parsed JSON
        product = parse_item(item, collection=collection, bucket=bucket)
        return product, _respelled(item["properties"], product)

    return page_of(page["features"], parse, _shown_id, collection)


def _respelled(properties: Json, product: Product) -> Json:
    """Return the properties of a product with platform and times as CDSE usually spells them."""
    respelled = {
        name: value.upper()
        for name, value in properties.items()
        if isinstance(value, str) and _TIME.fullmatch(value)
    }
    if properties.get("platform"):
        respelled["platform"] = product.platform
    return {**properties, **respelled}


def parse_item(item: object, *, collection: str, bucket: str) -> Product:
    """Return the product that a STAC item describes.

    Raises ItemRejected with the reason.
    """
    if not isinstance(item, dict):
        raise ItemRejected(f"it is {type(item).__name__}, not a STAC item")
    with malformed_rejected():
        return _product(item, collection, bucket)


def _product(item: Json, collection: str, bucket: str) -> Product:
    product_id = check_product_id(str(item.get("id", "")).removesuffix(SAFE))
    if kind := unmirrored_kind(product_id):
        raise ItemSkipped(kind)
    name = parse_name(product_id)
    properties = item.get("properties") or {}
    if len(json.dumps(properties)) > _MAX_PROPERTIES:
        raise ItemRejected(f"its properties have more than {_MAX_PROPERTIES} characters")
    if item.get("collection", collection) != collection:
        raise ItemRejected(f"it belongs to {item['collection']!r}, not to {collection!r}")
    published_at = _time(properties, "published", "created")
    return Product(
        id=product_id,
        collection=collection,
        platform=_platform(properties, name),
        tile=_tile(properties, name),
        baseline=_baseline(properties, name),
        relative_orbit=_relative_orbit(properties, name),
        sensed_at=_sensed_at(properties),
        published_at=published_at,
        generated_at=_generated_at(properties, name, published_at),
        cloud_cover_percent=number(properties.get("eo:cloud_cover")),
        size_bytes=_size_bytes(item, properties),
        s3_prefix=_s3_prefix(item, product_id, bucket),
        datatake_id=storable_text(properties.get("eopf:datatake_id") or "", MAX_TEXT),
        datastrip_id=storable_text(properties.get("eopf:datastrip_id") or "", MAX_TEXT),
        revision=_revision(item),
        footprint_wkb=pack(footprint(item.get("geometry"))),
    )


def _time(properties: Json, *names: str) -> datetime:
    for name in names:
        if isinstance(properties.get(name), str):
            return parse_utc(properties[name])
    raise ItemRejected(f"it has no {names[0]!r} time")


def _sensed_at(properties: Json) -> datetime:
    names = "datetime", "start_datetime"
    if "datetime" in properties and all(properties.get(name) is None for name in names):
        raise ItemRejected("its 'datetime' is null, and it has no 'start_datetime'")
    return _time(properties, *names)


def _platform(properties: Json, name: ProductName | None) -> str:
    text = str(properties.get("platform") or (name.platform if name else ""))
    platform = normal_platform(text)
    if platform is None:
        raise ItemRejected(f"its platform is {text!r}; expected sentinel-2a, -2b, …")
    return platform


def _tile(properties: Json, name: ProductName | None) -> str:
    code = str(properties.get("grid:code") or (f"MGRS-{name.tile}" if name else ""))
    return normal_tile(code.removeprefix("MGRS-"))


def _baseline(properties: Json, name: ProductName | None) -> str:
    text = str(properties.get("processing:version") or "")
    if _BASELINE.fullmatch(text):
        return text
    if name is None:
        raise ItemRejected(f"its processing:version is {text!r}; expected a baseline like '05.12'")
    return name.baseline


def _relative_orbit(properties: Json, name: ProductName | None) -> int:
    value = properties.get("sat:relative_orbit")
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MAX_ORBIT:
        return value
    if name is None:
        raise ItemRejected("it has no sat:relative_orbit")
    return name.relative_orbit


def _generated_at(properties: Json, name: ProductName | None, default: datetime) -> datetime:
    text = properties.get("processing:datetime")
    if isinstance(text, str):
        return parse_utc(text)
    return name.discriminator if name else default


def _size_bytes(item: Json, properties: Json) -> int | None:
    """Return the unpacked size if the item has it, else the zip's, which is a little larger."""
    private = properties.get("_private")
    known = private.get("product_size") if isinstance(private, dict) else None
    zipped = (item.get("assets") or {}).get("Product") or {}
    return size_bytes(known) or size_bytes(zipped.get("file:size"))


def _revision(item: Json) -> str:
    manifest = (item.get("assets") or {}).get("safe_manifest") or {}
    return storable_text(manifest.get("file:checksum") or "", MAX_TEXT).lower()


def _s3_prefix(item: Json, product_id: str, bucket: str) -> str:
    """Return the key prefix of a product, taken from its links or assets, never guessed."""
    folder = f"/{product_id}.SAFE/"
    for href in _hrefs(item):
        scheme, _, path = href.partition("://")
        if scheme.lower() == "s3" and folder in path:
            found_bucket, _, key = path.partition("/")
            prefix = key[: key.index(folder) + len(folder)] if folder in key else ""
            # S3 knows no capitals in names of buckets; other clouds write EODATA.
            if found_bucket.lower() != bucket.lower():
                raise ItemRejected(f"it is stored in bucket {found_bucket!r}, not in {bucket!r}")
            return check_product_path(product_id, check_remote_path(prefix.rstrip("/"))) + "/"
    raise ItemRejected("none of its links and assets points to its folder in the S3 store")


def _hrefs(item: Json) -> Iterator[str]:
    links = [link for link in item.get("links") or [] if link.get("rel") == "enclosure"]
    for holder in (*links, *(item.get("assets") or {}).values()):
        yield str(holder.get("href", ""))


def _shown_id(item: object) -> str:
    found = item.get("id") if isinstance(item, dict) else None
    return shown_text(found)
