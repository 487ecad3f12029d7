"""The interfaces of the services, files and progress displays that the steps use."""

from collections.abc import Collection, Generator, Iterable, Iterator
from datetime import datetime
from typing import IO, Protocol

from s2mirror.model import CatalogQuery, Deletion, Listing, Page, Product, RemoteFile
from s2mirror.preview_model import RenderedImage, RenderRequest
from s2mirror.stop import StopFlag

Bytes = bytes | memoryview


class ProductCatalog(Protocol):
    """Lists products. Raises only CatalogError and its subclasses."""

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        """Yield pages until the listing is complete.

        An exhausted iterator means a *complete* listing. Every doubt about that (a foreign
        response, a repeated token, too many pages) is an error instead.
        """


class CountingCatalog(ProductCatalog, Protocol):
    """Lists and counts the same products as the STAC catalog, from another service."""

    def count(self, query: CatalogQuery) -> int:
        """Return how many products a query finds."""


class FindingCatalog(Protocol):
    """Finds products by id. Raises only CatalogError and its subclasses."""

    def find(self, collection: str, ids: Collection[str]) -> Page:
        """Return the products among *ids* that the catalog lists, and the unusable items."""


class StacCatalog(ProductCatalog, FindingCatalog, Protocol):
    """Lists products and collections."""

    def collections(self) -> frozenset[str]:
        """Return the ids of the collections that the catalog has."""

    def listed(self, collection: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of *ids* that the catalog still lists."""


class ObjectStore(Protocol):
    """Reads product files. Raises only StoreError, CredentialError, HostileInput and Stopped."""

    def probe(self) -> None:
        """List one object, to check that endpoint, bucket and keys work together."""

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""

    def wait_seconds(self) -> float:
        """Return how long the next request should wait for the account's rate limit."""

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed.

        Each piece is valid only until the next one is requested: its memory is reused. A caller
        that does not read to the end must close the generator, or its connection stays open.
        Raises StoreError if the object changed since the listing (``If-Match``), StoreUnavailable
        if the response ends early. If the store ignores the range and sends the whole object, the
        first *start_byte* bytes are skipped. A read that starts at the end yields nothing.
        """


class DeletionFeed(Protocol):
    """Lists products that CDSE deleted. Raises only CatalogError and its subclasses."""

    def since(self, instant: datetime) -> Iterator[tuple[Deletion, ...]]:
        """Yield batches of deletions from *instant* on, oldest first, until the newest."""


class TokenSource(Protocol):
    """Returns OAuth2 tokens. Raises only TokenError, its subclasses, CredentialError, Stopped."""

    def token(self, stop: StopFlag) -> str:
        """Return a token that is not about to expire; concurrent callers get the same one."""

    def refuse(self, token: str) -> None:
        """Record that a service refused *token*, so that no caller gets it again."""


class PreviewRenderer(Protocol):
    """Renders images of any area.

    Raises PreviewError, TokenError, their subclasses, CredentialError and Stopped.
    """

    def render(self, request: RenderRequest, stop: StopFlag) -> RenderedImage:
        """Return the requested image and its cost."""


class ProductFiles(Protocol):
    """The files of one product, by path relative to its folder. Raises ArchiveError."""

    def paths(self) -> Iterable[str]:
        """Return the path of every file."""

    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading; raise FileNotFoundError if it does not exist."""


class ProductImages(Protocol):
    """Reads the images that a product contains. Raises only PreviewError."""

    def quicklook(self, files: ProductFiles, product: Product) -> RenderedImage:
        """Return the small JPEG of a product."""

    def tci(
        self, files: ProductFiles, product: Product, *, longest_pixels: int, form: str
    ) -> RenderedImage:
        """Return the true-colour band of a product, at a reduced size."""


class Progress(Protocol):
    """Receives the progress of downloads, from any thread."""

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Report that a product's download starts, with the bytes that are already staged."""

    def received(self, product_id: str, size_bytes: int) -> None:
        """Report that more bytes of a product have been written."""

    def ended(self, product_id: str, outcome: str) -> None:
        """Report that the download of a product has ended, and its outcome."""
