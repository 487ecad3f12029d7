"""Export held products, or a selection of them, as CSV, GeoParquet or a STAC catalog."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Final, TextIO

from s2mirror.adapters.archive import Archive, Tree, explained
from s2mirror.adapters.geoparquet import write_geoparquet
from s2mirror.adapters.ledger import ArchiveQuery, Ledger
from s2mirror.clean_text import clean_value
from s2mirror.errors import UsageError
from s2mirror.geometry import bounding_box, unpack
from s2mirror.lifecycle import State
from s2mirror.model import ArchivedProduct, ItemSummary, Product
from s2mirror.stac import collection_link
from s2mirror.steps.local_catalog import LocalCatalogUpdater
from s2mirror.stop import StopFlag

COLLECTIONS: Final = ("sentinel-2-l1c", "sentinel-2-l2a")
_COLUMNS: Final = (
    *("id", "collection", "platform", "tile", "baseline", "relative_orbit", "sensed_at"),
    *("published_at", "cloud_cover_percent", "size_bytes", "state"),
    *("west", "south", "east", "north", "path"),
)
_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporter:
    """Exports the products that a query selects. Only reads ledger and archive."""

    ledger: Ledger
    archive: Archive
    bucket: str
    catalog_url: str
    """URL of the STAC catalog from which the items are."""

    def csv(self, query: ArchiveQuery, out: TextIO) -> int:
        """Write a header and one line per product; return the number of products."""
        writer = csv.writer(out)
        writer.writerow(_COLUMNS)
        done = 0
        for product, state, path in self.ledger.archived_products.products(query):
            writer.writerow(clean_value(self._line(product, state, path)))
            done += 1
        return done

    def geoparquet(self, query: ArchiveQuery, folder: Path) -> dict[Path, int]:
        """Write one file per collection into *folder*; return the number of products of each."""
        written = {}
        for name in query.collections or COLLECTIONS:
            path = folder / f"{name}.parquet"
            with explained(f"writing {path}"):
                if count := self.geoparquet_of(name, query, partial(_replacing, path)):
                    written[path] = count
        return written

    def geoparquet_of(
        self,
        collection: str,
        query: ArchiveQuery,
        replacing: Callable[[], AbstractContextManager[IO[bytes]]],
        stop: StopFlag | None = None,
    ) -> int:
        """Write the products of one collection to a file; without products, no file is opened."""
        of_one = query.of(collection)
        if not self.ledger.archived_products.ids(of_one):
            return 0
        with replacing() as file:
            return write_geoparquet(
                file,
                collection,
                _heeding(self.ledger.archived_products.summaries(of_one), stop or StopFlag()),
                root=self.archive.root,
                bucket=self.bucket,
                # Not the local collection: other machines read the rows, and it is not there.
                links=[collection_link(collection, None, self.catalog_url)],
            )

    def stac(self, query: ArchiveQuery, local_catalog_updater: LocalCatalogUpdater) -> int:
        """Write a separate static catalog; return the number of its items.

        Raises UsageError if its folder has any other content.
        """
        static_catalog = local_catalog_updater.static_catalog
        if static_catalog is None:
            return 0
        if (
            static_catalog.folder.is_dir()
            and any(static_catalog.folder.iterdir())
            and not static_catalog.exists
        ):
            raise UsageError(
                f"{static_catalog.folder} holds other files; name a new folder with --out"
            )
        static_catalog.rewrite_lists()
        done = 0
        for some in _batches(self.ledger.archived_products.selected(query)):
            local_catalog_updater.put(some)
            done += len(some)
        return done

    def _line(self, product: Product, state: State, path: str) -> list[object]:
        return [
            *(product.id, product.collection, product.platform, product.tile, product.baseline),
            *(product.relative_orbit, product.sensed_at.isoformat()),
            *(product.published_at.isoformat(), product.cloud_cover_percent, product.size_bytes),
            state.value,
            *bounding_box(unpack(product.footprint_wkb)),
            f"{self.archive.root}/{path}",
        ]


def _replacing(path: Path) -> AbstractContextManager[IO[bytes]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return Tree(path.parent).replacing(path)


def _heeding(summaries: Iterator[ItemSummary], stop: StopFlag) -> Iterator[ItemSummary]:
    for summary in summaries:
        stop.raise_if_set()
        yield summary


def _batches(archived_products: Iterable[ArchivedProduct]) -> Iterator[list[ArchivedProduct]]:
    rows = iter(archived_products)
    while some := list(islice(rows, _AT_ONCE)):
        yield some
