"""What the ports promise, as tests that any store and any catalog must pass.

A subclass gives the fixture ``shelf`` or ``register``: the adapter, and hands to fill it with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import pytest
from adapters_builders import query

from s2mirror.errors import CatalogUnavailable, HostileInput, StoreChanged
from s2mirror.model import CatalogQuery, RemoteFile
from s2mirror.ports import ObjectStore, StacCatalog
from s2mirror.sandbox import ProductSpec

PREFIX: Final = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
CONTENT: Final = bytes(range(11))
SENSED_AT: Final = datetime(2026, 5, 1, 10, 20, 31, tzinfo=UTC)
DAY: Final = timedelta(days=1)
ALPS: Final = '{"type":"Polygon","coordinates":[[[8,46],[9,46],[9,47],[8,47],[8,46]]]}'
SEA: Final = '{"type":"Polygon","coordinates":[[[-40,46],[-39,46],[-39,47],[-40,47],[-40,46]]]}'


class StaticCatalog(Protocol):
    store: ObjectStore

    def put(self, objects: Mapping[str, bytes]) -> None: ...


class Register(Protocol):
    catalog: StacCatalog

    def put(self, *specs: ProductSpec) -> None: ...

    def break_after_pages(self, count: int) -> None: ...


def read_from(store: ObjectStore, file: RemoteFile, start_byte: int) -> bytes:
    return b"".join(bytes(piece) for piece in store.read(file, start_byte=start_byte))


def the_file(shelf: StaticCatalog, content: bytes = CONTENT) -> RemoteFile:
    shelf.put({f"{PREFIX}MTD.xml": content})
    (file,) = shelf.store.list_product(PREFIX).files
    return file


class StoreContract:
    def test_a_working_key_passes_the_probe(self, shelf: StaticCatalog) -> None:
        shelf.store.probe()

    def test_every_object_below_the_prefix_is_listed_and_nothing_else(
        self, shelf: StaticCatalog
    ) -> None:
        files = {"MTD.xml": b"1", "GRANULE/a/B02.jp2": b"22", "HTML/star bg+é.jpg": b"333"}
        shelf.put({PREFIX + path: content for path, content in files.items()})
        shelf.put({"Sentinel-2/MSI/L2A/2026/05/27/Y.SAFE/MTD.xml": b"other"})
        listing = shelf.store.list_product(PREFIX)
        assert {file.path: file.size_bytes for file in listing.files} == {
            path: len(content) for path, content in files.items()
        }
        assert {file.key for file in listing.files} == {PREFIX + path for path in files}
        assert all(file.etag and '"' not in file.etag for file in listing.files)
        assert listing.size_bytes == 6

    def test_an_empty_prefix_gives_an_empty_listing(self, shelf: StaticCatalog) -> None:
        listing = shelf.store.list_product(PREFIX)
        assert (listing.files, listing.folders) == ((), ())

    def test_folder_keys_are_folders_and_the_products_own_is_none(
        self, shelf: StaticCatalog
    ) -> None:
        shelf.put({PREFIX: b"", f"{PREFIX}AUX_DATA/": b"", f"{PREFIX}GRANULE/a/QI_DATA/": b""})
        listing = shelf.store.list_product(PREFIX)
        assert listing.files == ()
        assert sorted(listing.folders) == ["AUX_DATA", "GRANULE/a/QI_DATA"]

    @pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/x", "a\\b", "a//b", "a\nb"])
    def test_a_key_that_would_leave_the_product_is_hostile(
        self, shelf: StaticCatalog, path: str
    ) -> None:
        shelf.put({PREFIX + path: b"1"})
        with pytest.raises(HostileInput):
            shelf.store.list_product(PREFIX)

    @pytest.mark.parametrize("start_byte", range(len(CONTENT) + 1))
    def test_a_read_goes_on_from_any_byte(self, shelf: StaticCatalog, start_byte: int) -> None:
        file = the_file(shelf)
        assert read_from(shelf.store, file, start_byte) == CONTENT[start_byte:]

    def test_a_read_at_the_end_yields_nothing(self, shelf: StaticCatalog) -> None:
        assert list(shelf.store.read(the_file(shelf), start_byte=len(CONTENT))) == []

    def test_an_empty_file_yields_nothing(self, shelf: StaticCatalog) -> None:
        assert list(shelf.store.read(the_file(shelf, b""))) == []

    @pytest.mark.parametrize("start_byte", [0, 5])
    def test_a_file_that_changed_since_it_was_listed_is_not_read(
        self, shelf: StaticCatalog, start_byte: int
    ) -> None:
        file = the_file(shelf)
        shelf.put({file.key: CONTENT[::-1]})
        with pytest.raises(StoreChanged):
            read_from(shelf.store, file, start_byte)

    def test_a_file_that_is_gone_since_it_was_listed_must_be_listed_anew(
        self, shelf: StaticCatalog
    ) -> None:
        file = the_file(shelf)
        with pytest.raises(StoreChanged):
            read_from(shelf.store, replace(file, key=f"{PREFIX}gone"), 0)


def spec(day: int, **facts: object) -> ProductSpec:
    values = {"sensed_at": SENSED_AT + day * DAY, "scale": 0.0002} | facts
    return ProductSpec(**values)  # type: ignore[arg-type]


def ids(register: Register, asked: CatalogQuery) -> list[str]:
    return [found.id for page in register.catalog.search(asked) for found in page.products]


class CatalogContract:
    def test_both_collections_are_there(self, register: Register) -> None:
        assert {"sentinel-2-l1c", "sentinel-2-l2a"} <= register.catalog.collections()

    def test_a_listing_over_several_pages_is_complete(self, register: Register) -> None:
        specs = [spec(day) for day in range(7)]
        register.put(*specs)
        pages = list(register.catalog.search(query()))
        assert len(pages) > 1
        found = [product.id for page in pages for product in page.products]
        assert sorted(found) == sorted(one.id for one in specs)
        assert sum(page.item_count for page in pages) == 7

    def test_a_first_listing_brings_the_newest_acquisition_first(self, register: Register) -> None:
        specs = [spec(day) for day in (3, 1, 5, 0, 4)]
        register.put(*specs)
        newest_first = sorted(specs, key=lambda one: one.sensed_at, reverse=True)
        assert ids(register, query()) == [one.id for one in newest_first]

    def test_a_later_listing_brings_what_was_published_since_oldest_first(
        self, register: Register
    ) -> None:
        listed = {n: SENSED_AT + 30 * DAY + timedelta(hours=n) for n in range(5)}
        specs = [spec(day, published_at=listed[day]) for day in range(5)]
        register.put(*specs)
        found = ids(register, query(published_from=listed[2]))
        assert found == [specs[day].id for day in (2, 3, 4)]

    def test_an_old_acquisition_that_is_published_late_is_found(self, register: Register) -> None:
        late = spec(-900, published_at=SENSED_AT + DAY)
        register.put(spec(0, published_at=SENSED_AT), late)
        assert ids(register, query(published_from=SENSED_AT + DAY)) == [late.id]

    def test_both_ends_of_the_sensing_time_belong_to_it(self, register: Register) -> None:
        register.put(*(spec(day) for day in range(4)))
        (page, *_) = register.catalog.search(query())
        _, until, begin = page.products
        asked = query(sensed_from=begin.sensed_at, sensed_until=until.sensed_at)
        assert ids(register, asked) == [until.id, begin.id]

    @pytest.mark.parametrize("published_from", [None, SENSED_AT])
    def test_clouds_are_sifted_by_the_catalog(
        self, register: Register, published_from: datetime | None
    ) -> None:
        clear, cloudy = spec(0, cloud_cover_percent=20.0), spec(1, cloud_cover_percent=20.1)
        register.put(clear, cloudy)
        asked = query(max_cloud_cover_percent=20.0, published_from=published_from)
        assert ids(register, asked) == [clear.id]

    def test_what_does_not_tell_its_clouds_is_listed_too(self, register: Register) -> None:
        silent = spec(0, cloud_cover_percent=None)
        register.put(silent, spec(1, cloud_cover_percent=20.1))
        assert ids(register, query(max_cloud_cover_percent=20.0)) == [silent.id]

    def test_the_catalog_tells_which_products_it_still_lists(self, register: Register) -> None:
        l1c = spec(0, level="L1C")
        register.put(*(spec(day) for day in range(7)), l1c)
        asked = [spec(day).id for day in range(3, 9)]
        listed = register.catalog.listed("sentinel-2-l2a", [*asked, l1c.id])
        assert listed == {spec(day).id for day in range(3, 7)}

    def test_only_one_collection_is_listed(self, register: Register) -> None:
        l1c = spec(0, level="L1C")
        register.put(spec(0), l1c)
        (page,) = register.catalog.search(query(collection="sentinel-2-l1c"))
        assert [found.id for found in page.products] == [l1c.id]
        assert page.item_count == 1

    def test_only_what_lies_there_is_listed(self, register: Register) -> None:
        register.put(spec(0))
        assert ids(register, query(geometry_geojson=ALPS)) == [spec(0).id]
        assert ids(register, query(geometry_geojson=SEA)) == []

    def test_nothing_there_is_a_complete_listing_too(self, register: Register) -> None:
        assert ids(register, query()) == []

    @pytest.mark.parametrize("count", [0, 1, 2])
    def test_a_listing_that_breaks_off_is_an_error_never_a_short_listing(
        self, register: Register, count: int
    ) -> None:
        register.put(*(spec(day) for day in range(7)))
        register.break_after_pages(count)
        pages: Iterator[object] = register.catalog.search(query())
        for _ in range(count):
            next(pages)
        with pytest.raises(CatalogUnavailable):
            next(pages)
