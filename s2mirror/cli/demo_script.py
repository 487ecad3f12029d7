"""The steps of the demo. Each is a real command, run as a user would type it."""

import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.cli import audit, mark, mirrors, preview, status, sync
from s2mirror.cli.demo_publish import next_image, publish_until_stopped
from s2mirror.cli.demo_services import narrate, services
from s2mirror.cli.list import Arguments, list_products
from s2mirror.cli.output import print_line
from s2mirror.cli.progress import console
from s2mirror.config.units import duration_text
from s2mirror.errors import UsageError
from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, make_product
from s2mirror.sandbox.real import from_real

_SCALE: Final = 0.01
_SENSED_AT: Final = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)

_TWO_AREAS: Final = """
[prune]
after = "0 s"

[[area]]
name = "lake-zurich"
bbox = [8.45, 47.2, 8.85, 47.4]
collections = ["sentinel-2-l1c", "sentinel-2-l2a"]
start = 2020-01-01

[[area]]
name = "upper-valley"
tiles = ["32TNS"]
start = 2026-05-01
max_cloud_cover_percent = 60
"""
_WHOLE_WORLD: Final = """
[[area]]
name = "everything-recorded"
bbox = [-180, -90, 180, 90]
collections = ["sentinel-2-l1c", "sentinel-2-l2a"]
start = 2015-06-23
"""


def run_demo(folder: Path, *, keep: bool, publish_every: timedelta | None = None) -> int:
    """Run every step of the demo; return 0 if each ended as expected."""
    started = time.monotonic()
    with services(folder, _TWO_AREAS) as (sandbox, config):
        sandbox.publish(_first_products())
        _first_sync(config)
        _publish_more(sandbox)
        _second_sync(config)
        _prune(config)
        _preview(config)
        _run("audit --online", lambda: audit.audit(audit.Arguments(config=config, online=True)))
        _run("status", lambda: status.status(config))
        _close(folder, config, started, keep=keep)
        if keep:
            _keep_running(folder, sandbox, publish_every)
    return 0


def run_recorded_demo(folder: Path, items: Path, *, keep: bool) -> int:
    """Mirror recorded items and manifests; return 0 if each step ended as expected."""
    started = time.monotonic()
    with services(folder, _WHOLE_WORLD) as (sandbox, config):
        recorded = from_real(items)
        for used in recorded.used:
            print_line(f"  used         {used}")
        for name, why in recorded.passed_over.items():
            print_line(f"  skipped      {name}: {why}")
        sandbox.publish(recorded.products)
        narrate(f"{len(recorded.products)} recorded products are published on the local services.")
        _run("sync", lambda: sync.sync(config))
        _run("list", lambda: list_products(Arguments(config=config)))
        _run("audit --online", lambda: audit.audit(audit.Arguments(config=config, online=True)))
        narrate("Sync again. Nothing is new, so no byte is downloaded:")
        _run("sync", lambda: sync.sync(config))
        _close(folder, config, started, keep=keep)
        _wait_if(keep)
    return 0


def _first_products() -> list[SandboxProduct]:
    return [
        _product(tile="32TMT", sensed_at=_SENSED_AT),
        _product(tile="32TMT", sensed_at=_SENSED_AT, level="L1C"),
        _product(tile="32TMT", sensed_at=_SENSED_AT - timedelta(days=5), baseline="05.11"),
        _product(tile="32TNS", sensed_at=_SENSED_AT),
        _product(tile="32TNS", sensed_at=_SENSED_AT - timedelta(days=5)),
        _product(tile="32TNS", sensed_at=_SENSED_AT - timedelta(days=10), cloud_cover_percent=97),
        _product(tile="33UUP", sensed_at=_SENSED_AT),
    ]


def _product(
    *,
    tile: str,
    sensed_at: datetime,
    level: str = "L2A",
    baseline: str = "05.12",
    cloud_cover_percent: float = 12.5,
    processed_at: datetime | None = None,
) -> SandboxProduct:
    spec = ProductSpec(
        tile=tile,
        sensed_at=sensed_at,
        level=level,
        baseline=baseline,
        cloud_cover_percent=cloud_cover_percent,
        processed_at=processed_at,
        scale=_SCALE,
        imagery=True,
    )
    return make_product(spec)


def _first_sync(config: Path) -> None:
    narrate(
        "Seven products are published. Two areas are watched: Lake Zurich, both levels, and\n"
        "tile 32TNS with at most 60 % cloud. One product is too cloudy, one is outside both."
    )
    _run("plan", lambda: sync.plan(config))
    _run("sync", lambda: sync.sync(config))
    narrate("Sync again. Nothing is new, so no byte is downloaded:")
    _run("sync", lambda: sync.sync(config))


