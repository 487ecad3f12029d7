"""The steps of the demo. Each is a real command, run as a user would type it."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.cli import audit, mark, mirrors, preview, status, sync
from s2mirror.cli.list import Arguments, list_products
from s2mirror.cli.output import print_line
from s2mirror.cli.progress import console
from s2mirror.errors import UsageError
from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, make_product
from s2mirror.sandbox.real import from_real

_MARK: Final = ".s2mirror-demo"
_SCALE: Final = 0.01
_SENSED_AT: Final = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)

_CONFIG: Final = """\
# Written by `s2mirror demo`. Only the addresses differ from a real configuration.
[archive]
root = "archive"
layout = "tile"
reserve = "100 MB"

[catalog]
url = "{stac_url}"
# The local services have no firewall; CDSE's refuses more than 5.
requests_per_second = 1000

[store]
endpoint = "{s3_endpoint}"

[endpoints]
token_url = "{token_url}"
process_url = "{process_url}"
odata_url = "{odata_url}"

[network]
ca_file = "{ca_file}"
"""
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


def run_demo(folder: Path, *, keep: bool) -> int:
    """Run every step of the demo; return 0 if each ended as expected."""
    started = time.monotonic()
    with _services(folder, _TWO_AREAS) as (sandbox, config):
        sandbox.publish(_first_products())
        _first_sync(config)
        _publish_more(sandbox)
        _second_sync(config)
        _prune(config)
        _preview(config)
        _run("audit --online", lambda: audit.audit(config, online=True))
        _run("status", lambda: status.status(config))
        _close(folder, config, started, keep=keep)
        _wait_if(keep)
    return 0


def run_recorded_demo(folder: Path, items: Path, *, keep: bool) -> int:
    """Mirror recorded items and manifests; return 0 if each step ended as expected."""
    started = time.monotonic()
    with _services(folder, _WHOLE_WORLD) as (sandbox, config):
        recorded = from_real(items)
        for used in recorded.used:
            print_line(f"  used         {used}")
        for name, why in recorded.passed_over.items():
            print_line(f"  skipped      {name}: {why}")
        sandbox.publish(recorded.products)
        _narrate(f"{len(recorded.products)} recorded products are published on the local services.")
        _run("sync", lambda: sync.sync(config))
        _run("list", lambda: list_products(Arguments(config=config)))
        _run("audit --online", lambda: audit.audit(config, online=True))
        _narrate("Sync again. Nothing is new, so no byte is downloaded:")
        _run("sync", lambda: sync.sync(config))
        _close(folder, config, started, keep=keep)
        _wait_if(keep)
    return 0


@contextmanager
def _services(folder: Path, areas: str) -> Iterator[tuple[Sandbox, Path]]:
    """Start the services, and write a configuration for them."""
    _empty(folder)
    _narrate("Starting a local Copernicus Data Space: STAC catalog, S3 store, tokens, Process API.")
    with Sandbox(folder) as sandbox:
        for proxy in (sandbox.stac_proxy, sandbox.odata_proxy):
            proxy.rate_limit.requests = None  # the audit counts every month since 2020
        config = folder / "s2mirror.toml"
        text = _CONFIG.format(
            stac_url=sandbox.stac_url,
            s3_endpoint=sandbox.s3_endpoint,
            token_url=sandbox.token_url,
            process_url=sandbox.process_url,
            odata_url=sandbox.odata_url,
            ca_file=sandbox.ca_file.name,
        )
        config.write_text(text + areas, encoding="utf-8")
        _provide_keys(folder, sandbox)
        yield sandbox, config


def _empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise UsageError(
            f"{folder} exists and was not made by the demo; name another folder with --folder"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()


def _provide_keys(folder: Path, sandbox: Sandbox) -> None:
    """Provide the keys as a service would: in files, named in the environment."""
    lines = []
    for name, secret in (
        ("S3_ACCESS_KEY", sandbox.access_key),
        ("S3_SECRET_KEY", sandbox.secret_key),
        ("CLIENT_ID", sandbox.client_id),
        ("CLIENT_SECRET", sandbox.client_secret),
    ):
        path = (folder / name.lower().replace("_", "-")).absolute()
        path.touch(mode=0o600)
        path.write_text(secret, encoding="utf-8")
        os.environ[f"S2MIRROR_{name}_FILE"] = str(path)
        lines.append(f"export S2MIRROR_{name}_FILE='{path}'\n")
    (folder / "env.sh").write_text("".join(lines), encoding="utf-8")


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
    _narrate(
        "Seven products are published. Two areas are watched: Lake Zurich, both levels, and\n"
        "tile 32TNS with at most 60 % cloud. One product is too cloudy, one is outside both."
    )
    _run("plan", lambda: sync.plan(config))
    _run("sync", lambda: sync.sync(config))
    _narrate("Sync again. Nothing is new, so no byte is downloaded:")
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
    _narrate(
        "Three more are published: a new image, one sensed in 2020 and reprocessed now,\n"
        "and a newer baseline of one that is held."
    )


def _second_sync(config: Path) -> None:
    _narrate("Only these three are downloaded:")
    _run("sync", lambda: sync.sync(config))


def _prune(config: Path) -> None:
    with mirrors.shared_mirror(config) as mirror:
        held = mirror.ledger.products.listed(ProductQuery(state="archived", reverse=True, limit=2))
        done = [entry.product.id for entry in reversed([*held])]
    _narrate("Two products have been processed, so they may be pruned:")
    _run(f"mark processed {' '.join(done)}", lambda: mark.processed(done, config))
    _run("prune", lambda: sync.prune(config))
    _narrate("The ledger keeps pruned products, so the next sync does not download them again:")
    _run("sync", lambda: sync.sync(config))


def _preview(config: Path) -> None:
    _narrate("A preview of an area, rendered by the Process API with the token of an OAuth client:")
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


def _narrate(text: str) -> None:
    console().print(f"\n{text}", style="cyan")


def _close(folder: Path, config: Path, started: float, *, keep: bool) -> None:
    seconds = time.monotonic() - started
    _narrate(f"The demo took {seconds:.0f} s. What it made:")
    print_line(f"  the archive        {folder / 'archive'}")
    print_line(f"  the configuration  {config}")
    print_line(f"  the ledger         {folder / 's2mirror.sqlite'} (any SQLite tool opens it)")
    print_line(f"  try                . {folder / 'env.sh'}; s2mirror audit -c {config}")
    if not keep:
        print_line(
            "  `s2mirror demo --keep` keeps the services running, so that you can sync by hand"
        )


def _wait_if(keep: bool) -> None:  # noqa: FBT001 - one flag
    if keep:
        _narrate("The services keep running; Ctrl-C stops them.")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
