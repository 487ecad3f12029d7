"""What CDSE's own kind of catalog and store does with every question that the mirror asks."""

from collections.abc import Iterator, Mapping

import invented
import pytest
from ceph import CephStore
from contracts import CatalogContract, Register, StaticCatalog, StoreContract
from pgstac import PgStac
from services import COLLECTIONS

from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.adapters.stac_catalog import StacApiCatalog, StacOptions
from s2mirror.sandbox import ProductSpec, make_item

pytestmark = pytest.mark.servers


class PgStacRegister:
    """pgstac, three items on a page, and hands to fill it with."""

    def __init__(self, pgstac: PgStac) -> None:
        options = StacOptions(url=f"{pgstac.url}/", bucket="eodata", page_size=3, tries=1)
        self.catalog = StacApiCatalog(options)
        self._pgstac = pgstac
        self.put()

    def put(self, *specs: ProductSpec) -> None:
        collections = [invented.collection() | {"id": name} for name in COLLECTIONS]
        self._pgstac.load(collections, [make_item(spec).item for spec in specs])

    def break_after_pages(self, count: int) -> None:
        raise NotImplementedError(count)


class TestPgStac(CatalogContract):
    # Nobody here can break a real catalog between two pages; the sandbox's proxy does.
    test_a_listing_that_breaks_off_is_an_error_never_a_short_listing = None  # type: ignore[assignment]

    @pytest.fixture
    def register(self, pgstac: PgStac) -> Iterator[Register]:
        pgstac.clear()
        yield PgStacRegister(pgstac)
        pgstac.clear()


class CephShelf:
    """A bucket of Ceph RGW, and hands to fill it with."""

    def __init__(self, ceph: CephStore) -> None:
        self._ceph = ceph
        options = StoreOptions(
            endpoint=ceph.endpoint,
            bucket="eodata",
            access_key=ceph.access_key,
            secret_key=ceph.secret_key,
        )
        self.store = S3Store(options)

    def put(self, objects: Mapping[str, bytes]) -> None:
        self._ceph.load(objects.items())


class TestCeph(StoreContract):
    @pytest.fixture
    def shelf(self, ceph: CephStore) -> Iterator[StaticCatalog]:
        ceph.clear()
        yield CephShelf(ceph)
        ceph.clear()
