"""Writes the assets of a STAC item: fewer than the files of the product, as at CDSE."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

LEAKED_ABSENT_VALUE: Final = "\U0001235f\u203b"
"""pgstac's internal value for "absent", which CDSE serves in older items."""

_IMAGE: Final = re.compile(r".*/IMG_DATA/(?:R\d\dm/)?T\w{5}_\w{15}_(?P<key>\w+)\.jp2")
_PROBABILITY: Final = re.compile(r".*/QI_DATA/MSK_(?P<name>CLD|SNW)PRB_(?P<gsd>\d\dm)\.jp2")
_METADATA_KEYS: Final = {
    "manifest.safe": "safe_manifest",
    "INSPIRE.xml": "inspire_metadata",
    "MTD_MSIL1C.xml": "product_metadata",
    "MTD_MSIL2A.xml": "product_metadata",
    "MTD_TL.xml": "granule_metadata",
    "MTD_DS.xml": "datastrip_metadata",
}
_PIXELS: Final = {"10m": 10980, "20m": 5490, "60m": 1830}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductLocation:
    """A product's name and addresses, as its assets contain them."""

    product_id: str
    prefix: str
    uuid: str
    is_recent: bool
    """True for the item format of 2026, False for the older format."""

    @property
    def odata(self) -> str:
        """URL of the product at the zip service."""
        host = "download" if self.is_recent else "zipper"
        return f"https://{host}.dataspace.copernicus.eu/odata/v1/Products({self.uuid})"

    def node(self, path: str) -> str:
        """Return the URL of one file at the zip service."""
        nodes = "".join(f"/Nodes({part})" for part in (f"{self.product_id}.SAFE/{path}").split("/"))
        return f"{self.odata}{nodes}/$value"


def assets_of(
    location: ProductLocation, files: Mapping[str, bytes], *, utm_zone: int
) -> dict[str, Any]:
    """Return the assets of a product, in the order of its files, with ``Product`` last."""
    found = dict(_file_assets(location, files, utm_zone))
    found["Product"] = _zip_asset(location, sum(len(content) for content in files.values()))
    return found


def asset_key(path: str, *, is_recent: bool) -> str:
    """Return the asset key of a file, or ``""`` for one that the catalog does not list."""
    if match := _IMAGE.fullmatch(path):
        return match["key"]
    if is_recent and (match := _PROBABILITY.fullmatch(path)):
        return f"{match['name']}_{match['gsd']}"
    if path.endswith("-ql.jpg"):
        return "thumbnail"
    return _METADATA_KEYS.get(path.rpartition("/")[2], "")


def _file_assets(
    location: ProductLocation, files: Mapping[str, bytes], utm_zone: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, content in files.items():
        key = asset_key(path, is_recent=location.is_recent)
        if key == "thumbnail":
            yield key, _thumbnail(location, path, content)
        elif key:
            extra = (
                _image_fields(key, utm_zone) if path.endswith(".jp2") else {"roles": ["metadata"]}
            )
            yield key, {**_file_asset(location, path, content), **extra}


def _file_asset(location: ProductLocation, path: str, content: bytes) -> dict[str, Any]:
    https = {
        "href": location.node(path),
        "auth:refs": ["oidc"],
        "storage:refs": [],
        "alternate:name": "HTTPS",
    }
    return {
        "href": f"s3://eodata/{location.prefix}{path}",
        "type": "application/xml",
        "title": path.rpartition("/")[2],
        "alternate": {"https": https},
        "alternate:name": "S3",
        "auth:refs": ["s3"],
        "storage:refs": ["cdse-s3", "creodias-s3"],
        "file:size": len(content),
        "file:checksum": _multihash(path, content),
        "file:local_path": f"{location.product_id}.SAFE/{path}",
    }


def _image_fields(key: str, utm_zone: int) -> dict[str, Any]:
    name, _, resolution = key.partition("_")
    resolution = resolution or "10m"
    return {
        "type": "image/jp2",
        "title": f"{name} - {resolution}",
        "roles": ["data", f"gsd:{resolution}"],
        "gsd": int(resolution.removesuffix("m")),
        "bands": [{"name": name}],
        "nodata": 0,
        "data_type": "uint16",
        "proj:code": f"EPSG:{utm_zone}",
        "proj:shape": [_PIXELS[resolution]] * 2,
    }


def with_manifest_checksum(item: Mapping[str, Any], manifest: bytes) -> dict[str, Any]:
    """Return *item* with the checksum of *manifest*, if the item has a checksum of a manifest."""
    asset = item["assets"].get("safe_manifest", {})
    if "file:checksum" not in asset:
        return dict(item)
    updated = {**asset, "file:checksum": f"d50110{_md5(manifest)}"}
    return {**item, "assets": {**item["assets"], "safe_manifest": updated}}


def _multihash(path: str, content: bytes) -> str:
    """Return ``file:checksum`` as CDSE writes it: correct for images, mislabelled for XML."""
    if path.endswith((".safe", ".jpg")):
        return f"d50110{_md5(content)}"
    prefix = "1620" if path.endswith(".jp2") else "d50120"
    return f"{prefix}{hashlib.sha3_256(content).hexdigest()}"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _thumbnail(location: ProductLocation, path: str, content: bytes) -> dict[str, Any]:
    s3 = {
        "href": f"s3://eodata/{location.prefix}{path}",
        "auth:refs": ["s3"],
        "storage:refs": ["cdse-s3", "creodias-s3"],
        "alternate:name": "S3",
    }
    return {
        "href": f"https://datahub.creodias.eu/odata/v1/Assets({location.uuid})/$value",
        "type": "image/jpeg",
        "title": "Quicklook",
        "roles": ["thumbnail", "overview"],
        "alternate": {"s3": s3},
        "alternate:name": "HTTPS",
        "file:size": len(content),
        "file:checksum": f"d50110{_md5(content)}",
        "file:local_path": f"{location.product_id}.SAFE/{path}",
        "data_type": "uint8",
        "proj:code": None,
        "proj:shape": [343, 343],
    }


def _zip_asset(location: ProductLocation, total_bytes: int) -> dict[str, Any]:
    leaked = (
        {}
        if location.is_recent
        else {"storage:refs": LEAKED_ABSENT_VALUE, "alternate:name": "HTTPS"}
    )
    return {
        "href": f"{location.odata}/$value",
        "type": "application/zip",
        "title": "Zipped product",
        "roles": ["data", "metadata", "archive"],
        "auth:refs": ["oidc"],
        # A zip file is slightly larger than the files in it.
        "file:size": total_bytes + total_bytes // 34000,
        "file:checksum": f"d50110{_md5(location.product_id.encode())}",
        "file:local_path": f"{location.product_id}.SAFE.zip",
        **leaked,
    }
