"""The contracts of the ports: tests for every store and every catalog.

A subclass defines the fixture ``subject``: the adapter, with methods that add content.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import pytest
from adapters_builders import query

from s2mirror.errors import CatalogUnavailable, HostileInput, StoreChanged
from s2mirror.model import CatalogQuery, RemoteFile
from s2mirror.ports import ObjectStore, ProductCatalog, StacCatalog
from s2mirror.sandbox import ProductSpec

PREFIX: Final = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
CONTENT: Final = bytes(range(11))
SENSED_AT: Final = datetime(2026, 5, 1, 10, 20, 31, tzinfo=UTC)
DAY: Final = timedelta(days=1)
ALPS: Final = '{"type":"Polygon","coordinates":[[[8,46],[9,46],[9,47],[8,47],[8,46]]]}'
SEA: Final = '{"type":"Polygon","coordinates":[[[-40,46],[-39,46],[-39,47],[-40,47],[-40,46]]]}'


class StoreFixture(Protocol):
    store: ObjectStore

    def put(self, objects: Mapping[str, bytes]) -> None: ...


class ListingFixture(Protocol):
    @property
    def catalog(self) -> ProductCatalog: ...

    def put(self, *specs: ProductSpec) -> None: ...

    def break_after_pages(self, count: int) -> None: ...


class CatalogFixture(ListingFixture, Protocol):
    @property
    def catalog(self) -> StacCatalog: ...


def read_from(store: ObjectStore, file: RemoteFile, start_byte: int) -> bytes:
    return b"".join(bytes(piece) for piece in store.read(file, start_byte=start_byte))


def the_file(subject: StoreFixture, content: bytes = CONTENT) -> RemoteFile:
    subject.put({f"{PREFIX}MTD.xml": content})
    (file,) = subject.store.list_product(PREFIX).files
    return file


class StoreContract:
    def test_working_key_passes_the_probe(self, subject: StoreFixture) -> None:
        subject.store.probe()

    def test_listing_has_exactly_the_objects_below_prefix(self, subject: StoreFixture) -> None:
        files = {"MTD.xml": b"1", "GRANULE/a/B02.jp2": b"22", "HTML/star_bg-1.jpg": b"333"}
        subject.put({PREFIX + path: content for path, content in files.items()})
        subject.put({"Sentinel-2/MSI/L2A/2026/05/27/Y.SAFE/MTD.xml": b"other"})
        listing = subject.store.list_product(PREFIX)
        assert {file.path: file.size_bytes for file in listing.files} == {
            path: len(content) for path, content in files.items()
        }
        assert {file.key for file in listing.files} == {PREFIX + path for path in files}
        assert all(file.etag and '"' not in file.etag for file in listing.files)
        assert listing.size_bytes == 6

    def test_empty_prefix_gives_an_empty_listing(self, subject: StoreFixture) -> None:
        listing = subject.store.list_product(PREFIX)
        assert (listing.files, listing.folders) == ((), ())

    def test_folder_keys_are_listed_as_folders(self, subject: StoreFixture) -> None:
        subject.put({PREFIX: b"", f"{PREFIX}AUX_DATA/": b"", f"{PREFIX}GRANULE/a/QI_DATA/": b""})
        listing = subject.store.list_product(PREFIX)
        assert listing.files == ()
        assert sorted(listing.folders) == ["AUX_DATA", "GRANULE/a/QI_DATA"]

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a\\b", "a//b", "a\nb"])
    def test_key_outside_the_product_is_hostile(self, subject: StoreFixture, path: str) -> None:
        subject.put({PREFIX + path: b"1"})
        with pytest.raises(HostileInput):
            subject.store.list_product(PREFIX)

    @pytest.mark.parametrize("start_byte", range(len(CONTENT) + 1))
    def test_read_resumes_at_any_byte(self, subject: StoreFixture, start_byte: int) -> None:
        file = the_file(subject)
        assert read_from(subject.store, file, start_byte) == CONTENT[start_byte:]

    def test_read_at_the_end_yields_nothing(self, subject: StoreFixture) -> None:
        assert list(subject.store.read(the_file(subject), start_byte=len(CONTENT))) == []

    def test_empty_file_yields_nothing(self, subject: StoreFixture) -> None:
        assert list(subject.store.read(the_file(subject, b""))) == []

    @pytest.mark.parametrize("start_byte", [0, 5])
    def test_file_changed_since_listing_is_not_read(
        self, subject: StoreFixture, start_byte: int
    ) -> None:
        file = the_file(subject)
        subject.put({file.key: CONTENT[::-1]})
        with pytest.raises(StoreChanged):
            read_from(subject.store, file, start_byte)

    def test_file_deleted_since_listing_is_listed_again(self, subject: StoreFixture) -> None:
        file = the_file(subject)
        with pytest.raises(StoreChanged):
            read_from(subject.store, replace(file, key=f"{PREFIX}gone"), 0)


def spec(day: int, **changes: object) -> ProductSpec:
    values = {"sensed_at": SENSED_AT + day * DAY, "scale": 0.0002} | changes
    return ProductSpec(**values)  # type: ignore[arg-type]


def ids(subject: ListingFixture, asked: CatalogQuery) -> list[str]:
    return [found.id for page in subject.catalog.search(asked) for found in page.products]


class ListingContract:
    def test_listing_over_several_pages_is_complete(self, subject: ListingFixture) -> None:
        specs = [spec(day) for day in range(7)]
        subject.put(*specs)
        pages = list(subject.catalog.search(query()))
        assert len(pages) > 1
        found = [product.id for page in pages for product in page.products]
        assert sorted(found) == sorted(one.id for one in specs)
        assert sum(page.item_count for page in pages) == 7

    def test_first_listing_has_newest_acquisition_first(self, subject: ListingFixture) -> None:
        specs = [spec(day) for day in (3, 1, 5, 0, 4)]
        subject.put(*specs)
        newest_first = sorted(specs, key=lambda one: one.sensed_at, reverse=True)
        assert ids(subject, query()) == [one.id for one in newest_first]

    def test_later_listing_has_oldest_publication_first(self, subject: ListingFixture) -> None:
        listed = {n: SENSED_AT + 30 * DAY + timedelta(hours=n) for n in range(5)}
        specs = [spec(day, published_at=listed[day]) for day in range(5)]
        subject.put(*specs)
        found = ids(subject, query(published_from=listed[2]))
        assert found == [specs[day].id for day in (2, 3, 4)]

    def test_late_publication_of_old_acquisition_is_found(self, subject: ListingFixture) -> None:
        late = spec(-900, published_at=SENSED_AT + DAY)
        subject.put(spec(0, published_at=SENSED_AT), late)
        assert ids(subject, query(published_from=SENSED_AT + DAY)) == [late.id]

    def test_sensing_interval_includes_both_ends(self, subject: ListingFixture) -> None:
        subject.put(*(spec(day) for day in range(4)))
        (page, *_) = subject.catalog.search(query())
        _, until, begin = page.products
        asked = query(sensed_from=begin.sensed_at, sensed_until=until.sensed_at)
        assert ids(subject, asked) == [until.id, begin.id]

    @pytest.mark.parametrize("published_from", [None, SENSED_AT])
    def test_catalog_filters_by_cloud_cover(
        self, subject: ListingFixture, published_from: datetime | None
    ) -> None:
        clear, cloudy = spec(0, cloud_cover_percent=20.0), spec(1, cloud_cover_percent=20.1)
        subject.put(clear, cloudy)
        asked = query(max_cloud_cover_percent=20.0, published_from=published_from)
        assert ids(subject, asked) == [clear.id]

    def test_search_lists_only_its_collection(self, subject: ListingFixture) -> None:
        l1c = spec(0, level="L1C")
        subject.put(spec(0), l1c)
        (page,) = subject.catalog.search(query(collection="sentinel-2-l1c"))
        assert [found.id for found in page.products] == [l1c.id]
        assert page.item_count == 1

    def test_search_lists_only_products_inside_the_geometry(self, subject: ListingFixture) -> None:
        subject.put(spec(0))
        assert ids(subject, query(geometry_geojson=ALPS)) == [spec(0).id]
        assert ids(subject, query(geometry_geojson=SEA)) == []

    def test_empty_result_is_a_complete_listing(self, subject: ListingFixture) -> None:
        assert ids(subject, query()) == []

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_interrupted_listing_raises_an_error(self, subject: ListingFixture, count: int) -> None:
        subject.put(*(spec(day) for day in range(7)))
        subject.break_after_pages(count)
        pages: Iterator[object] = subject.catalog.search(query())
        for _ in range(count):
            next(pages)
        with pytest.raises(CatalogUnavailable):
            next(pages)


class CatalogContract(ListingContract):
    def test_both_collections_exist(self, subject: CatalogFixture) -> None:
        assert {"sentinel-2-l1c", "sentinel-2-l2a"} <= subject.catalog.collections()

    def test_item_without_cloud_cover_is_listed(self, subject: CatalogFixture) -> None:
        silent = spec(0, cloud_cover_percent=None)
        subject.put(silent, spec(1, cloud_cover_percent=20.1))
        assert ids(subject, query(max_cloud_cover_percent=20.0)) == [silent.id]

    def test_catalog_reports_which_ids_it_still_lists(self, subject: CatalogFixture) -> None:
        l1c = spec(0, level="L1C")
        subject.put(*(spec(day) for day in range(7)), l1c)
        asked = [spec(day).id for day in range(3, 9)]
        listed = subject.catalog.listed("sentinel-2-l2a", [*asked, l1c.id])
        assert listed == {spec(day).id for day in range(3, 7)}
