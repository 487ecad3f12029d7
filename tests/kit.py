"""What tests of the whole mirror share: a mirror of one's own on a sandbox, and the last check."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from s2mirror.config import load_settings
from s2mirror.sandbox import ProductSpec, Sandbox, SandboxProduct, make_product
from s2mirror.service.cycle import CycleResult, run_cycle
from s2mirror.service.wiring import Mirror, open_mirror
from s2mirror.stop import StopFlag

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


def small(day: int = 27, **facts: Any) -> SandboxProduct:  # noqa: ANN401 - ProductSpec's fields
    """Make a product over Zurich, sensed in May 2026, with files of a few kilobytes."""
    values: dict[str, Any] = {"scale": 0.0002, "sensed_at": SENSED_AT.replace(day=day)} | facts
    return make_product(ProductSpec(**values))


@dataclass
class Kit:
    """A mirror in a folder of its own, configured for a sandbox."""

    folder: Path
    sandbox: Sandbox
    areas: str = ZURICH
    sections: dict[str, str] = field(default_factory=dict)
    """TOML lines by section, added to or in place of what is needed for the sandbox."""

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def config(self) -> Path:
        """Write the configuration; return its path."""
        lines = {
            "archive": 'root = "archive"\nreserve = "1 MB"',
            "catalog": f'url = "{self.sandbox.stac_url}"\ntries = 2',
            "store": f'endpoint = "{self.sandbox.s3_endpoint}"',
            "endpoints": f'token_url = "{self.sandbox.token_url}"',
            "network": f'ca_file = "{self.sandbox.ca_file}"',
        }
        for name, text in self.sections.items():
            lines[name] = f"{lines.get(name, '')}\n{text}"
        path = self.folder / "s2mirror.toml"
        body = "\n".join(f"[{name}]\n{text}\n" for name, text in lines.items())
        path.write_text(body + self.areas, encoding="utf-8")
        return path

    @property
    def secrets(self) -> dict[str, str]:
        return {
            "S2MIRROR_S3_ACCESS_KEY": self.sandbox.access_key,
            "S2MIRROR_S3_SECRET_KEY": self.sandbox.secret_key,
        }

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "s2mirror", *arguments, "--config", str(self.config)]

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "S2MIRROR" not in name}
        return kept | self.secrets | {"PYTHONUNBUFFERED": "1"} | more

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as a user would."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**more),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def json(self, *arguments: str) -> Any:  # noqa: ANN401 - parsed JSON
        """Run a command with ``--json`` and return what it printed."""
        done = self.run(*arguments, "--json")
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        """Start a command and return while it runs."""
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def mirror(self) -> Mirror:
        """Open the mirror within this process."""
        return open_mirror(
            load_settings(self.config, environment=self.secrets).settings, create=True
        )

    def cycle(self, mirror: Mirror | None = None, stop: StopFlag | None = None) -> CycleResult:
        """Run one cycle within this process."""
        return run_cycle(mirror or self.mirror(), [], Quiet(), stop or StopFlag())

    def states(self) -> dict[str, str]:
        """Return every product's state by id."""
        entries = self.mirror().ledger.products.listed(state="", area="", tile="", limit=10_000)
        return {entry.product.id: str(entry.state) for entry in entries}

    def faults(self) -> list[str]:
        """Return what the audit finds, the catalogue included: the invariants 1 to 4."""
        mirror = self.mirror()
        with ThreadPoolExecutor(2) as pool:
            auditor = mirror.auditor(pool, mirror_runs=False)
            found = [*auditor.audit().faults, *auditor.missing(mirror.searches, mirror.catalog())]
        return [f"{fault.invariant}: {fault.product}: {fault.detail}" for fault in found]

    def assert_invariants(self) -> None:
        """Assert all five: the audit finds nothing, and another sync moves no product byte."""
        assert self.faults() == []
        assert self.cycle().received_bytes == 0

    def assert_current(self, *products: SandboxProduct) -> None:
        """Assert that exactly these products are held, and that all invariants hold."""
        assert self.states() == {product.id: "archived" for product in products}
        self.assert_invariants()
