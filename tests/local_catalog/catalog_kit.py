"""Functions that read the local catalog, for its tests."""

import hashlib
import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pystac
from kit import Kit, tiny
from stac_validator.validate import StacValidate

from s2mirror.sandbox import SandboxProduct
from s2mirror.service.cycle import prepare

PRUNED_AT_ONCE = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'


def folder_of(kit: Kit) -> Path:
    return kit.archive / "catalog"


def opened(kit: Kit) -> pystac.Catalog:
    return pystac.Catalog.from_file(str(folder_of(kit) / "catalog.json"))


def items_of(kit: Kit) -> dict[str, pystac.Item]:
    """Return every item that links from the root lead to, by id."""
    return {item.id: item for item in opened(kit).get_items(recursive=True)}


def item_file(kit: Kit, product: SandboxProduct) -> Path:
    (path,) = folder_of(kit).rglob(f"{product.id}.json")
    return path


def documents(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.rglob("*.json")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


def dangling(folder: Path) -> list[str]:
    """Return the relative links below a folder that have no target."""
    return [
        f"{path.name}: {link['href']}"
        for path, document in documents(folder)
        for link in document["links"]
        if "://" not in link["href"] and not (path.parent / link["href"]).is_file()
    ]


def multihash(content: bytes) -> set[str]:
    """Return the correct ``file:checksum`` values of some bytes."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return {f"1620{hashlib.sha3_256(content).hexdigest()}", f"d50110{md5}"}


def faults_in(path: Path) -> list[Any]:
    """Return the faults that stac-validator finds in a document, by pystac's core schemas."""
    home = files("pystac.validation.jsonschemas")
    spec = "https://schemas.stacspec.org/v1.1.0"
    names = [each.name for each in home.joinpath("stac-spec/v1.1.0").iterdir()]
    schemas = {
        f"{spec}/{kind}-spec/json-schema/{name}": str(home.joinpath(f"stac-spec/v1.1.0/{name}"))
        for name in names
        for kind in ("item", "catalog", "collection")
    }
    for name in ("Feature", "Geometry"):
        schemas[f"https://geojson.org/schema/{name}.json"] = str(
            home.joinpath(f"geojson/{name}.json")
        )
    check = StacValidate(str(path), core=True, schema_map=schemas)
    return [] if check.run() else check.message


def restarted(kit: Kit) -> None:
    """Start a mirror on the kit's ledger, and do no other work."""
    prepare(kit.mirror())


def held(kit: Kit, *days: int) -> list[SandboxProduct]:
    """Publish and mirror small products."""
    products = [tiny(day) for day in days]
    kit.sandbox.publish(products)
    kit.cycle()
    return products
