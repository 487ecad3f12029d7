"""The outside as the mirror sees it, in the mirror's own words."""

from collections.abc import Collection, Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

from s2mirror.model import CatalogQuery, Deletion, Listing, Page, Product, RemoteFile
from s2mirror.preview_model import RenderedImage, RenderRequest
from s2mirror.stop import StopFlag

Bytes = bytes | memoryview


class StacCatalog(Protocol):
    """Lists products. Raises only CatalogError and its kin."""

    def collections(self) -> frozenset[str]:
        """Return the ids of the collections that the catalog has."""

    def search(self, query: CatalogQuery) -> Iterator[Page]:
        """Yield pages until the listing is complete.

        An exhausted iterator means a *complete* listing. Every doubt about that (a foreign answer,
        a repeated token, too many pages) is an error instead.
        """

    def listed(self, collection: str, ids: Collection[str]) -> frozenset[str]:
        """Return those of *ids* that the catalog still lists."""


class ObjectStore(Protocol):
    """Reads product files. Raises only StoreError, CredentialError, HostileInput and Stopped."""

    def probe(self) -> None:
        """List one object, to prove that endpoint, bucket and keys work together."""

    def list_product(self, s3_prefix: str) -> Listing:
        """Return every object below *s3_prefix*; empty if there is none yet."""

    def wait_seconds(self) -> float:
        """Return for how long the next request should wait, for the account's rate."""

    def read(self, file: RemoteFile, *, start_byte: int = 0) -> Generator[Bytes, None, None]:
        """Yield the bytes of *file* from *start_byte*, of the version that was listed.

        Each piece is valid only until the next is asked for: its memory is used again. Who does not
        read to the end must close the generator, or its connection stays open.
        Raises StoreError if the object changed since (``If-Match``), StoreUnavailable if the
        answer ends early. A store that ignores the range and answers with the whole object is
        read past the first *start_byte* bytes. A read that starts at the end yields nothing.
        """


class DeletionFeed(Protocol):
    """Lists products that were deleted upstream. Raises only CatalogError and its kin."""

    def since(self, moment: datetime) -> Iterator[tuple[Deletion, ...]]:
        """Yield batches of deletions from *moment* on, oldest first, until the newest."""


class TokenSource(Protocol):
    """Gives OAuth2 tokens. Raises only TokenError and its kin, CredentialError and Stopped."""

    def token(self, stop: StopFlag) -> str:
        """Return a token that lives for a while yet: the same to all who ask meanwhile."""

    def refuse(self, token: str) -> None:
        """Take note that a service did not accept *token*: it is not given to anyone again."""


class PreviewRenderer(Protocol):
    """Draws pictures of any area. Raises PreviewError and its kin, TokenError, CredentialError."""

    def render(self, request: RenderRequest, stop: StopFlag) -> RenderedImage:
        """Return the picture that *request* asks for, and what it cost."""


class ProductImages(Protocol):
    """Finds the pictures that products bring along. Raises only PreviewError."""

    def quicklook(self, folder: Path, product: Product) -> RenderedImage:
        """Return the small JPEG of the product in *folder*."""

    def tci(self, folder: Path, *, longest_pixels: int, form: str) -> RenderedImage:
        """Return the true-colour band of the product in *folder*, made smaller."""


class Progress(Protocol):
    """Hears how work goes on, from any thread."""

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None:
        """Say that a product's download starts, with what is already there."""

    def received(self, product_id: str, size_bytes: int) -> None:
        """Say that more bytes of a product have been written."""

    def ended(self, product_id: str, outcome: str) -> None:
        """Say that a worker has let go of a product, and how that came about."""