def _publish_more(sandbox: Sandbox) -> None:
    late = _SENSED_AT + timedelta(days=2)
    sandbox.publish(
        [
            _product(tile="32TMT", sensed_at=_SENSED_AT + timedelta(days=1)),
            _product(
                tile="32TMT", sensed_at=datetime(2020, 3, 1, 10, 20, 31, tzinfo=UTC),
                baseline="05.00", processed_at=late,
            ),
            _product(
                tile="32TMT", sensed_at=_SENSED_AT - timedelta(days=5), processed_at=late,
            ),
        ]
    )  # fmt: skip
    narrate(
        "Three more are published: a new image, one sensed in 2020 and reprocessed now,\n"
        "and a newer baseline of one that is held."
    )


def _second_sync(config: Path) -> None:
    narrate("Only these three are downloaded:")
    _run("sync", lambda: sync.sync(config))


def _prune(config: Path) -> None:
    with mirrors.shared_mirror(config) as mirror:
        held = mirror.ledger.products.listed(ProductQuery(state="archived", reverse=True, limit=2))
        done = [entry.product.id for entry in reversed([*held])]
    narrate("Two products have been processed, so they may be pruned:")
    _run(f"mark processed {' '.join(done)}", lambda: mark.processed(done, config))
    _run("prune", lambda: sync.prune(config))
    narrate("The ledger keeps pruned products, so the next sync does not download them again:")
    _run("sync", lambda: sync.sync(config))


def _preview(config: Path) -> None:
    narrate("A preview of an area, rendered by the Process API with the token of an OAuth client:")
    day = "2026-05-28"
    arguments = preview.Arguments(
        config=config, area=["lake-zurich"], since=day, until=day, width=160
    )
    _run(
        f"preview --area lake-zurich --from {day} --to {day} --width 160",
        lambda: preview.preview(arguments),
    )


def _run(typed: str, command: Callable[[], int]) -> None:
    """Print a command as it would be typed, and run it. Raises UsageError if it fails."""
    console().print(f"\n$ s2mirror {typed}", style="bold")
    if code := command():
        raise UsageError(f"the demo's `s2mirror {typed}` ended with exit code {code} instead of 0")


def _close(folder: Path, config: Path, started: float, *, keep: bool) -> None:
    seconds = time.monotonic() - started
    local = folder / "archive" / "catalog" / "catalog.json"
    narrate(f"The demo took {seconds:.0f} s. What it made:")
    print_line(f"  the archive        {folder / 'archive'}; its images open in any GIS")
    print_line(f"  a STAC catalog     {local}")
    print_line(f"  the configuration  {config}")
    print_line(f"  the ledger         {folder / 's2mirror.sqlite'} (any SQLite tool opens it)")
    narrate(f"What to try, after `. {folder / 'env.sh'}`:")
    print_line(f"  s2mirror log -c {config}")
    print_line(f"  s2mirror report --html status.html -c {config}   the status page as a file")
    print_line(
        f"  cd {folder}, then the examples of docs/local-catalog.md: a data cube, tables, QGIS"
    )
    if not keep:
        print_line("  s2mirror demo --keep --publish-every 10s   then run the daemon beside it")


def _wait_if(keep: bool) -> None:  # noqa: FBT001 - one flag
    if keep:
        narrate("The services keep running; Ctrl-C stops them.")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


def _keep_running(folder: Path, sandbox: Sandbox, publish_every: timedelta | None) -> None:
    """Publish products at an interval or by request, until a signal."""
    numbers = count()

    def publish() -> str:
        """Publish the next product."""
        tile, sensed_at = next_image(_SENSED_AT + timedelta(days=1), next(numbers))
        product = _product(tile=tile, sensed_at=sensed_at)
        sandbox.publish([product])
        print_line(f"  published    {product.id}")
        return product.id

    often = f"a product every {duration_text(publish_every)}" if publish_every else "no product"
    narrate(
        f"The services keep running and publish {often}; Ctrl-C stops them. In another terminal:"
    )
    print_line(f"  . {folder / 'env.sh'}                    the keys of the local services")
    print_line(
        f"  s2mirror run -c {folder / 's2mirror.toml'}   the daemon; it downloads what is new"
    )
    print_line(f"  s2mirror demo publish --folder {folder}      publishes one more product")
    publish_until_stopped(folder, publish_every, publish)
