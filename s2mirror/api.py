"""The Python interface: list held products as pystac items, mark them, and wait for new ones.

It works beside a running daemon, in any number of processes, and needs no account.

    >>> from s2mirror import Mirror
    >>> with Mirror("s2mirror.toml") as mirror:
    ...     for item in mirror.items(tile="32TMT", start="2026-05-01", end="2026-05-31"):
    ...         blue = item.assets["B02_10m"].href
    ...         print(item.id, item.properties["eo:cloud_cover"], blue.endswith("_B02_10m.jp2"))
    ...         mirror.mark_processed(item)
    S2C_MSIL2A_20260527T102031_N0512_R065_T32TMT_20260527T132031 12.5 True
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, get_args

import pystac

from s2mirror.adapters.ledger import ArchiveQuery, open_ledger
from s2mirror.area import check_area_names
from s2mirror.config import load_settings
from s2mirror.errors import UsageError
from s2mirror.geometry import from_bbox, pack, united
from s2mirror.lifecycle import State
from s2mirror.model import ArchivedProduct
from s2mirror.planning.supersede import superseded_by
from s2mirror.stac import SUPERSEDED_BY, collection_link, item
from s2mirror.steps.requests import mark_processed
from s2mirror.tiles import normal_tile
from s2mirror.times import FIRST, LAST, parse_date_or_time

Area = str | Sequence[float] | Mapping[str, Any]
"""Name of an area of the configuration; or west, south, east, north in degrees (WGS 84; a west
greater than the east crosses the antimeridian); or any GeoJSON object with polygons."""
Moment = str | date | datetime
"""A day (UTC) as ``date`` or ``"2026-05-27"``, or an instant with its zone as ``datetime`` or
``"2026-05-27T10:20:31Z"``."""
Versions = Literal["best", "all"]

_LOOK_SECONDS: Final = 1.0
_BOX_NUMBERS: Final = 4


class Mirror:
    """An archive and its ledger: read its products, and mark them as processed.

    *config* is the path of the configuration file. Raises :class:`~s2mirror.errors.ConfigError` if
    the configuration is not valid, and :class:`~s2mirror.errors.LedgerError` if there is no ledger
    yet, because the mirror has never run, or if it cannot be used. Any thread may use a Mirror;
    each must :meth:`close` it.
    """

    def __init__(self, config: str | Path = "s2mirror.toml") -> None:
        self._settings = load_settings(Path(config), environment={}).settings
        self._ledger = open_ledger(self._settings.ledger.path, create=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def root(self) -> Path:
        """The folder of the archive."""
        return self._settings.archive.root

    def items(
        self,
        *,
        area: Area | None = None,
        tile: str = "",
        start: Moment | None = None,
        end: Moment | None = None,
        collections: Sequence[str] = (),
        versions: Versions = "best",
    ) -> Iterator[pystac.Item]:
        """Yield the held products as items, oldest sensing first: one item per image.

        During the grace of a reprocessing, several versions of an image are held, whose pixels may
        convert differently. *versions* ``"best"`` gives the one that replaces the others, by the
        rules of ``supersede``; ``"all"`` gives every one, with the id of the best of the selected
        ones as the property ``s2mirror:superseded_by`` of each other one. Two halves of an image
        that were received by different stations are not versions: both are given.

        *area* selects by place: the name of an area gives the products which that area wants, a
        geometry gives all whose footprints intersect it. *tile* is one tile of the Sentinel-2 grid,
        such as ``"32TMT"``. *start* and *end* are the first and last sensing time, both included; a
        day as *end* includes the whole day. *collections* are names such as ``"sentinel-2-l2a"``. A
        filter that is not given selects everything.

        Each item has CDSE's properties, and for each asset the absolute path of the file,
        ``file:size`` in bytes, and for images the grid (``proj:code``, ``proj:shape`` as rows and
        columns, ``proj:transform`` in metres) and the factors that convert pixels to reflectances
        (``raster:scale``, ``raster:offset``). Its ``get_collection()`` reads the local catalog, or
        CDSE's catalog if ``local_catalog.enabled`` is false.

        Raises :class:`~s2mirror.errors.UsageError` for an invalid area, tile or time.
        """
        if versions not in get_args(Versions):
            raise UsageError(f"versions is 'best' or 'all', not {versions!r}")
        query = self._query(area, tile, start, end, collections)
        return self._versions(query, versions)

    def _versions(self, query: ArchiveQuery, versions: Versions) -> Iterator[pystac.Item]:
        selected = self._ledger.archived_products.selected(query)
        for _, group in groupby(selected, key=lambda archived: archived.product.sensed_at):
            found = list(group)
            better = superseded_by(archived.product for archived in found)
            for archived in found:
                if (best := better.get(archived.product.id)) is None:
                    yield self._item(archived)
                elif versions == "all":
                    item = self._item(archived)
                    item.properties[SUPERSEDED_BY] = best
                    yield item

    def mark_processed(self, *items: str | pystac.Item) -> None:
        """Mark products, given by id or as items, as processed, so that they may be pruned.

        A second mark changes nothing. Raises :class:`~s2mirror.errors.UsageError` for the first
        product that is not held; the products before it are marked.
        """
        for each in items:
            name = each if isinstance(each, str) else each.id
            mark_processed(
                self._ledger,
                name.removesuffix(".SAFE"),
                reason="marked from Python",
                now=datetime.now(UTC),
            )

    def wait_for_new(
        self,
        *,
        timeout_seconds: float | None = None,
        area: Area | None = None,
        tile: str = "",
        collections: Sequence[str] = (),
    ) -> Iterator[pystac.Item]:
        """Yield every product that is not marked as processed, including those archived later.

        Each product is yielded once, as soon as it is in the archive. A consumer that marks each
        product when it is done, and starts again after a crash, misses no product and repeats at
        most one. Ends when no product has arrived for *timeout_seconds*; None waits forever, 0 does
        not wait. The filters are those of :meth:`items`.

        Raises :class:`~s2mirror.errors.UsageError` as :meth:`items` does.
        """
        query = self._query(area, tile, None, None, collections, State.ARCHIVED)
        return self._waiting(query, timeout_seconds)

    def close(self) -> None:
        """Close this thread's connection to the ledger; the next call opens it again."""
        self._ledger.close()

    def _waiting(self, query: ArchiveQuery, timeout_seconds: float | None) -> Iterator[pystac.Item]:
        seen: set[str] = set()
        waited_from = time.monotonic()
        while True:
            there = self._ledger.archived_products.ids(query)
            for name in [name for name in there if name not in seen]:
                for found in self._ledger.archived_products.find([name]).values():
                    yield self._item(found)
                    waited_from = time.monotonic()
            # A product that was processed and downloaded again is new again.
            seen = set(there)
            waited_seconds = time.monotonic() - waited_from
            if timeout_seconds is not None and waited_seconds >= timeout_seconds:
                return
            rest = _LOOK_SECONDS if timeout_seconds is None else timeout_seconds - waited_seconds
            time.sleep(min(_LOOK_SECONDS, rest))

    def _query(
        self,
        area: Area | None,
        tile: str,
        start: Moment | None,
        end: Moment | None,
        collections: Sequence[str],
        state: State | None = None,
    ) -> ArchiveQuery:
        name = area if isinstance(area, str) else ""
        if name:
            check_area_names([name], [known.name for known in self._settings.area])
        try:
            return ArchiveQuery(
                start=parse_date_or_time(start, FIRST),
                end=parse_date_or_time(end, LAST),
                tile=normal_tile(tile) if tile else "",
                area=name,
                collections=tuple(collections),
                state=state,
                geometry_wkb=None if area is None or isinstance(area, str) else _area_wkb(area),
            )
        except ValueError as error:
            raise UsageError(str(error)) from error

    def _item(self, archived: ArchivedProduct) -> pystac.Item:
        links = [self._collection_link(archived.product.collection)]
        folder, bucket = str(self.root / archived.path), self._settings.store.bucket
        document = item(archived, folder=folder, links=links, bucket=bucket)
        return pystac.Item.from_dict(document, preserve_dict=False, migrate=False)

    def _collection_link(self, name: str) -> dict[str, str]:
        local = self._settings.local_catalog
        folder = local.folder_in(self.root) if local.enabled else None
        return collection_link(name, folder, self._settings.catalog.url)


def _area_wkb(area: Sequence[float] | Mapping[str, Any]) -> bytes:
    """Return an area as WKB. Raises ValueError for an invalid one."""
    try:
        if isinstance(area, Mapping):
            return pack(united(area))
        if len(area) == _BOX_NUMBERS:
            return pack(from_bbox(*(float(number) for number in area)))
    except Exception as error:
        # shapely raises many kinds of errors for an invalid geometry.
        raise ValueError(f"the area is not GeoJSON with polygons: {error}") from error
    raise ValueError(f"an area is a name, GeoJSON or [west, south, east, north]; got {area!r}")
