"""A store and a catalog that fit in one's head: a dict and a list."""

import hashlib
import json
from collections.abc import Collection, Generator, Iterator, Mapping

from shapely.geometry import shape

from s2mirror.adapters.stac_catalog import parse_item
from s2mirror.errors import CatalogUnavailable, StoreChanged
from s2mirror.geometry import unpack
from s2mirror.model import CatalogQuery, Listing, Page, Product, RemoteFile
from s2mirror.naming import check_relative_path
from s2mirror.sandbox import ProductSpec, make_item


class FakeStore:
    """An object store that is a dict of keys."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def probe(self) -> None: ...

    def wait_seconds(self) -> float:
        return 0.0

    def list_product(self, s3_prefix: str) -> Listing:
        below = {
            key.removeprefix(s3_prefix): content
            for key, content in sorted(self.objects.items())
            if key.startswith(s3_prefix) and key != s3_prefix
        }
        folders = [path for path, content in below.items() if path.endswith("/") and not content]
        return Listing(
            files=tuple(
                RemoteFile(
                    path=check_relative_path(path),
                    key=s3_prefix + path,
                    size_bytes=len(content),
                    etag=_etag(content),
                )
                for path, content in below.items()
                if path not in folders
            ),
            folders=tuple(check_relative_path(path.rstrip("/")) for path in folders),
        )

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[bytes, None, None]:
        content = self.objects.get(file.key)
        if content is None or _etag(content) != file.etag:
            raise StoreChanged(f"{file.key} is no longer what was listed; list it anew")
        for at in range(start_byte, len(content), 4):
            yield content[at : at + 4]


class FakeCatalog:
    """A catalog that is a list of products, three on a page."""

    def __init__(self) -> None:
        self.products: list[Product] = []
        self.breaks_after_pages: int | None = None

    def collections(self) -> frozenset[str]:
        return frozenset({"sentinel-2-l1c", "sentinel-2-l2a"})

    def listed(self, collection: str, ids: Collection[str]) -> frozenset[str]:
        return frozenset(p.id for p in self.products if p.collection == collection and p.id in ids)

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        found = [product for product in self.products if _matches(product, query)]
        if query.published_from is None:
            found.sort(key=lambda product: product.sensed_at, reverse=True)
        else:
            found.sort(key=lambda product: product.published_at)
        for number, at in enumerate(range(0, len(found), 3)):
            if number == self.breaks_after_pages:
                raise CatalogUnavailable("the catalog went away; try again later")
            yield Page(products=tuple(found[at : at + 3]), rejected=())


class FakeShelf:
    """A fake store, and hands to fill it with."""

    def __init__(self) -> None:
        self.store = FakeStore()

    def put(self, objects: Mapping[str, bytes]) -> None:
        self.store.objects |= objects


class FakeRegister:
    """A fake catalog, and hands to fill it with."""

    def __init__(self) -> None:
        self.catalog = FakeCatalog()

    def put(self, *specs: ProductSpec) -> None:
        for spec in specs:
            item = dict(make_item(spec).item)
            self.catalog.products.append(
                parse_item(item, collection=spec.collection, bucket="eodata")
            )

    def break_after_pages(self, count: int) -> None:
        self.catalog.breaks_after_pages = count


def _etag(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _matches(product: Product, query: CatalogQuery) -> bool:
    area = shape(json.loads(query.geometry_geojson))
    clouds, limit = product.cloud_cover_percent, query.max_cloud_cover_percent
    return (
        product.collection == query.collection
        and (query.published_from is None or product.published_at >= query.published_from)
        and (query.sensed_from is None or product.sensed_at >= query.sensed_from)
        and (query.sensed_until is None or product.sensed_at <= query.sensed_until)
        and (limit is None or clouds is None or clouds <= limit)
        and area.intersects(unpack(product.footprint_wkb))
    )
