"""Random damage to everything that a mirror reads, followed by sync, prune and audit.

A seed determines the damages of one run: some to the ledger and the archive, odd responses of some
services, and a wrong clock. After each of the three commands, every product file that was intact
still exists below the mirror's folder, no command has printed a traceback or run past its deadline,
and no process has used more than 300 MB.

Each seed is a test, so a failure is repeated with ``-k "intact_file[17]"``. ``DAMAGE_RUNS`` in the
environment sets the number of runs; ``DAMAGE_RUNS=300`` is the full test and takes half an hour.
"""

import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest
from damages import DAMAGES
from kit import Kit, tiny
from limited import TIMED_OUT, Done, LimitedServer
from odd_answers import ODD_ANSWERS, plain_server, services

from s2mirror.sandbox import Sandbox, SandboxProduct

RUNS: Final = int(os.environ.get("DAMAGE_RUNS", "30"))
DAMAGES_PER_RUN: Final = 5
MAX_BYTES: Final = 300_000_000
DEADLINE_SECONDS: Final = 400
"""The time-outs below end a command within seconds, unless the catalog sends a long Retry-After:
the mirror waits up to 120 s for each request then."""
SECTIONS: Final = {
    "catalog": 'timeout = "2 s"',
    "store": 'connect_timeout = "2 s"\nread_timeout = "2 s"\nmin_rate_period = "2 s"',
    "download": 'backoff = "1 s"\nbackoff_cap = "1 s"\ntries_per_file = 2',
    "tokens": 'timeout = "2 s"\ntries = 2',
    "preview": 'source = "process"\nwidth = 128\ntimeout = "2 s"',
    "deleted": 'policy = "trash"\ninterval = "1 s"',
    "log": 'format = "json"',
}
CLOCKS: Final = (0, 0, 0, 0, 0.2, -0.2, 3, -3, 40, -40, 400, -400, 3650, -3650)
"""Days by which the clock is ahead; more than half of the runs have the right one."""


@dataclass(frozen=True)
class Baseline:
    """A mirror with held, processed, pruned and staged products, to be copied for each run."""

    folder: Path
    held: list[SandboxProduct]
    new: list[SandboxProduct]
    digests: frozenset[tuple[str, str]]


@dataclass
class Rig:
    """One copy of the baseline with its damages, and the problems that were found."""

    baseline: Baseline
    kit: Kit
    server: LimitedServer
    plain_url: str
    random: Random
    damages: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    days_ahead: float = 0

    def damage(self, names: list[str]) -> None:
        """Do the named damages; those of permissions are last, so that the others can be done."""
        for name in sorted(names, key=lambda name: name == "change_mode"):
            if name == "clock":
                self.days_ahead = self.random.choice(CLOCKS)
                self.damages.append(f"clock: {self.days_ahead} days")
            elif name in DAMAGES:
                self.damages.append(f"{name}: {DAMAGES[name](self.kit.folder, self.random)}")
            else:
                self._odd_answer(name)

    def _odd_answer(self, name: str) -> None:
        proxies = services(self.kit.sandbox)
        service = self.random.choice(sorted(proxies))
        fault = ODD_ANSWERS[name](self.random, self.plain_url)
        proxies[service].inject(fault)
        body = fault.answer.body[:60] if fault.answer else b""
        self.damages.append(f"{name} of {service}: {str(fault)[:60]} {body!r}")

    def check(self, plain_paths: list[str]) -> None:
        """Run the commands and note every broken promise."""
        intact = digests_below(self.kit.folder) & self.baseline.digests
        outside = entries_of(self.kit.folder / "outside")
        for arguments in (
            ["sync"],
            ["prune"],
            self.random.choice([["audit"], ["audit", "--repair"]]),
        ):
            self._judge(" ".join(arguments), self._run(arguments))
            if lost := intact - digests_below(self.kit.folder):
                names = sorted(path for path, _ in lost)
                self.problems.append(f"{arguments[0]} lost {len(lost)} intact files: {names[:3]}")
                intact -= lost
        if entries_of(self.kit.folder / "outside") != outside:
            self.problems.append("a folder behind a link was changed")
        if plain_paths:
            self.problems.append(f"a redirect to http was followed: {plain_paths[:2]}")

    def _run(self, arguments: list[str]) -> Done:
        return self.server.run(
            [*arguments, "--config", str(self.kit.folder / "s2mirror.toml")],
            self.kit.environment(),
            clock_ahead=timedelta(days=self.days_ahead),
            deadline_seconds=DEADLINE_SECONDS,
        )

    def _judge(self, command: str, done: Done) -> None:
        if done.code == TIMED_OUT:
            self.problems.append(f"{command} ran past its deadline")
        elif done.code < 0 or done.code == 70:  # a bug, by the table of exit codes
            self.problems.append(f"{command} ended with {done.code}: {done.output[-300:]}")
        if "Traceback" in done.output or "a bug in s2mirror" in done.output:
            at = max(done.output.find("Traceback"), done.output.find("a bug in s2mirror"))
            self.problems.append(f"{command} printed: {done.output[at:][-600:]}")
        if done.peak_bytes > MAX_BYTES:
            self.problems.append(f"{command} used {done.peak_bytes / 1e6:.0f} MB")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    with LimitedServer(tmp_path_factory.mktemp("limited")) as running:
        yield running


