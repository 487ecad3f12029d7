"""One product of the archive as a STAC item: what CDSE says of it, and where its files are here."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from s2mirror import __version__
from s2mirror.checksum import multihash
from s2mirror.model import ArchivedProduct, Product
from s2mirror.stac.assets import asset_facts, asset_grid, asset_key, preview_facts
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
"""By what stands before the colon of a field's name.

``eopf`` is not among them: its schema asks for another address than the one that it is published
at, so that no item which claims it is valid.
"""
_STORES: Final = "storage:schemes"
_NO_ASSETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})


def item(
    archived: ArchivedProduct, *, folder: str, links: Sequence[Mapping[str, str]], bucket: str
) -> dict[str, Any]:
    """Return a product that stands in the archive as a STAC item.

    *folder* is where its files are, as they are to be named from the item: a path, relative or
    absolute, without a slash at its end.
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
    """Return what the catalog says of a product as it wrote it, and whence our bytes are."""
    return {
        **(archived.properties or known_properties(archived.product)),
        "s2mirror:source": source_of(archived.product.s3_prefix, bucket=bucket),
        "s2mirror:fetched_at": iso_time(archived.fetched_at),
        "s2mirror:verified_at": iso_time(archived.verified_at),
        "s2mirror:version": __version__,
    }


def source_of(s3_prefix: str, *, bucket: str) -> str:
    """Return where the bytes of a product are from."""
    return f"s3://{bucket}/{s3_prefix}"


def assets_of(archived: ArchivedProduct, *, folder: str) -> dict[str, dict[str, Any]]:
    """Return an asset for each image, metadata file and preview, with proven size and digest."""
    baseline, grid = archived.product.baseline, _grid(archived.product.tile)
    assets = {}
    for file in archived.files:
        if key := asset_key(file.path):
            assets[key] = {
                "href": f"{folder}/{file.path}",
                **asset_facts(key, baseline),
                **(asset_grid(key, grid) if grid else {}),
                "file:size": file.size_bytes,
                "file:checksum": multihash(file.digest),
            }
    root = folder.removesuffix(archived.path)
    for number, (name, path) in enumerate(archived.previews):
        assets[f"preview_{name}_{number}"] = {
            "href": f"{root}{path}",
            **preview_facts(path, name),
        }
    return dict(sorted(assets.items()))


def extensions_of(
    properties: Mapping[str, Any], assets: Mapping[str, Mapping[str, Any]] = _NO_ASSETS
) -> tuple[str, ...]:
    """Return the extensions that an item's fields belong to, sorted.

    Most schemas want one field of theirs at least, so nothing is claimed for what might be there.
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
    """Tell whether a property has a value that its extension's schema could take."""
    if name != _STORES:
        return value is not None
    # CDSE's older items do not say of what type their stores are, as version 2 wants it.
    stores = value.values() if isinstance(value, dict) else [None]
    return all(isinstance(store, dict) and "type" in store for store in stores)


@lru_cache(maxsize=4096)
def _grid(tile: str) -> tuple[int, int, int] | None:
    try:
        return tile_grid(tile)
    except ValueError:
        return None


def known_properties(product: Product) -> dict[str, Any]:
    """Return what the ledger knows, for a product whose own properties were not kept."""
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


def iso_time(moment: datetime | None) -> str | None:
    """Return an instant as STAC writes it, in UTC."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
