"""The real servers with the attributes of the sandbox, so that one kit can use either."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import certifi
import invented
from ceph import CephStore
from pgstac import PgStac

from s2mirror.sandbox import SandboxProduct
from s2mirror.sandbox.odata import ODATA_PATH, ODataService
from s2mirror.sandbox.serving import loop_thread, served
from s2mirror.sandbox.stac_catalog import SandboxCatalog

COLLECTIONS = ("sentinel-2-l1c", "sentinel-2-l2a")
NOBODY_LISTENS = "https://127.0.0.1:9/token"


class Services:
    """A catalog of stac-fastapi-pgstac and a store of Ceph RGW, as one Copernicus Data Space."""

    token_url = process_url = NOBODY_LISTENS
    client_id = client_secret = "nobody"  # noqa: S105 - as it says
    ca_file = Path(certifi.where())
    """Not needed: both servers speak plain HTTP on loopback."""

    def __init__(self, pgstac: PgStac, ceph: CephStore, odata_url: str) -> None:
        self.odata_url = odata_url
        self.pgstac = pgstac
        self.ceph = ceph
        self.stac_url = f"{pgstac.url}/"
        self.s3_endpoint = ceph.endpoint
        self.access_key = ceph.access_key
        self.secret_key = ceph.secret_key

    def publish(self, *products: SandboxProduct) -> None:
        """Put products into the store, then into the catalog, as CDSE does."""
        self.store(*products)
        self.list(*products)

    def store(self, *products: SandboxProduct) -> None:
        """Put products into the store only."""
        self.put(*products)
        self.ceph.forget()

    def put(self, *products: SandboxProduct) -> None:
        """Put products into the store, also while a client reads a response."""
        for product in products:
            self.ceph.load(product.keys.items())

    def list(self, *products: SandboxProduct) -> None:
        """Put products into the catalog only."""
        collections = [invented.collection() | {"id": name} for name in COLLECTIONS]
        self.pgstac.load(collections, [product.item for product in products])

    def clear(self) -> None:
        """Delete everything from both."""
        self.pgstac.clear()
        self.ceph.clear()
        self.ceph.forget()


@contextmanager
def running_feed() -> Iterator[str]:
    """Serve an empty feed of deleted products, which no independent server has; yield its URL."""
    with loop_thread() as loop, served(loop, ODataService(SandboxCatalog()).app()) as port:
        yield f"http://127.0.0.1:{port}{ODATA_PATH}"
