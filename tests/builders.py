"""Products for tests that need no catalog."""

from datetime import UTC, datetime, timedelta
from typing import Any

from shapely.geometry import box

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.row_checksums import recomputed
from s2mirror.geometry import pack
from s2mirror.model import Product, RemoteFile

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
ID = "S2C_MSIL2A_20260527T102031_N0512_R065_T32TMT_20260527T132031"
HERE = box(8, 47, 9, 48)


def product(product_id: str = ID, *, hours_ago: float = 0, **given: Any) -> Product:  # noqa: ANN401 - Product's fields
    """Return a product sensed *hours_ago* before `NOW`, and published four hours later."""
    sensed_at = given.get("sensed_at", NOW - timedelta(hours=hours_ago))
    values: dict[str, Any] = {
        "id": product_id,
        "collection": "sentinel-2-l2a",
        "platform": "sentinel-2c",
        "tile": "32TMT",
        "baseline": "05.12",
        "relative_orbit": 65,
        "sensed_at": sensed_at,
        "published_at": sensed_at + timedelta(hours=4),
        "generated_at": sensed_at + timedelta(hours=3),
        "cloud_cover_percent": 12.5,
        "size_bytes": 8,
        "s3_prefix": f"Sentinel-2/MSI/L2A/2026/06/01/{product_id}.SAFE/",
        "datatake_id": "",
        "datastrip_id": "",
        "revision": "",
        "footprint_wkb": pack(HERE),
    }
    return Product(**{**values, **given})


def remote_file(path: str, size_bytes: int) -> RemoteFile:
    """Return a file as a store would list it."""
    return RemoteFile(path=path, key=f"p/{path}", size_bytes=size_bytes, etag="e")


def reseal(table: str) -> str:
    """Return the statement that computes the checksums of every row of *table* from its values."""
    return f"UPDATE {table} SET checksums = {recomputed(table)}"  # noqa: S608 - of the tests themselves


def overwrite(
    ledger: Ledger, changes: str, where: str = "true", *, table: str = "product", **values: object
) -> None:
    """Change rows directly, with correct checksums."""
    for sql in (
        f"UPDATE {table} SET {changes} WHERE {where}",  # noqa: S608 - of the tests themselves
        reseal(table),
    ):
        ledger.connection.execute(sql, {name: values[name] for name in values if f":{name}" in sql})
