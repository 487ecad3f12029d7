"""The port contracts on the catalog and store software that CDSE runs."""

from collections.abc import Iterator, Mapping

import invented
import pytest
from ceph import CephStore
from contracts import CatalogContract, CatalogFixture, StoreContract, StoreFixture
from pgstac import PgStac
from services import COLLECTIONS

from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.adapters.stac_catalog import StacApiCatalog, StacOptions
from s2mirror.sandbox import ProductSpec, make_item

pytestmark = pytest.mark.servers


class PgStacFixture:
    """pgstac, three items on a page, with methods that add content."""

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
    # A real catalog cannot be interrupted between two pages; the sandbox's proxy is.
    test_interrupted_listing_raises_an_error = None  # type: ignore[assignment]

    @pytest.fixture
    def subject(self, pgstac: PgStac) -> Iterator[CatalogFixture]:
        pgstac.clear()
        yield PgStacFixture(pgstac)
        pgstac.clear()


class CephFixture:
    """A bucket of Ceph RGW, with methods that add content."""

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
    def subject(self, ceph: CephStore) -> Iterator[StoreFixture]:
        ceph.clear()
        yield CephFixture(ceph)
        ceph.clear()
