"""Hand out what is held, or a part of it, in forms that others read."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.geoparquet import write_geoparquet
from s2mirror.adapters.ledger import HoldingQuery, Ledger
from s2mirror.errors import UsageError
from s2mirror.geometry import bounding_box, unpack
from s2mirror.model import Brief, Holding
from s2mirror.stac import collection_link
from s2mirror.steps.catalogue import Cataloguer
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
    """Writes what a query selects. Reads ledger and archive only."""

    ledger: Ledger
    archive: Archive
    bucket: str
    catalog_url: str
    """Whence the items came."""

    def csv(self, query: HoldingQuery, out: TextIO) -> int:
        """Write one line per product, with a head line; return how many products."""
        writer = csv.writer(out)
        writer.writerow(_COLUMNS)
        done = 0
        for holding in self.ledger.holdings.selected(query):
            writer.writerow(self._line(holding))
            done += 1
        return done

    def geoparquet(self, query: HoldingQuery, folder: Path) -> dict[Path, int]:
        """Write one file per collection into *folder*; return how many products each has."""
        written = {}
        for name in query.collections or COLLECTIONS:
            path = folder / f"{name}.parquet"
            if count := self.geoparquet_of(name, query, path):
                written[path] = count
        return written

    def geoparquet_of(
        self, collection: str, query: HoldingQuery, path: Path, stop: StopFlag | None = None
    ) -> int:
        """Write the products of one collection; without any, nothing is written."""
        of_one = query.of(collection)
        if not self.ledger.holdings.ids(of_one):
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_geoparquet(
            path,
            collection,
            _heeding(self.ledger.holdings.briefs(of_one), stop or StopFlag()),
            root=self.archive.root,
            bucket=self.bucket,
            # Not the local collection: rows are served to other machines, where its path is none.
            links=[collection_link(collection, None, self.catalog_url)],
        )

    def stac(self, query: HoldingQuery, cataloguer: Cataloguer) -> int:
        """Write a static catalogue of its own; return how many items it has.

        Raises UsageError if its folder holds anything else.
        """
        shelf = cataloguer.shelf
        if shelf is None:
            return 0
        if shelf.folder.is_dir() and any(shelf.folder.iterdir()) and not shelf.exists:
            raise UsageError(f"{shelf.folder} holds other files; name a new folder with --out")
        shelf.put_in_order()
        done = 0
        for some in _batches(self.ledger.holdings.selected(query)):
            cataloguer.put(some)
            done += len(some)
        return done

    def _line(self, holding: Holding) -> list[object]:
        product = holding.product
        return [
            *(product.id, product.collection, product.platform, product.tile, product.baseline),
            *(product.relative_orbit, product.sensed_at.isoformat()),
            *(product.published_at.isoformat(), product.cloud_cover_percent, product.size_bytes),
            holding.state,
            *bounding_box(unpack(product.footprint_wkb)),
            self.archive.folder(holding.path),
        ]


def _heeding(briefs: Iterator[Brief], stop: StopFlag) -> Iterator[Brief]:
    for brief in briefs:
        stop.raise_if_set()
        yield brief


def _batches(holdings: Iterable[Holding]) -> Iterator[list[Holding]]:
    rows = iter(holdings)
    while some := list(islice(rows, _AT_ONCE)):
        yield some
