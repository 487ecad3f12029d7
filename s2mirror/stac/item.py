"""A held product as a STAC item: CDSE's properties, and the paths of the local files."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from s2mirror import __version__
from s2mirror.checksum import multihash
from s2mirror.model import ArchivedProduct, Product
from s2mirror.stac.assets import asset_fields, asset_grid, asset_key, preview_fields
from s2mirror.tiles import tile_grid

_HOST: Final = "https://stac-extensions.github.io"
_EXTENSIONS: Final = {
    "auth": f"{_HOST}/authentication/v1.1.0/schema.json",
    "classification": f"{_HOST}/classification/v2.0.0/schema.json",
    "eo": f"{_HOST}/eo/v2.0.0/schema.json",
    "expires": f"{_HOST}/timestamps/v1.1.0/schema.json",
    "file": f"{_HOST}/file/v2.1.0/schema.json",
    "grid": f"{_HOST}/grid/v1.1.0/schema.json",
    "processing": f"{_HOST}/processing/v1.2.0/schema.json",
    "product": f"{_HOST}/product/v1.0.0/schema.json",
    "proj": f"{_HOST}/projection/v2.0.0/schema.json",
    "published": f"{_HOST}/timestamps/v1.1.0/schema.json",
    "raster": f"{_HOST}/raster/v2.0.0/schema.json",
    "sat": f"{_HOST}/sat/v1.1.0/schema.json",
    "storage": f"{_HOST}/storage/v2.0.0/schema.json",
    "view": f"{_HOST}/view/v1.1.0/schema.json",
}
"""Schemas by the prefix of a field's name.

``eopf`` is not among them: its schema requires another address than the one at which it is
published, so that no item that names it is valid.
"""
NO_CONVERSION: Final = "s2mirror:no_conversion"
"""Why some or all images of an item have neither ``raster:scale`` nor ``raster:offset``."""
SUPERSEDED_BY: Final = "s2mirror:superseded_by"
"""The id of the best held version of the same image, for an item of another version."""
_STORES: Final = "storage:schemes"
_NO_ASSETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


def item(
    archived: ArchivedProduct, *, folder: str, links: Sequence[Mapping[str, str]], bucket: str
) -> dict[str, Any]:
    """Return a held product as a STAC item.

    *folder* is the path of the product as links in the item need it: relative or absolute, without
    a trailing slash.
    """
    from shapely.geometry import mapping  # noqa: PLC0415 - writers of items use it, others do not

    from s2mirror.geometry import bounding_box, unpack  # noqa: PLC0415 - likewise

    footprint = unpack(archived.product.footprint_wkb)
    properties = item_properties(archived, bucket=bucket)
    assets = assets_of(archived, folder=folder)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(extensions_of(properties, assets)),
        "id": archived.product.id,
        "geometry": mapping(footprint),
        "bbox": list(bounding_box(footprint)),
        "properties": properties,
        "links": list(links),
        "assets": assets,
        "collection": archived.product.collection,
    }


def item_properties(archived: ArchivedProduct, *, bucket: str) -> dict[str, Any]:
    """Return the catalog's properties of a product, with the source of its bytes added."""
    return {
        **(archived.properties or known_properties(archived.product)),
        "s2mirror:source": source_of(archived.product.s3_prefix, bucket=bucket),
        "s2mirror:fetched_at": iso_time(archived.fetched_at),
        "s2mirror:verified_at": iso_time(archived.verified_at),
        "s2mirror:version": __version__,
        **({NO_CONVERSION: doubt} if (doubt := archived.radiometry.doubt) else {}),
    }


def source_of(s3_prefix: str, *, bucket: str) -> str:
    """Return the S3 address from which a product was downloaded."""
    return f"s3://{bucket}/{s3_prefix}"


def assets_of(archived: ArchivedProduct, *, folder: str) -> dict[str, dict[str, Any]]:
    """Return an asset for each image, metadata file and preview, with verified size and digest."""
    conversions, grid = dict(archived.radiometry.conversions), _grid(archived.product.tile)
    assets = {}
    for file in archived.files:
        if key := asset_key(file.path):
            assets[key] = {
                "href": f"{folder}/{file.path}",
                **asset_fields(key, conversions.get(key.partition("_")[0])),
                **(asset_grid(key, grid) if grid else {}),
                "file:size": file.size_bytes,
                "file:checksum": multihash(file.digest),
            }
    root = folder.removesuffix(archived.path)
    for number, (name, path) in enumerate(archived.previews):
        assets[f"preview_{name}_{number}"] = {
            "href": f"{root}{path}",
            **preview_fields(path, name),
        }
    return dict(sorted(assets.items()))


def extensions_of(
    properties: Mapping[str, Any], assets: Mapping[str, Mapping[str, Any]] = _NO_ASSETS
) -> tuple[str, ...]:
    """Return the extensions that an item's fields belong to, sorted.

    Most schemas require at least one of their fields, so only extensions with a field in use are
    listed.
    """
    names = {name for name, value in properties.items() if _counts(name, value)}
    for asset in assets.values():
        names.update(asset, *asset.get("bands", ()))
    return _extensions(frozenset(names))


@lru_cache(maxsize=1024)
def _extensions(names: frozenset[str]) -> tuple[str, ...]:
    used = {_EXTENSIONS.get(name.partition(":")[0]) for name in names}
    return tuple(sorted(uri for uri in used if uri))


def _counts(name: str, value: object) -> bool:
    """Return whether a property has a value that its extension's schema permits."""
    if name != _STORES:
        return value is not None
    # CDSE's older items lack the type of their stores, which version 2 requires.
    stores = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(store, dict) and "type" in store for store in stores)


@lru_cache(maxsize=4096)
def _grid(tile: str) -> tuple[int, int, int] | None:
    try:
        return tile_grid(tile)
    except ValueError:
        return None


def known_properties(product: Product) -> dict[str, Any]:
    """Return properties from the ledger's values, for a product whose own ones were not stored."""
    clouds = product.cloud_cover_percent
    return {
        "datetime": iso_time(product.sensed_at),
        "published": iso_time(product.published_at),
        "platform": product.platform,
        "constellation": "sentinel-2",
        "instruments": ["msi"],
        "gsd": 10,
        "grid:code": f"MGRS-{product.tile}",
        "sat:relative_orbit": product.relative_orbit,
        "processing:datetime": iso_time(product.generated_at),
        "processing:version": product.baseline,
        **({} if clouds is None else {"eo:cloud_cover": clouds}),
    }


def iso_time(instant: datetime | None) -> str | None:
    """Return an instant in UTC in STAC's format."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
