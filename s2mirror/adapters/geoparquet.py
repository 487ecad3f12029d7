"""STAC GeoParquet: all items of a collection as one table, by pyarrow.

The columns are built directly from the ledger's rows. rustac and stac-geoparquet take items as
Python dictionaries, which for a hundred thousand items of fifty assets takes minutes; both read
what is written here.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

from s2mirror.errors import ArchiveError, UsageError
from s2mirror.geometry import bounding_boxes
from s2mirror.model import Brief, utc
from s2mirror.stac import asset_facts, asset_key, asset_keys, extensions_of, item_properties

_ROWS: Final = 2000
_TIMES: Final = (
    *("datetime", "start_datetime", "end_datetime", "created", "updated", "published"),
    *("processing:datetime", "s2mirror:fetched_at", "s2mirror:verified_at"),
)
_NUMBERS: Final = (
    *("gsd", "eo:cloud_cover", "eo:snow_cover", "view:azimuth", "view:incidence_angle"),
    *("view:sun_azimuth", "view:sun_elevation"),
)
_WHOLE: Final = ("sat:relative_orbit", "sat:absolute_orbit")
_TEXTS: Final = (
    *("platform", "constellation", "grid:code", "processing:level", "processing:version"),
    *("processing:facility", "product:type", "product:timeliness", "sat:orbit_state"),
    *("product:timeliness_category", "sat:platform_international_designator"),
    *("eopf:datatake_id", "eopf:datastrip_id", "eopf:instrument_mode"),
    *("s2mirror:source", "s2mirror:version"),
)
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
    path: Path, collection: str, briefs: Iterable[Brief], *, root: Path, bucket: str
) -> int:
    """Write products of one collection as STAC GeoParquet; return how many.

    Assets have absolute paths below *root*. Another file at *path* is replaced in one step. Raises
    UsageError if pyarrow is not installed, ArchiveError if the file cannot be written.
    """
    pa, parquet = _pyarrow()
    schema = _schema(pa, collection)
    draft = path.with_name(f"{path.name}.new")
    rows, done = iter(briefs), 0
    with _explained(path), _removed_on_error(draft):
        with parquet.ParquetWriter(draft, schema, compression="zstd") as writer:
            while batch := list(islice(rows, _ROWS)):
                columns = _columns(pa, batch, root=f"{root}/", bucket=bucket)
                arrays = [columns[name] for name in schema.names]
                writer.write_batch(pa.record_batch(arrays, schema=schema))
                done += len(batch)
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    return done


@contextmanager
def _removed_on_error(draft: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


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
    """Return the columns: what STAC has at an item's top, then its properties."""
    text, texts = pa.string(), pa.list_(pa.string())
    link = pa.struct([(name, text) for name in ("href", "rel", "type", "title")])
    asset = pa.struct([("href", text), ("type", text), ("title", text), ("roles", texts)])
    box = pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])
    fields = {
        "type": text,
        "stac_version": text,
        "stac_extensions": texts,
        "id": text,
        "geometry": pa.binary(),
        "bbox": box,
        "links": pa.list_(link),
        "assets": pa.struct([(key, asset) for key in asset_keys(collection)]),
        "collection": text,
        "instruments": texts,
        **dict.fromkeys(_TIMES, pa.timestamp("us", tz="UTC")),
        **dict.fromkeys(_NUMBERS, pa.float64()),
        **dict.fromkeys(_WHOLE, pa.int64()),
        **dict.fromkeys(_TEXTS, text),
    }
    metadata = {"geo": json.dumps(_GEO), "stac-geoparquet": json.dumps({"version": "1.0.0"})}
    return pa.schema(list(fields.items()), metadata=metadata)


def _columns(pa: Any, batch: Sequence[Brief], *, root: str, bucket: str) -> dict[str, Any]:  # noqa: ANN401 - pyarrow has no types
    holdings = [brief.holding for brief in batch]
    collection = holdings[0].product.collection
    properties = [item_properties(holding, bucket=bucket) for holding in holdings]
    boxes = bounding_boxes([holding.product.footprint_wkb for holding in holdings])
    sides = [pa.array([box[side] for box in boxes]) for side in range(4)]
    same, count = pa.scalar, len(batch)
    texts = pa.list_(pa.string())
    links = pa.list_(pa.struct([(n, pa.string()) for n in ("href", "rel", "type", "title")]))
    columns = {
        "type": pa.repeat(same("Feature"), count),
        "stac_version": pa.repeat(same("1.1.0"), count),
        "stac_extensions": pa.array([extensions_of(found) for found in properties], texts),
        "id": pa.array([holding.product.id for holding in holdings]),
        "geometry": pa.array([holding.product.footprint_wkb for holding in holdings]),
        "bbox": pa.StructArray.from_arrays(sides, ["xmin", "ymin", "xmax", "ymax"]),
        "links": pa.array([[]] * count, links),
        "assets": _assets(pa, collection, batch, root),
        "collection": pa.repeat(same(collection), count),
        "instruments": pa.array([_words(found.get("instruments")) for found in properties], texts),
    }
    for names, kind, convert in (
        (_NUMBERS, pa.float64(), _number),
        (_WHOLE, pa.int64(), _whole),
        (_TEXTS, pa.string(), _text),
    ):
        for name in names:
            columns[name] = pa.array([convert(found.get(name)) for found in properties], kind)
    return columns | {
        name: _times(pa, [found.get(name) for found in properties]) for name in _TIMES
    }


def _assets(pa: Any, collection: str, batch: Sequence[Brief], root: str) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return one column per asset: only the path differs from item to item."""
    keys = asset_keys(collection)
    hrefs: dict[str, list[str | None]] = {key: [None] * len(batch) for key in keys}
    for number, brief in enumerate(batch):
        folder = f"{root}{brief.holding.path}/"
        for path in brief.paths:
            if (column := hrefs.get(asset_key(path))) is not None:
                column[number] = folder + path
    return pa.StructArray.from_arrays([_asset(pa, key, hrefs[key]) for key in keys], list(keys))


def _asset(pa: Any, key: str, hrefs: list[str | None]) -> Any:  # noqa: ANN401 - pyarrow has no types
    parts = [pa.array(hrefs, pa.string()), *_same_for_all(key, len(hrefs))]
    missing = pa.array([href is None for href in hrefs]) if None in hrefs else None
    return pa.StructArray.from_arrays(parts, ["href", "type", "title", "roles"], mask=missing)


@lru_cache(maxsize=256)
def _same_for_all(key: str, count: int) -> list[Any]:
    """Return what assets of one key have in common, as columns: made once, as that is slow."""
    pa, _ = _pyarrow()
    facts = asset_facts(key, "")
    roles = pa.scalar(list(facts["roles"]), pa.list_(pa.string()))
    texts = (facts["type"], str(facts.get("title", key)))
    return [*(pa.repeat(pa.scalar(text), count) for text in texts), pa.repeat(roles, count)]


def _times(pa: Any, values: list[object]) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Return times as a column. pyarrow reads them fast, but none if one of them is no time."""
    kind = pa.timestamp("us", tz="UTC")
    try:
        return pa.array(values, pa.string()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([_time(value) for value in values], kind)


def _time(value: object) -> datetime | None:
    try:
        return utc(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _number(value: object) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else None  # type: ignore[arg-type]  # `known` says so


def _whole(value: object) -> int | None:
    known = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
    return value if known else None  # type: ignore[return-value]  # `known` says so


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.isprintable() else None


def _words(value: object) -> list[str]:
    return [str(word) for word in value] if isinstance(value, list) else []


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArchiveError(
            f"writing {path}: {error}; make room, or choose another place"
        ) from error
