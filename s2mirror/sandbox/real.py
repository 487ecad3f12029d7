"""Makes products from recorded items and manifests, with generated files."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from s2mirror import manifest
from s2mirror.errors import UsageError
from s2mirror.geometry import footprint
from s2mirror.naming import parse_name
from s2mirror.sandbox.assets import with_manifest_checksum
from s2mirror.sandbox.item import write_item
from s2mirror.sandbox.layout import Paths, loose_members, manifest_members
from s2mirror.sandbox.manifest_xml import write_manifest
from s2mirror.sandbox.products import ROOT_AUX_KEY, SandboxProduct, make_files
from s2mirror.sandbox.real_manifest import RealManifest, read_manifest, served_text
from s2mirror.sandbox.spec import DEFAULT_SCALE, ProductSpec

Item = Mapping[str, Any]

_BUCKET: Final = "s3://eodata/"
_IMAGE_STEM: Final = re.compile(r"/IMG_DATA/(?:R\d\dm/)?(T\w{5}_\d{8}T\d{6})_")
_DATASTRIP: Final = re.compile(r"/DS_(?P<centre>\w{4})_\d{8}T\d{6}_S(?P<start>\d{8}T\d{6})$")


@dataclass(frozen=True, slots=True)
class RealMaterial:
    """Products made from recorded files, and the use of each file."""

    products: list[SandboxProduct]
    used: list[str]
    passed_over: dict[str, str]
    """The reason why a file was not used, by its name."""


def from_real(path: Path, *, scale: float = DEFAULT_SCALE) -> RealMaterial:
    """Return the products of recorded STAC items and ``*.safe`` manifests in a file or folder.

    Items are served as recorded, except for the checksum of the manifest. The number, names and
    order of the files are those of the manifest. Their sizes are scaled and their contents are
    generated, so the served manifest has new digests in the recorded format. Raises UsageError if
    no file can be used.
    """
    found = _Recordings(scale)
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            found.take(file)
    if not found.used:
        raise UsageError(
            f"searched {path} for STAC items and *.safe manifests and found none that can be used. "
            "Give a recorded item, a search response, a manifest, or a folder of these"
        )
    return RealMaterial(found.products(), found.used, found.passed_over)


@dataclass(slots=True)
class _Recordings:
    """Items and manifests by product name, read from files."""

    scale: float
    items: dict[str, Item] = field(default_factory=dict)
    manifests: dict[str, RealManifest] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)

    def take(self, file: Path) -> None:
        """Read one file, or record why it was not used."""
        try:
            self._read(file)
            self.used.append(file.name)
        except UsageError as error:
            self.passed_over[file.name] = str(error)

    def products(self) -> list[SandboxProduct]:
        """Return a product for each item and manifest; an item and a manifest can share one."""
        named = (_from_manifest(found, self.items.get(name)) for name, found in self._manifests())
        alone = (item for name, item in sorted(self.items.items()) if name not in self.manifests)
        return [*named, *(_from_item(item, self.scale) for item in alone)]

    def _manifests(self) -> list[tuple[str, RealManifest]]:
        return sorted(self.manifests.items(), key=lambda named: named[0])

    def _read(self, file: Path) -> None:
        if file.suffix == ".safe":
            found = read_manifest(file, self.scale)
            self.manifests[found.spec.id] = found
        else:
            self.items.update({item["id"]: item for item in _items(file)})


def _items(file: Path) -> list[Item]:
    """Return the items of a file that contains an item or a search response."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError("the file is neither JSON nor a manifest") from error
    is_answer = isinstance(document, dict) and document.get("type") == "FeatureCollection"
    found: list[Item] = document.get("features", []) if is_answer else [document]
    if not found:
        raise UsageError("the file is a search response without items")
    if not all(_is_item(item) for item in found):
        raise UsageError("the file is JSON and not a Sentinel-2 item")
    return found


def _is_item(item: object) -> bool:
    return (
        isinstance(item, dict)
        and item.get("type") == "Feature"
        and str(item.get("collection", "")).startswith("sentinel-2-")
        and parse_name(str(item.get("id"))) is not None
        and isinstance(item.get("assets"), dict)
    )