@pytest.fixture(scope="module")
def baseline(
    tmp_path_factory: pytest.TempPathFactory, running_sandbox: Sandbox, limited: LimitedServer
) -> Baseline:
    """Make the mirror: one pruned product, two processed, two held, two to be downloaded."""
    running_sandbox.clear()
    kit = Kit(tmp_path_factory.mktemp("baseline"), running_sandbox)
    kit.sections = {**SECTIONS, "prune": 'after = "0 s"'}
    held, new = [tiny(day) for day in range(20, 25)], [tiny(26), tiny(27)]
    kit.sandbox.publish(held[:1])
    _sync(kit, limited)
    _mark(kit, held[0])
    _sync(kit, limited)
    kit.sections = {**SECTIONS, "prune": 'after = "30 d"'}
    kit.sandbox.publish(held)
    _sync(kit, limited)
    for product in held[1:3]:
        _mark(kit, product)
    _sync(kit, limited)
    assert sorted(kit.states().values()) == ["archived"] * 2 + ["processed"] * 2 + ["pruned"]
    _put_outside(kit.folder, new)
    found = digests_below(kit.folder)
    assert len({path for path, _ in found}) > 5
    return Baseline(kit.folder, held, new, found)


def _sync(kit: Kit, limited: LimitedServer) -> None:
    command = ["sync", "--config", str(kit.config)]
    done = limited.run(command, kit.environment(), deadline_seconds=DEADLINE_SECONDS)
    assert done.code == 0, done.output


def _mark(kit: Kit, product: SandboxProduct) -> None:
    (kit.archive / product.prefix).with_suffix(".SAFE.processed").touch()


def _put_outside(folder: Path, new: list[SandboxProduct]) -> None:
    """Make the folder to which links lead, and the list of products that are still to come."""
    (folder / "outside/inner").mkdir(parents=True)
    for name in ("file", "inner/file", "manifest.safe"):
        (folder / "outside" / name).write_text("not the mirror's", encoding="utf-8")
    lines = "\n".join(product.prefix.rstrip("/") for product in new)
    (folder / "new_ids").write_text(lines, encoding="utf-8")


def digests_below(folder: Path) -> frozenset[tuple[str, str]]:
    """Return path within the product and digest of every product file, wherever it is now."""
    found = set()
    for here, _, names in os.walk(folder):
        within = here.partition(".SAFE")[2]
        for name in names if ".SAFE" in here else ():
            path = Path(here, name)
            if stat.S_ISREG(path.lstat().st_mode):
                found.add((f"{within}/{name}", hashlib.sha256(path.read_bytes()).hexdigest()))
    return frozenset(found)


def entries_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rig_of(
    baseline: Baseline,
    sandbox: Sandbox,
    server: LimitedServer,
    folder: Path,
    plain_url: str,
    seed: int,
) -> Rig:
    """Return a copy of the baseline, on a sandbox with two new products."""
    sandbox.clear()
    sandbox.publish([*baseline.held, *baseline.new])
    kit = Kit(folder, sandbox)
    shutil.copytree(baseline.folder, folder, symlinks=True)
    return Rig(baseline, kit, server, plain_url, Random(seed))  # noqa: S311 - a seed repeats a run


def names_for(random: Random) -> list[str]:
    """Return the kinds of damage of one run, each kind once."""
    kinds = [*DAMAGES, "flip_ledger_bit", *ODD_ANSWERS, "clock"]
    return random.sample(kinds, DAMAGES_PER_RUN)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(RUNS))
def test_random_damage_loses_no_intact_file(
    baseline: Baseline, sandbox: Sandbox, limited: LimitedServer, tmp_path: Path, seed: int
) -> None:
    with plain_server() as (url, paths):
        rig = rig_of(baseline, sandbox, limited, tmp_path / "mirror", url, seed)
        rig.damage(names_for(rig.random))
        rig.check(paths)
    assert rig.problems == [], f"seed {seed} damaged {rig.damages}"
