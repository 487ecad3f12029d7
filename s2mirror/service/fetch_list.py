"""Lists of STAC items and product ids, as other programs write them: read within limits.

One item, FeatureCollection, list or id per line, or one JSON document of several lines. Nothing in
such a list is trusted more than a response of the STAC catalog.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, Final

from s2mirror.adapters.stac_catalog import parse_page
from s2mirror.clean_text import storable_text
from s2mirror.errors import HostileInput, UsageError
from s2mirror.json_parser import parse_json
from s2mirror.model import Product
from s2mirror.naming import check_product_id, parse_name, plain_id, unmirrored_kind

MAX_LINE_BYTES: Final = 16 * 1024**2
"""Of a line, and of a document of several lines: an item of CDSE has 65 kB."""
MAX_PRODUCTS: Final = 10_000
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedProduct:
    """One entry of a list: an id, and the product if the entry is a usable item."""

    place: str
    """Such as ``line 3, item 2``."""
    id: str
    collection: str
    product: Product | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)
    doubt: str = ""
    """Why the item is not usable; empty for a mere id."""


@dataclass(slots=True, kw_only=True)
class FetchList:
    """The entries of a list, each product once, and the refused ones with reasons."""

    products: dict[str, ListedProduct] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons by place."""

    def add(self, place: str, value: object, bucket: str) -> None:
        """Add one entry, or the reason why it is refused."""
        try:
            found = _listed(place, value, bucket)
        except (UsageError, HostileInput) as error:
            self.refused[place] = str(error)
            return
        if len(self.products) >= MAX_PRODUCTS and found.id not in self.products:
            raise UsageError(f"the list has more than {MAX_PRODUCTS} products; split it")
        if found.product or found.id not in self.products:
            self.products[found.id] = found


def read_list(stream: BinaryIO, bucket: str) -> FetchList:
    """Return what a list names. Raises UsageError if it has too many products."""
    found = FetchList()
    for place, value in _values(stream, found.refused):
        for inner, entry in _entries(place, value):
            found.add(inner, entry, bucket)
    return found


def _values(stream: BinaryIO, refused: dict[str, str]) -> Iterator[tuple[str, object]]:
    """Yield the value of each line, or of the document if the first line is not a whole one."""
    lines, is_first = _lines(stream), True
    for number, line in lines:
        text = line.strip()
        if not text:
            continue
        place = f"line {number}"
        try:
            yield place, _value(text)
        except ValueError as error:
            if is_first and text[:1] in (b"{", b"["):
                place, rest = "the document", _joined(line, lines)
                try:
                    yield place, _value(rest)
                except ValueError as whole:
                    refused[place] = f"it is neither JSON nor a list of JSON lines: {whole}"
                return
            refused[place] = f"it is neither JSON nor a product id: {error}"
        is_first = False


def _joined(first: bytes, lines: Iterator[tuple[int, bytes]]) -> bytes:
    """Return the rest of a document; one that is too long is cut, so that it is no JSON."""
    found, size_bytes = [first], len(first)
    for _, line in lines:
        found.append(line)
        size_bytes += len(line)
        if size_bytes >= MAX_LINE_BYTES:
            break
    return b"".join(found)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number; a line that is too long is cut, so that it is no JSON."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES):
        number += 1
        yield number, line
        while len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)


def _value(text: bytes) -> object:
    """Return JSON, or the text of an id. Raises ValueError."""
    if len(text) >= MAX_LINE_BYTES:
        raise ValueError(
            f"it has more than {MAX_LINE_BYTES // 1024**2} MiB; write one item per line"
        )
    value: object = parse_json(text) if text[:1] in (b"{", b"[", b'"') else text.decode()
    return value


def _entries(place: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield the items and ids in a value."""
    if isinstance(value, dict) and value.get("type") == "FeatureCollection":
        value = value.get("features")
        value = value if isinstance(value, list) else None
    if isinstance(value, list):
        yield from ((f"{place}, item {n}", entry) for n, entry in enumerate(value, 1))
    else:
        yield place, value


def _listed(place: str, value: object, bucket: str) -> ListedProduct:
    item = value if isinstance(value, dict) else {}
    text = value if isinstance(value, str) else item.get("id")
    if not isinstance(text, str):
        raise UsageError("it is neither a STAC item nor a product id")
    product_id = check_product_id(plain_id(text.strip()))
    name = parse_name(product_id)
    if kind := unmirrored_kind(product_id):
        raise UsageError(f"{storable_text(product_id, _SHOWN)}: {kind}")
    if name is None:
        shown = storable_text(product_id, _SHOWN)
        raise UsageError(f"{shown} is not the name of a Sentinel-2 product in SAFE format")
    collection = f"sentinel-2-{name.level.lower()}"
    listed = ListedProduct(place=place, id=product_id, collection=collection)
    if not item:
        return listed
    page = parse_page(
        {"features": [item | {"id": product_id}]}, collection=collection, bucket=bucket
    )
    if page.rejected:
        return replace(listed, doubt=page.rejected[0].reason)
    (product,) = page.products
    return replace(listed, product=product, properties=page.properties[product.id])