def _from_manifest(recorded: RealManifest, item: Item | None) -> SandboxProduct:
    spec = recorded.spec
    files = make_files([*recorded.members, *loose_members(spec.level, spec.id)], spec)
    files[manifest.NAME] = served_text(recorded, files)
    return SandboxProduct(
        id=spec.id,
        collection=spec.collection,
        prefix=_prefix(item) if item else spec.prefix,
        files={**files, ROOT_AUX_KEY: b""},
        item=with_manifest_checksum(item, files[manifest.NAME])
        if item
        else write_item(spec, files, recorded.footprint),
    )


def _from_item(item: Item, scale: float) -> SandboxProduct:
    prefix = _prefix(item)
    sizes = dict(_asset_sizes(item, prefix))
    paths = _paths(sizes)
    spec = _spec(item, paths, scale)
    members = [
        replace(member, real_bytes=sizes.get(member.path, member.real_bytes))
        for member in manifest_members(spec.level, paths)
    ]
    files = make_files([*members, *loose_members(spec.level, spec.id)], spec)
    files[manifest.NAME] = write_manifest(spec, members, files, footprint(item["geometry"]))
    _check_complete(item, sizes, files)
    return SandboxProduct(
        id=spec.id,
        collection=item["collection"],
        prefix=prefix,
        files={**files, ROOT_AUX_KEY: b""},
        item=with_manifest_checksum(item, files[manifest.NAME]),
    )


def _hrefs(item: Item) -> Iterator[tuple[str, int]]:
    """Yield the S3 URL and size of each file asset, also if S3 is the alternate."""
    for asset in item["assets"].values():
        href = asset.get("href", "")
        if not href.startswith(_BUCKET):
            href = asset.get("alternate", {}).get("s3", {}).get("href", "")
        if href.startswith(_BUCKET):
            yield href, int(asset.get("file:size", 1))


def _prefix(item: Item) -> str:
    """Return the product's key prefix from its assets, as older items have no enclosure link."""
    folder = f"{item['id']}.SAFE/"
    for href, _ in _hrefs(item):
        head, found, _ = href.partition(folder)
        if found:
            return f"{head.removeprefix(_BUCKET)}{folder}"
    raise UsageError(f"item {item['id']} has no asset below {_BUCKET}…/{folder}")


def _asset_sizes(item: Item, prefix: str) -> Iterator[tuple[str, int]]:
    for href, size in _hrefs(item):
        yield href.removeprefix(f"{_BUCKET}{prefix}"), size


def _paths(sizes: Mapping[str, int]) -> Paths:
    stems = (match[1] for path in sizes if (match := _IMAGE_STEM.search(path)))
    return Paths(
        granule=_folder_with(sizes, "MTD_TL.xml"),
        datastrip=_folder_with(sizes, "MTD_DS.xml"),
        image_stem=next(stems),
    )


def _folder_with(sizes: Mapping[str, int], name: str) -> str:
    return next(path for path in sizes if path.endswith(f"/{name}")).removesuffix(f"/{name}")


def _spec(item: Item, paths: Paths, scale: float) -> ProductSpec:
    name = parse_name(item["id"])
    strip = _DATASTRIP.search(f"/{paths.datastrip}")
    if name is None or strip is None:
        raise UsageError(f"item {item['id']} has a name or a datastrip of an unknown format")
    return ProductSpec(
        level=name.level,
        tile=name.tile,
        sensed_at=name.sensed_at,
        baseline=name.baseline,
        platform=name.platform,
        relative_orbit=name.relative_orbit,
        processed_at=name.discriminator,
        datastrip_at=datetime.strptime(strip["start"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC),
        orbit=item["properties"].get("sat:absolute_orbit"),
        station=strip["centre"],
        scale=scale,
    )


def _check_complete(item: Item, sizes: Mapping[str, int], files: Mapping[str, bytes]) -> None:
    missing = sorted(set(sizes) - set(files))
    if missing:
        raise UsageError(
            f"item {item['id']} has assets that are in no known SAFE structure: {missing[:3]}; "
            "add its manifest.safe"
        )
