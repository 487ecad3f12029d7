from collections.abc import Mapping

import pytest
from adapters_builders import catalog, store
from contracts import (
    CatalogContract,
    CatalogFixture,
    ListingContract,
    ListingFixture,
    StoreContract,
    StoreFixture,
)
from discovery_kit import FakeCatalog

from s2mirror.adapters.odata import ODataCatalog, ODataOptions
from s2mirror.adapters.stac_catalog import parse_item
from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, make_item


class SandboxStore:
    """The store adapter, on the sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.store = store(sandbox)

    def put(self, objects: Mapping[str, bytes]) -> None:
        self._sandbox.store.put(objects)


class SandboxCatalog:
    """The catalog adapter, on the sandbox, three items on a page."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.catalog = catalog(sandbox, page_size=3)

    def put(self, *specs: ProductSpec) -> None:
        stac = self._sandbox.stac
        self._sandbox.catalogue.put(stac.served(make_item(spec).item) for spec in specs)

    def break_after_pages(self, count: int) -> None:
        self._sandbox.stac_proxy.inject(
            Fault(method="POST", skip=count, times=None, answer=Answer(status=503))
        )


class SandboxOData:
    """The OData adapter, on the sandbox, three records on a page."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        options = ODataOptions(url=sandbox.odata_url, ca_file=sandbox.ca_file, page_items=3)
        self.catalog = ODataCatalog(options)

    def put(self, *specs: ProductSpec) -> None:
        stac = self._sandbox.stac
        self._sandbox.catalogue.put(stac.served(make_item(spec).item) for spec in specs)

    def break_after_pages(self, count: int) -> None:
        self._sandbox.odata_proxy.inject(Fault(skip=count, times=None, answer=Answer(status=503)))


class DiscoveryCatalog:
    """The fake catalog of the discovery tests, three items on a page."""

    def __init__(self) -> None:
        self.catalog = FakeCatalog(page_items=3)

    def put(self, *specs: ProductSpec) -> None:
        for spec in specs:
            item = dict(make_item(spec).item)
            self.catalog.add(parse_item(item, collection=spec.collection, bucket="eodata"))

    def break_after_pages(self, count: int) -> None:
        self.catalog.breaks_after_pages = count


class TestS3Store(StoreContract):
    @pytest.fixture
    def subject(self, sandbox: Sandbox) -> StoreFixture:
        return SandboxStore(sandbox)


class TestFakeCatalog(CatalogContract):
    @pytest.fixture
    def subject(self) -> CatalogFixture:
        return DiscoveryCatalog()


class TestStacApiCatalog(CatalogContract):
    @pytest.fixture
    def subject(self, sandbox: Sandbox) -> CatalogFixture:
        return SandboxCatalog(sandbox)


class TestODataCatalog(ListingContract):
    @pytest.fixture
    def subject(self, sandbox: Sandbox) -> ListingFixture:
        return SandboxOData(sandbox)
