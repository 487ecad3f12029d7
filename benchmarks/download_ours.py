"""The mirror's side of the download benchmark, as a separate program.

``download_ours.py ENDPOINT CA_FILE FOLDER PRODUCTS whole|bytes``: ``whole`` is what the daemon does
for products in its queue, including all writes to the ledger; ``bytes`` downloads the files without
verification, sync and ledger, as the other clients do. The last printed line is the seconds of that
work.
"""

import sys
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import without_pandas  # noqa: F401 - for its effect
from download_account import CONNECTIONS, KEYS
from download_data import spec

from s2mirror.adapters.archive import Stage
from s2mirror.adapters.ledger import ProductQuery
from s2mirror.adapters.stac_catalog import parse_item
from s2mirror.cli.progress import SilentProgress
from s2mirror.config import load_settings
from s2mirror.lifecycle import Event
from s2mirror.model import RemoteFile, Transition
from s2mirror.sandbox import make_item
from s2mirror.service.delivery import DownloadWorker
from s2mirror.service.wiring import Mirror, open_mirror
from s2mirror.steps.connections import Connections, Priority
from s2mirror.stop import StopFlag

CONFIG = """
[archive]
root = "archive"
reserve = "1 MB"
[store]
endpoint = "{endpoint}"
connections = {connections}
requests_per_minute = 1000000
[network]
{ca_file}
[[area]]
name = "all"
tiles = ["32TMT"]
start = 2020-01-01
"""


def main() -> None:
    """Download, and print the seconds."""
    endpoint, ca_file, folder, count, mode = sys.argv[1:]
    mirror = mirror_in(Path(folder), endpoint, ca_file)
    queue(mirror, int(count))
    work = {"whole": whole, "bytes": only_bytes}[mode]
    store, connections = mirror.store(StopFlag()), Connections(CONNECTIONS)
    store.wait_seconds()  # boto3 starts slowly, once in a daemon's life
    started = time.monotonic()
    work(mirror, store, connections)
    print(time.monotonic() - started)


def mirror_in(folder: Path, endpoint: str, ca_file: str) -> Mirror:
    """Return a new mirror in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_line = f'ca_file = "{ca_file}"' if ca_file else ""
    text = CONFIG.format(endpoint=endpoint, connections=CONNECTIONS, ca_file=ca_line)
    config = folder / "s2mirror.toml"
    config.write_text(text, encoding="utf-8")
    names = ("S2MIRROR_S3_ACCESS_KEY", "S2MIRROR_S3_SECRET_KEY")
    environment = dict(zip(names, KEYS, strict=True))
    return open_mirror(load_settings(config, environment=environment).settings, create=True)


def queue(mirror: Mirror, count: int) -> None:
    """Add the first products to the queue."""
    now = datetime.now(UTC)
    for number in range(count):
        made = make_item(spec(number))
        product = parse_item(dict(made.item), collection=made.collection, bucket="eodata")
        mirror.ledger.products.record([product], {product.id: ["all"]}, priorities={}, now=now)
        entry = mirror.ledger.products.get(product.id)
        mirror.ledger.products.advance(entry, Transition(event=Event.SELECT), now=now)


def whole(mirror: Mirror, store, connections: Connections) -> None:  # noqa: ANN001 - S3Store
    """Download, verify and publish all products in the queue."""
    fetcher = mirror.fetcher(store, connections, SilentProgress())
    worker = DownloadWorker(
        mirror=mirror, fetcher=fetcher, progress=SilentProgress(), stop=StopFlag()
    )
    worker.deliver_due(mirror.settings.download.parallel_products)
    if worker.failed:
        sys.exit(f"failed: {worker.failed}")


def only_bytes(mirror: Mirror, store, connections: Connections) -> None:  # noqa: ANN001 - likewise
    """Download every file, largest first, and do nothing else."""
    found = []
    for entry in mirror.ledger.products.listed(ProductQuery(limit=100)):
        product, stage = entry.product, mirror.archive.stage(entry.product.id)
        listing = connections.submit(Priority.AHEAD, partial(store.list_product, product.s3_prefix))
        files = sorted(listing.result().files, key=lambda file: file.size_bytes, reverse=True)
        found += [(stage, file) for file in files]
    futures = [
        connections.submit(Priority.FILE, partial(_only_bytes_of, store, stage, file))
        for stage, file in found
    ]
    for future in futures:
        future.result()


def _only_bytes_of(store, stage: Stage, file: RemoteFile) -> None:  # noqa: ANN001 - likewise
    with stage.part(file.path) as part:
        for chunk in store.read(file):
            part.append(chunk)


if __name__ == "__main__":
    main()
