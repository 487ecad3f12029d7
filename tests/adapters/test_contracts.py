from collections.abc import Mapping

import pytest
from adapters_builders import catalog, store
from contracts import CatalogContract, Register, StaticCatalog, StoreContract
from fakes import FakeRegister, FakeShelf

from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, make_item


class SandboxShelf:
    """The real store adapter, on the sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.store = store(sandbox)

    def put(self, objects: Mapping[str, bytes]) -> None:
        self._sandbox.store.put(objects)


class SandboxRegister:
    """The real catalog adapter, on the sandbox, three items on a page."""

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


class TestFakeStore(StoreContract):
    @pytest.fixture
    def shelf(self) -> StaticCatalog:
        return FakeShelf()


class TestS3Store(StoreContract):
    @pytest.fixture
    def shelf(self, sandbox: Sandbox) -> StaticCatalog:
        return SandboxShelf(sandbox)


class TestFakeCatalog(CatalogContract):
    @pytest.fixture
    def register(self) -> Register:
        return FakeRegister()


class TestStacApiCatalog(CatalogContract):
    @pytest.fixture
    def register(self, sandbox: Sandbox) -> Register:
        return SandboxRegister(sandbox)
