"""The path of a product in the archive tree."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from s2mirror.errors import HostileInput
from s2mirror.model import Product
from s2mirror.naming import check_relative_path

PRESETS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "cdse": "{s3_prefix}",
        "tile": "T{tile}/{year}/{month}/{day}/{name}.SAFE",
        "force": "T{tile}/{name}.SAFE",
    }
)
CATALOG_FOLDER: Final = "catalog"
"""The archive's folder for the local catalog; no product may be inside it."""
FIELDS: Final = frozenset(
    {"s3_prefix", "name", "tile", "level", "platform", "baseline", "orbit", "year", "month", "day"}
)
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def check_template(text: str) -> str:
    """Return the template *text*, or the one of that name. Raises ValueError if it is invalid."""
    template = PRESETS.get(text, text)
    unknown = sorted(set(_PLACEHOLDER.findall(template)) - FIELDS)
    if unknown:
        raise ValueError(f"unknown {{{unknown[0]}}}; known are {', '.join(sorted(FIELDS))}")
    if "{" in _PLACEHOLDER.sub("", template) or "}" in _PLACEHOLDER.sub("", template):
        raise ValueError("a '{' or '}' has no partner")
    if not template.endswith(("{name}.SAFE", "{s3_prefix}")):
        raise ValueError("must be cdse, tile, force, or a template ending in {name}.SAFE")
    if template.startswith(f"{CATALOG_FOLDER}/"):
        raise ValueError(f"the folder {CATALOG_FOLDER}/ is only for the local catalog")
    return template


def product_path(template: str, product: Product) -> str:
    """Return a product's folder relative to the archive root.

    Raises HostileInput for a path that is not a folder of that product alone.
    """
    values = {
        "s3_prefix": product.s3_prefix.rstrip("/"),
        "name": product.id,
        "tile": product.tile,
        "level": product.collection.removeprefix("sentinel-2-").upper(),
        "platform": product.platform,
        "baseline": "N" + product.baseline.replace(".", ""),
        "orbit": f"R{product.relative_orbit:03d}",
        "year": f"{product.sensed_at:%Y}",
        "month": f"{product.sensed_at:%m}",
        "day": f"{product.sensed_at:%d}",
    }
    return check_product_path(
        product.id, _PLACEHOLDER.sub(lambda found: values[found[1]], template)
    )


def check_product_path(product_id: str, text: str) -> str:
    """Return *text* as a clean path below the root, if it is a folder of that product alone.

    Raises HostileInput for a path that does not end in the product's own ``ID.SAFE``, is inside
    another product, or is in a hidden folder or the local catalog.
    """
    path = check_relative_path(text)
    *parents, name = path.split("/")
    if name != f"{product_id}.SAFE":
        raise HostileInput(f"{path!r} does not end in {product_id}.SAFE, so it is not its folder")
    if inside := [parent for parent in parents if parent.endswith(".SAFE")]:
        raise HostileInput(f"{path!r} is inside another product, {inside[0]}; not used")
    if path.startswith("."):
        raise HostileInput(f"{product_id} would be in the hidden folder {path!r}; not used")
    if path.startswith(f"{CATALOG_FOLDER}/"):
        raise HostileInput(f"{product_id} would be in the local catalog, {path!r}; not used")
    return path
