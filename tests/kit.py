"""The kit for tests of the whole mirror: a mirror on a sandbox, and the final check."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

from leaks import LEAKS

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.cli.main import main
from s2mirror.clock import ServiceDates
from s2mirror.config import load_settings
from s2mirror.model import LedgerEntry
from s2mirror.ports import Progress
from s2mirror.sandbox import Exchange, Fault, ProductSpec, Sandbox, SandboxProduct, make_product
from s2mirror.sandbox.assets import with_manifest_checksum
from s2mirror.sandbox.layout import Paths, loose_members, manifest_members
from s2mirror.sandbox.manifest_xml import write_manifest
from s2mirror.sandbox.products import footprint_of, make_files
from s2mirror.service.certificates import faults_of
from s2mirror.service.cycle import run_cycle
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.wiring import Mirror, open_mirror, utc_now
from s2mirror.steps.certify import Certifier
from s2mirror.stop import StopFlag

PATIENCE_SECONDS = 300
"""Commands take seconds; one that takes longer than this hangs."""
BAND_BYTES = 1_500_000
DRIP = Fault(path="_B0[23]_", bytes_per_second=20_000, times=None)
"""At this rate a band takes more than a minute, so a test can observe its download."""
SENSED_AT = datetime(2026, 5, 27, 10, 20, 31, tzinfo=UTC)
ZURICH = """
[[area]]
name = "zurich"
bbox = [8.45, 47.2, 8.85, 47.4]
collections = ["sentinel-2-l1c", "sentinel-2-l2a"]
start = 2020-01-01
"""


class Quiet:
    """A progress display that shows nothing."""

    def began(self, product_id: str, *, size_bytes: int, staged_bytes: int) -> None: ...

    def received(self, product_id: str, size_bytes: int) -> None: ...

    def ended(self, product_id: str, outcome: str) -> None: ...


def wait_until(
    condition: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS
) -> None:
    """Return as soon as *condition* holds; fail if it does not within *seconds*."""
    give_up_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up_at, f"waited {seconds} s in vain: {what}"
        time.sleep(0.1)


class OnFirstByte(Quiet):
    """Calls a function once, when the first bytes of any product have been written."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self._once = threading.Lock()

    def received(self, product_id: str, size_bytes: int) -> None:  # noqa: ARG002 - the port's
        if self._once.acquire(blocking=False):
            self._act()


