"""Generates complete Sentinel-2 products: files, manifest and STAC item."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from shapely import affinity
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from s2mirror import manifest
from s2mirror.sandbox.content import file_content
from s2mirror.sandbox.imagery import Imagery
from s2mirror.sandbox.item import write_item, write_light_item
from s2mirror.sandbox.layout import Member, Paths, loose_members, manifest_members
from s2mirror.sandbox.manifest_xml import write_manifest
from s2mirror.sandbox.product_metadata import write_product_metadata
from s2mirror.sandbox.spec import WHOLE_TILE, ProductSpec
from s2mirror.tiles import tile_polygon

ROOT_AUX_KEY: Final = "AUX_DATA/"
"""The empty folder of a SAFE; in the store it is a key without content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxProduct:
    """A product as the sandbox serves it."""

    id: str
    collection: str
    prefix: str
    """Key prefix in the bucket, ending in ``.SAFE/``."""
    files: Mapping[str, bytes]
    """Contents by path below the prefix; a path ending in ``/`` is a folder key."""
    item: Mapping[str, Any]
    """The STAC item without the links that the API adds."""

    @property
    def keys(self) -> dict[str, bytes]:
        """Contents by key in the bucket."""
        return {f"{self.prefix}{path}": content for path, content in self.files.items()}

    @property
    def size_bytes(self) -> int:
        """Sum of all file sizes."""
        return sum(len(content) for content in self.files.values())


def make_product(spec: ProductSpec) -> SandboxProduct:
    """Return the product that *spec* describes; equal specs give equal products."""
    footprint = footprint_of(spec)
    listed = manifest_members(spec.level, Paths.of(spec))
    files = make_files([*listed, *loose_members(spec.level, spec.id)], spec)
    files[manifest.NAME] = write_manifest(spec, listed, files, footprint)
    return SandboxProduct(
        id=spec.id,
        collection=spec.collection,
        prefix=spec.prefix,
        files={**files, ROOT_AUX_KEY: b""},
        item=write_item(spec, files, footprint),
    )


def make_item(spec: ProductSpec) -> SandboxProduct:
    """Return a product with an item and no files, small enough for tens of thousands."""
    return SandboxProduct(
        id=spec.id,
        collection=spec.collection,
        prefix=spec.prefix,
        files={},
        item=write_light_item(spec, footprint_of(spec)),
    )


def make_files(members: list[Member], spec: ProductSpec) -> dict[str, bytes]:
    """Return the contents of *members*: images to look at, or noise at the scale of *spec*."""
    imagery = Imagery(spec, footprint_of(spec)) if spec.imagery else None
    return {member.path: _content(member, spec, imagery) for member in members}


def _content(member: Member, spec: ProductSpec, imagery: Imagery | None) -> bytes:
    if imagery and (image := imagery.content(member.path)):
        return image
    size_bytes = round(member.real_bytes * spec.scale)
    if member.path == f"MTD_MSI{spec.level}.xml":
        return write_product_metadata(spec, size_bytes)
    return file_content(member.path, size_bytes, f"{spec.id}/{spec.seed}")


def footprint_of(spec: ProductSpec) -> BaseGeometry:
    """Return the polygon of the part of the tile that has data, in WGS 84."""
    tile = _tile(spec.tile)
    if spec.covers == WHOLE_TILE:
        return tile
    west, south, east, north = tile.bounds
    unit = box(*spec.covers)
    window = affinity.affine_transform(unit, (east - west, 0, 0, north - south, west, south))
    return tile.intersection(window)


@lru_cache(maxsize=256)
def _tile(tile: str) -> BaseGeometry:
    return tile_polygon(tile)
