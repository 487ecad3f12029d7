import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from builders import NOW

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.objectstore import S3Store, StoreOptions
from s2mirror.adapters.stac_catalog import StacApiCatalog, StacOptions
from s2mirror.lifecycle import Event
from s2mirror.model import CatalogQuery, LedgerEntry, Product, Transition
from s2mirror.sandbox import ProductSpec, Sandbox, make_product

EVERYWHERE = (
    '{"type":"Polygon","coordinates":[[[-180,-90],[180,-90],[180,90],[-180,90],[-180,-90]]]}'
)


def record(ledger: Ledger, *products: Product, areas: tuple[str, ...] = ("alps",)) -> None:
    ledger.products.record(
        products, {found.id: areas for found in products}, priorities={}, now=NOW
    )


def step(ledger: Ledger, product_id: str, event: Event, **given: Any) -> LedgerEntry:  # noqa: ANN401 - Transition's fields
    """Apply one event to a product; return its new row in the ledger."""
    entry = ledger.products.get(product_id)
    ledger.products.advance(entry, Transition(event=event, **given), now=NOW)
    return ledger.products.get(product_id)


@contextmanager
def deaf_port() -> Iterator[int]:
    """Yield a port on which no process listens, or can listen meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def queued(ledger: Ledger, *products: Product, areas: tuple[str, ...] = ("alps",)) -> None:
    record(ledger, *products, areas=areas)
    for found in products:
        step(ledger, found.id, Event.ENQUEUE)


def fresh_store(sandbox: Sandbox, **changes: Any) -> S3Store:  # noqa: ANN401 - StoreOptions' fields
    """Return a store whose connections no other test uses."""
    return S3Store(options_of(sandbox, **changes))


def store(sandbox: Sandbox, **changes: Any) -> S3Store:  # noqa: ANN401 - StoreOptions' fields
    return _store(options_of(sandbox, **changes))


def options_of(sandbox: Sandbox, **changes: Any) -> StoreOptions:  # noqa: ANN401 - StoreOptions' fields
    options: dict[str, Any] = {
        "endpoint": sandbox.s3_endpoint,
        "bucket": "eodata",
        "access_key": sandbox.access_key,
        "secret_key": sandbox.secret_key,
        "read_timeout_seconds": 60.0,
        "ca_file": sandbox.ca_file,
    }
    return StoreOptions(**{**options, **changes})


@cache
def _store(options: StoreOptions) -> S3Store:
    """Make each store once: botocore takes longer to start than the sandbox to respond."""
    return S3Store(options)


def catalog(sandbox: Sandbox, **changes: Any) -> StacApiCatalog:  # noqa: ANN401 - StacOptions' fields
    options: dict[str, Any] = {
        "url": sandbox.stac_url,
        "bucket": "eodata",
        "timeout_seconds": 60.0,
        "tries": 1,
        "backoff_seconds": 0.0,
        "ca_file": sandbox.ca_file,
    }
    return StacApiCatalog(StacOptions(**{**options, **changes}))


def query(**given: Any) -> CatalogQuery:  # noqa: ANN401 - CatalogQuery's fields
    values: dict[str, Any] = {
        "collection": "sentinel-2-l2a",
        "geometry_geojson": EVERYWHERE,
        "published_from": None,
        "sensed_from": None,
        "sensed_until": None,
        "max_cloud_cover_percent": None,
    }
    return CatalogQuery(**{**values, **given})


def made_item() -> dict[str, Any]:
    """Return an item that the sandbox generated, as the catalog serves it."""
    item: dict[str, Any] = json.loads(json.dumps(make_product(ProductSpec(scale=0.0002)).item))
    return item


def sample(name: str) -> Path:
    """Return a recorded file of CDSE; skip the test if this machine has none."""
    folder = os.environ.get("S2MIRROR_SAMPLES")
    if not folder:
        pytest.skip("needs real CDSE samples: name their folder in S2MIRROR_SAMPLES")
    return Path(folder, name)