def small(day: int = 27, **changes: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    """Make a product over Zurich, sensed in May 2026, with files of a few kilobytes."""
    values: dict[str, Any] = {"scale": 0.0002, "sensed_at": SENSED_AT.replace(day=day)} | changes
    return make_product(ProductSpec(**values))


_BAND = re.compile(r"IMG_DATA/.*_B0[23](_10m)?\.jp2$")


def tiny(day: int = 27, *, band_bytes: int = 2000, **changes: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    """Make a product of six files: B02 and B03 have *band_bytes*, the quicklook no digest."""
    spec = ProductSpec(**{"sensed_at": SENSED_AT.replace(day=day)} | changes)
    members = manifest_members(spec.level, Paths.of(spec))
    listed = [m for m in members if m.path.endswith((f"MTD_MSI{spec.level}.xml", "MTD_TL.xml"))]
    listed += [
        replace(member, real_bytes=round(band_bytes / spec.scale))
        for member in members
        if _BAND.search(member.path)
    ]
    loose = [m for m in loose_members(spec.level, spec.id) if m.path.endswith("-ql.jpg")]
    files = make_files([*listed, *loose], spec)
    files["manifest.safe"] = write_manifest(spec, listed, files, footprint_of(spec))
    made = make_product(replace(spec, scale=0.0001))
    return replace(
        made, files=files, item=with_manifest_checksum(made.item, files["manifest.safe"])
    )


def lay_out(product: SandboxProduct, folder: Path, *, without: str = "") -> Path:
    """Write a product's files below *folder*; return its own folder."""
    safe = folder / f"{product.id}.SAFE"
    for path, content in product.files.items():
        if without and path.endswith(without):
            continue
        target = safe / path
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return safe


class Started(subprocess.Popen[str]):
    """A running command; its output is written to a file, which is searched for secrets too."""

    def __init__(self, command: list[str], environment: dict[str, str], said: Path) -> None:
        self._said = said
        with said.open("w") as out:
            super().__init__(command, env=environment, stdout=out, stderr=out, text=True)

    def communicate(
        self,
        input: str | None = None,  # noqa: A002 - Popen's name
        timeout: float | None = None,
    ) -> tuple[str, str]:
        """Wait for the end of the command; return its output."""
        assert input is None
        self.wait(timeout)
        return self._said.read_text(encoding="utf-8"), ""


def words_of(command: list[str]) -> str:
    """Return the name of a command for messages."""
    return " ".join(["s2mirror", *command[3:-2]])


class ShiftedDates(ServiceDates):
    """What services would state while the clock of a test is ahead, and right."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__()
        self._ahead = ahead

    def note(self, service: str, at: datetime) -> None:
        super().note(service, at + self._ahead)


@dataclass
class Kit:
    """A mirror in a separate folder, configured for a sandbox."""

    folder: Path
    sandbox: Sandbox
    areas: str = ZURICH
    sections: dict[str, str] = field(default_factory=dict)
    """TOML lines by section, which extend or replace those for the sandbox."""
    requests_per_second: int = 1000
    """To the catalog; tests that make no claim about the rate do not wait for it."""
    store_endpoint: str = ""
    """The configured endpoint of the store, if not the true one."""
    more_secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        LEAKS.watch(self.folder)

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def config(self) -> Path:
        """Write the configuration, in one step for concurrent readers; return its path."""
        path, text = self.folder / "s2mirror.toml", self.toml()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            draft = self.folder / f"{uuid4().hex}.toml"
            draft.write_text(text, encoding="utf-8")
            draft.replace(path)
        return path

    def toml(self) -> str:
        """Return the text of the configuration."""
        lines = {
            "archive": 'root = "archive"\nreserve = "1 MB"',
            "catalog": f'url = "{self.sandbox.stac_url}"\ntries = 2'
            f"\nrequests_per_second = {self.requests_per_second}",
            "store": f'endpoint = "{self.store_endpoint or self.sandbox.s3_endpoint}"',
            "endpoints": f'token_url = "{self.sandbox.token_url}"\n'
            f'process_url = "{self.sandbox.process_url}"\n'
            f'odata_url = "{self.sandbox.odata_url}"',
            "network": f'ca_file = "{self.sandbox.ca_file}"',
        }
        for name, text in self.sections.items():
            lines[name] = f"{lines.get(name, '')}\n{text}"
        process = lines.pop("process", "").strip()
        entry = f'[[process]]\nname = "chain"\n{process}\n' if process else ""
        tables = (f"[{name}]\n{text}\n" for name, text in lines.items())
        return "\n".join(tables) + entry + self.areas

    @property
    def secrets(self) -> dict[str, str]:
        found = {
            "S2MIRROR_S3_ACCESS_KEY": self.sandbox.access_key,
            "S2MIRROR_S3_SECRET_KEY": self.sandbox.secret_key,
            "S2MIRROR_CLIENT_ID": self.sandbox.client_id,
            "S2MIRROR_CLIENT_SECRET": self.sandbox.client_secret,
            **self.more_secrets,
        }
        LEAKS.plant(found)
        return found

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "s2mirror", *arguments, "--config", str(self.config)]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "S2MIRROR" not in name}
        LEAKS.plant(more)
        return kept | self.secrets | {"PYTHONUNBUFFERED": "1"} | more

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as a user would."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        LEAKS.look(done.stdout + done.stderr, f"what `{words_of(done.args)}` printed")
        return done

    def call(self, *arguments: str) -> int:
        """Run a command that needs no secrets within this process; return its exit code."""
        return main([*arguments, "--config", str(self.config)])

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - parsed JSON
        """Run a command with ``--json`` and return what it printed."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def start(self, *arguments: str, **more: str) -> Started:
        """Start a command and return while it runs."""
        said = self.folder / f"said-{uuid4().hex}.log"
        return Started(self.command(*arguments), self.environment(**more), said)

    def mirror(self) -> Mirror:
        """Open the mirror within this process. Its jitter is fixed.

        The wait before the next attempt is random. Without a wait, the same sync would try a
        product again, and a test of the first attempt would fail.
        """
        settings = load_settings(self.config, environment=self.secrets).settings
        return replace(open_mirror(settings, create=True), jitter=lambda: 0.9)

    def later(self, **ahead: float) -> Mirror:
        """Open the mirror later, by *ahead* as for ``timedelta``: a day if empty."""
        wait = timedelta(**(ahead or {"days": 1}))
        return replace(self.with_clock_ahead(wait), service_dates=ShiftedDates(wait))

    def with_clock_ahead(self, ahead: timedelta) -> Mirror:
        """Open the mirror with its clock wrong: the services have the right time."""
        return replace(self.mirror(), now=lambda: utc_now() + ahead)

    def cycle(
        self,
        mirror: Mirror | None = None,
        stop: StopFlag | None = None,
        progress: Progress | None = None,
    ) -> CycleResult:
        """Run one cycle within this process."""
        return run_cycle(mirror or self.mirror(), [], progress or Quiet(), stop or StopFlag())

    def entry(self, product: SandboxProduct) -> LedgerEntry:
        """Return a product's row in the ledger."""
        return self.mirror().ledger.products.get(product.id)

    def downloads(self, start: int = 0) -> list[Exchange]:
        """Return the requests for objects that the store received, from the *start*-th on."""
        seen = list(self.sandbox.s3_proxy.traffic.exchanges)[start:]
        return [exchange for exchange in seen if ".SAFE/" in urlsplit(exchange.path).path]

    def downloaded(self, ending: str = "", start: int = 0) -> list[str]:
        """Return the requested keys that end in *ending*, sorted."""
        keys = [key_of(exchange) for exchange in self.downloads(start)]
        return sorted(key for key in keys if key.endswith(ending))

    def assert_same_bytes(self, *products: SandboxProduct) -> None:
        """Assert that the archive has every file of these products with the source's bytes."""
        for product in products:
            for path, content in product.files.items():
                held = self.archive / product.prefix / path
                assert held.is_dir() if path.endswith("/") else held.read_bytes() == content, path

    def states(self) -> dict[str, str]:
        """Return every product's state by id."""
        entries = self.mirror().ledger.products.listed(ProductQuery(limit=10_000))
        return {entry.product.id: str(entry.state) for entry in entries}

    def events(self, *names: str) -> list[str]:
        """Return the recorded events of these names or first words, oldest first."""
        ledger = self.mirror().ledger
        long_ago = datetime.min.replace(tzinfo=UTC)
        return [found.event for found in ledger.events.since(long_ago, events=names)]

    def bands_begun(self) -> dict[str, int]:
        """Return the size in bytes of every partial band file, by its name.

        Only bands count: a partial file without a digest is downloaded from its start. Files and
        folders may disappear during the search.
        """
        found = {}
        for folder, _, names in os.walk(self.archive / ".s2mirror" / "staging"):
            if ".part" in folder:
                found |= {name: size_of(Path(folder, name)) for name in names}
        return {name: n for name, n in found.items() if n and name.endswith(".jp2")}

    def faults(self) -> list[str]:
        """Return the faults that an audit with the catalog finds: invariants 1 to 4."""
        mirror = self.mirror()
        with ThreadPoolExecutor(2) as pool:
            auditor = mirror.auditor(pool, mirror_runs=lambda: False)
            found = [*auditor.audit().faults]
        certifier = Certifier(
            catalog=mirror.stac_catalog(), odata=None, ledger=mirror.ledger, archive=mirror.archive
        )
        for certificate in certifier.certify(mirror.searches, StopFlag(), now=mirror.now()):
            found += faults_of(certificate)
        return [f"{fault.invariant}: {fault.product}: {fault.detail}" for fault in found]

    def assert_invariants(self) -> None:
        """Assert all five invariants: no fault, and another sync downloads no product byte."""
        assert self.faults() == []
        assert self.cycle().received_bytes == 0

    def assert_current(self, *products: SandboxProduct) -> None:
        """Assert that exactly these products are held, and that all invariants hold."""
        assert self.states() == {product.id: "archived" for product in products}
        self.assert_invariants()


def key_of(exchange: Exchange) -> str:
    """Return the key of the requested object."""
    return unquote(urlsplit(exchange.path).path).removeprefix("/eodata/")


def size_of(path: Path) -> int:
    """Return the size of a file; 0 if it was just moved."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
