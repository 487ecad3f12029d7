"""The simulated Copernicus Data Space on loopback: its services, each behind a proxy."""

import ssl
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import trustme

from s2mirror.errors import UsageError
from s2mirror.sandbox.faults import Firewall
from s2mirror.sandbox.identity import TOKEN_PATH, IdentityService
from s2mirror.sandbox.odata import ODATA_PATH, ODataService
from s2mirror.sandbox.process import PROCESS_PATH, ProcessService
from s2mirror.sandbox.products import SandboxProduct
from s2mirror.sandbox.proxy import Proxy
from s2mirror.sandbox.s3 import BUCKET, ObjectStore
from s2mirror.sandbox.serving import listening, loop_thread, served
from s2mirror.sandbox.stac import StacRequest, StacService
from s2mirror.sandbox.stac_catalog import Record, SandboxCatalog

CA_NAME: Final = "sandbox-ca.pem"
CATALOG_REQUESTS_PER_SECOND: Final = 5
"""To the STAC catalog, and to the OData interface; the firewall refuses more."""


class Sandbox:
    """A simulated Copernicus Data Space on ephemeral ports of 127.0.0.1.

    Use it as a context manager. The CA's certificate is stored in *folder*, by default a
    temporary folder that is removed at the end.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self.catalogue = SandboxCatalog()
        self.identity = IdentityService()
        self.stac_proxy = Proxy(rate_limit=Firewall(CATALOG_REQUESTS_PER_SECOND))
        self.s3_proxy = Proxy(read_whole=self._read_whole)
        self.s3_second_proxy = Proxy(read_whole=self._read_whole)
        self.odata = ODataService(self.catalogue)
        self.identity_proxy = Proxy()
        self.odata_proxy = Proxy(rate_limit=Firewall(CATALOG_REQUESTS_PER_SECOND))
        self.process = ProcessService(self.catalogue, self.identity)
        self.process_proxy = Proxy()

    def __enter__(self) -> Self:
        """Start all services and wait until they are ready."""
        with self._stack:
            self._start()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def stac_url(self) -> str:
        """URL of the STAC catalog, ending in ``/v1/``."""
        return f"https://localhost:{self.stac_proxy.port}/v1/"

    @property
    def s3_endpoint(self) -> str:
        """URL of the store, for path-style access to the bucket ``eodata``."""
        return f"https://localhost:{self.s3_proxy.port}"

    @property
    def s3_second_endpoint(self) -> str:
        """Second endpoint of the same store, as at CDSE."""
        return f"https://localhost:{self.s3_second_proxy.port}"

    @property
    def token_url(self) -> str:
        """URL of the token endpoint."""
        return f"https://localhost:{self.identity_proxy.port}{TOKEN_PATH}"

    @property
    def odata_url(self) -> str:
        """URL of the OData interface, ending in ``/odata/v1/``."""
        return f"https://localhost:{self.odata_proxy.port}{ODATA_PATH}"

    @property
    def process_url(self) -> str:
        """URL of the Process API."""
        return f"https://localhost:{self.process_proxy.port}{PROCESS_PATH}"

    @property
    def access_key(self) -> str:
        """The store's current access key."""
        return self.store.access_key

    @property
    def secret_key(self) -> str:
        """The store's current secret key."""
        return self.store.secret_key

    @property
    def client_id(self) -> str:
        """ID of the OAuth client."""
        return self.identity.client_id

    @property
    def client_secret(self) -> str:
        """Secret of the OAuth client."""
        return self.identity.client_secret

    @property
    def requests(self) -> list[StacRequest]:
        """All requests to the STAC catalog, with method, path, query and JSON body."""
        return self.stac.requests

    def environment(self) -> dict[str, str]:
        """Return the environment variables of s2mirror's secrets, boto3 and the AWS tools."""
        return {
            "S2MIRROR_S3_ACCESS_KEY": self.access_key,
            "S2MIRROR_S3_SECRET_KEY": self.secret_key,
            "S2MIRROR_CLIENT_ID": self.client_id,
            "S2MIRROR_CLIENT_SECRET": self.client_secret,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "default",
            "AWS_ENDPOINT_URL_S3": self.s3_endpoint,
            "AWS_CA_BUNDLE": str(self.ca_file),
        }

    def toml(self) -> str:
        """Return the options of an ``s2mirror.toml`` that contain the endpoints; no secrets."""
        return (
            f'[catalog]\nurl = "{self.stac_url}"\n\n'
            f'[store]\nendpoint = "{self.s3_endpoint}"\n\n'
            f'[endpoints]\ntoken_url = "{self.token_url}"\n'
            f'process_url = "{self.process_url}"\nodata_url = "{self.odata_url}"\n\n'
            f'[network]\nca_file = "{self.ca_file}"\n'
        )

    def publish(self, products: SandboxProduct | Iterable[SandboxProduct]) -> None:
        """Add products to the store, then to the catalog, as CDSE does.

        An existing product is replaced; :meth:`replace` also deletes its old files.
        """
        found = [products] if isinstance(products, SandboxProduct) else list(products)
        for product in found:
            self.store.put(product.keys)
        self.catalogue.put(self.stac.served(product.item) for product in found)

    def publish_in_odata_only(self, product: SandboxProduct) -> None:
        """Add a product to the store and to OData, but not to the STAC catalog."""
        self.store.put(product.keys)
        self.odata.add(Record.of(self.stac.served(product.item)))

    def withdraw(self, product_id: str, *, keep_objects: bool = False, cause: str = "") -> None:
        """Remove a product from the catalog and, by default, its objects from the store.

        With a *cause*, the product is also added to the feed of deleted products.
        """
        record = self.catalogue.get(product_id)
        if record is None:
            raise UsageError(
                f"cannot withdraw {product_id!r}: the sandbox's catalog does not contain it"
            )
        self.catalogue.remove(product_id)
        if cause:
            self.odata.delete(product_id, cause=cause)
        if not keep_objects:
            self.store.delete(self.keys_of(product_id))

    def replace(self, product: SandboxProduct) -> None:
        """Delete the objects of the product with the same ID, then publish *product*."""
        self.store.delete(self.keys_of(product.id))
        self.publish(product)

    def clear(self) -> None:
        """Remove all products, disarm every fault and start new records."""
        for proxy in self._proxies:
            proxy.reset()
        self.stac.requests.clear()
        self.catalogue.clear()
        self.odata.clear()
        self.identity.reset()
        self.process.reset()
        self.store.delete(self.store.list_keys())

    @property
    def _proxies(self) -> tuple[Proxy, ...]:
        stores = self.s3_proxy, self.s3_second_proxy
        plain = self.stac_proxy, *stores, self.odata_proxy
        return *plain, self.identity_proxy, self.process_proxy

    def keys_of(self, product_id: str) -> list[str]:
        """Return the keys of a product's objects, sorted."""
        return [key for key in self.store.list_keys() if f"/{product_id}.SAFE/" in key]

    def _start(self) -> None:
        enter = self._stack.enter_context
        folder = self._folder or Path(enter(TemporaryDirectory()))
        self.ca_file = folder / CA_NAME
        tls = _new_tls(self.ca_file)
        self.store = enter(ObjectStore())
        loop = enter(loop_thread())
        for proxy in self._proxies:
            enter(listening(loop, proxy, tls))
        self.stac = StacService(self.catalogue, self.stac_url)
        self.stac_proxy.forward_to(enter(served(loop, self.stac.app())))
        self.odata_proxy.forward_to(enter(served(loop, self.odata.app())))
        self.process_proxy.forward_to(enter(served(loop, self.process.app())))
        self.identity_proxy.forward_to(enter(served(loop, self.identity.app())))
        for proxy in (self.s3_proxy, self.s3_second_proxy):
            proxy.forward_to(self.store.port)

    def _read_whole(self, path: str) -> bytes | None:
        return self.store.get(unquote(urlsplit(path).path).removeprefix(f"/{BUCKET}/"))


def _new_tls(ca_file: Path) -> ssl.SSLContext:
    """Create a CA, write its certificate to *ca_file*, and return the servers' TLS context."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(tls)
    return tls
