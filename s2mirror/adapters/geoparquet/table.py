"""STAC GeoParquet: all items of a collection as one table, by pyarrow.

The columns are built directly from the ledger's rows. rustac and stac-geoparquet expect items as
Python dictionaries, which takes minutes for a hundred thousand items of fifty assets; both can read
this file.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from s2mirror import __version__
from s2mirror.adapters.geoparquet.cells import COLUMNS
from s2mirror.errors import UsageError
from s2mirror.geometry import coordinate_ranges
from s2mirror.model import ItemSummary
from s2mirror.stac import (
    asset_fields,
    asset_key,
    asset_keys,
    extensions_of,
    iso_time,
    known_properties,
    source_of,
)

_ROWS: Final = 2000
_GEO: Final = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": [],
            "covering": {
                "bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}
            },
        }
    },
}


def write_geoparquet(
    out: IO[bytes],
    collection: str,
    summaries: Iterable[ItemSummary],
    *,
    root: Path,
    bucket: str,
    links: Sequence[Mapping[str, str]],
) -> int:
    """Write products of one collection as STAC GeoParquet; return how many.

    Assets have absolute paths below *root*; all items have the same *links*. Raises UsageError if
    pyarrow is not installed.
    """
    pa, parquet = _pyarrow()
    schema = _schema(pa, collection)
    rows, done = iter(summaries), 0
    with (
        parquet.ParquetWriter(out, schema, compression="zstd") as file,
        _background() as background,
    ):
        while count := len(batch := _gathered(islice(rows, _ROWS), collection, f"{root}/")):
            columns = _columns(pa, batch, bucket, links)
            arrays = [columns[name] for name in schema.names]
            background(file.write_batch, pa.record_batch(arrays, schema=schema))
            done += count
    return done


@contextmanager
def _background() -> Iterator[Callable[..., None]]:
    """Yield a function that runs one call at a time in another thread."""
    running: list[Future[None]] = []

    def call(function: Callable[..., None], *arguments: object) -> None:
        """Start *function* after the previous call, and raise the error of that one."""
        while running:
            running.pop().result()
        running.append(pool.submit(function, *arguments))

    with ThreadPoolExecutor(1) as pool:
        yield call
        for last in running:
            last.result()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional extra, and large
        from pyarrow import parquet  # noqa: PLC0415 - likewise
    except ImportError as error:
        raise UsageError(
            "GeoParquet needs pyarrow, which is not installed; pip install 's2mirror[geoparquet]'"
        ) from error
    return pa, parquet


def _schema(pa: Any, collection: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return the columns: an item's top-level members, then its properties."""
    text, texts = pa.string(), pa.list_(pa.string())
    asset = pa.struct([("href", text), ("type", text), ("title", text), ("roles", texts)])
    box = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    fields = {
        "type": text,
        "stac_version": text,
        "stac_extensions": texts,
        "id": text,
        "geometry": pa.binary(),
        "bbox": box,
        "links": _links(pa),
        "assets": pa.struct([(key, asset) for key in asset_keys(collection)]),
        "collection": text,
        **{name: column(pa, []).type for name, column in COLUMNS.items()},
        "s2mirror:fetched_at": text,
        "s2mirror:verified_at": text,
        "s2mirror:source": text,
        "s2mirror:version": text,
    }
    metadata = {"geo": json.dumps(_GEO), "stac-geoparquet": json.dumps({"version": "1.0.0"})}
    return pa.schema(list(fields.items()), metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Some products, column by column."""

    collection: str
    ids: list[str] = field(default_factory=list)
    geometries: list[bytes] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    fetched_at: list[str | None] = field(default_factory=list)
    verified_at: list[str | None] = field(default_factory=list)
    extensions: list[Sequence[str]] = field(default_factory=list)
    properties: dict[str, list[object]]
    hrefs: dict[str, list[str | None]]

    def __len__(self) -> int:
        return len(self.ids)


def _gathered(summaries: Iterable[ItemSummary], collection: str, root: str) -> _Batch:
    """Collect the columns product by product, so that only one product is in memory as a whole."""
    batch = _Batch(
        collection=collection,
        properties={name: [] for name in COLUMNS},
        hrefs={key: [] for key in asset_keys(collection)},
    )
    for summary in summaries:
        batch.ids.append(summary.id)
        batch.geometries.append(summary.footprint_wkb)
        batch.prefixes.append(summary.s3_prefix)
        batch.fetched_at.append(iso_time(summary.fetched_at))
        batch.verified_at.append(iso_time(summary.verified_at))
        found = known_properties(summary.product) if summary.product else summary.properties
        cells = {name: found.get(name) for name in COLUMNS}
        batch.extensions.append(extensions_of(cells))
        for name, values in batch.properties.items():
            values.append(cells[name])
        folder = f"{root}{summary.path}/"
        own = {asset_key(path): folder + path for path in summary.paths}
        for key, hrefs in batch.hrefs.items():
            hrefs.append(own.get(key))
    return batch


def _links(pa: Any) -> Any:  # noqa: ANN401 - pyarrow has no types
    return pa.list_(pa.struct([(name, pa.string()) for name in ("href", "rel", "type")]))


def _columns(
    pa: Any,  # noqa: ANN401 - pyarrow has no types
    batch: _Batch,
    bucket: str,
    links: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    same, count = pa.scalar, len(batch)
    texts = pa.list_(pa.string())
    # Readers filter rows by these as plain numbers, so west must not be above east.
    sides = [pa.array(side) for side in zip(*coordinate_ranges(batch.geometries), strict=True)]
    assets = [_asset(pa, key, hrefs) for key, hrefs in batch.hrefs.items()]
    return {
        "type": pa.repeat(same("Feature"), count),
        "stac_version": pa.repeat(same("1.1.0"), count),
        "stac_extensions": pa.array(batch.extensions, texts),
        "id": pa.array(batch.ids),
        "geometry": pa.array(batch.geometries),
        "bbox": pa.StructArray.from_arrays(sides, ["xmin", "ymin", "xmax", "ymax"]),
        "links": pa.array([links] * count, _links(pa)),
        "assets": pa.StructArray.from_arrays(assets, list(batch.hrefs)),
        "collection": pa.repeat(same(batch.collection), count),
        "s2mirror:source": pa.array([source_of(name, bucket=bucket) for name in batch.prefixes]),
        "s2mirror:version": pa.repeat(same(__version__), count),
        "s2mirror:fetched_at": pa.array(batch.fetched_at, pa.string()),
        "s2mirror:verified_at": pa.array(batch.verified_at, pa.string()),
        **{name: COLUMNS[name](pa, values) for name, values in batch.properties.items()},
    }


def _asset(pa: Any, key: str, hrefs: list[str | None]) -> Any:  # noqa: ANN401 - pyarrow has no types
    found = pa.array(hrefs, pa.string())
    parts = [found, *_same_for_all(key, len(hrefs))]
    missing = found.is_null() if found.null_count else None
    return pa.StructArray.from_arrays(parts, ["href", "type", "title", "roles"], mask=missing)


@lru_cache(maxsize=256)
def _same_for_all(key: str, count: int) -> list[Any]:
    """Return the constant columns of the assets of one key. Making them is slow: once is enough."""
    pa, _ = _pyarrow()
    attributes = asset_fields(key)
    roles = pa.scalar(list(attributes["roles"]), pa.list_(pa.string()))
    texts = (attributes["type"], str(attributes.get("title", key)))
    return [*(pa.repeat(pa.scalar(text), count) for text in texts), pa.repeat(roles, count)]
