"""SIGKILL at every step and at any time: nothing is lost, no complete file is downloaded twice.

Not tested here: a disk that acknowledges a sync and loses it, and a kill inside one write of
SQLite, which SQLite's own tests cover.
"""

import gc
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from crashing import KILLED, CrashServer, Step
from feed_kit import assert_feed_tells_the_archive
from kit import SENSED_AT, Kit, key_of, tiny

from s2mirror.sandbox import Fault, SandboxProduct

pytestmark = pytest.mark.long

BAND_BYTES = 60_000
PUBLISH = r"^rename .*/staging/[^/]*\.SAFE$"
PUBLISHED = r"^sql UPDATE OR REPLACE file_list"
MOMENTS = {
    "before there is a ledger": r"^sql CREATE TABLE product",
    "with a marker that the ledger does not know": r"^sql INSERT INTO state_value",
    "with the manifest, before its listing is known": r"^sql INSERT INTO transfer",
    "with a whole file that is not finished": r"^rename .*B02_10m",
    "with a file without digest that is not synced": r"^fsync .*-ql\.jpg",
    "before the names are synced": r"^fsync .*/staging/[^/]*\.SAFE$",
    "before a product is proven": r"^sql UPDATE product SET state = 'verified'",
    "before the folders of the tree": r"^mkdir .*/Sentinel-2$",
    "before the rename": PUBLISH,
    "after the rename": r"^fsync .*/Sentinel-2/.*/\d\d$",
    "before its proof is held": PUBLISHED,
    "before the row": r"^sql UPDATE product SET state = 'archived'",
    "before its item": r"^open .*/catalog/.*/S2[^/]*\.json[^/]*\.new$",
    "with half an item": r"^fsync .*/catalog/.*/S2[^/]*\.json[^/]*\.new$",
    "with an item that no list has": r"^rename .*/catalog/.*/32TMT/catalog\.json[^/]*\.new$",
    "with a tile that no month has": r"^rename .*/catalog/.*/2026-05/catalog\.json[^/]*\.new$",
    "before the catalog's note goes": r"^sql DELETE FROM change WHERE number",
    "before a line of the change feed is stored": r"^sql INSERT INTO feed_line",
    "before a line of the change feed is written": r"^open .*/changes\.ndjson$",
    "with a line of the change feed that is not synced": r"^fsync .*/changes\.ndjson$",
    "with a line of the change feed that counts as waiting": r"^sql DELETE FROM feed_line",
}
"""When to kill a sync: the step before which it is killed."""
STAGING, QUARANTINE = ".s2mirror/staging", ".s2mirror/quarantine"


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """Return a folder in memory if possible, as a kill does not need a real disk.

    Each of these tests syncs thousands of files.
    """
    memory = Path("/dev/shm")  # noqa: S108 - the file system is what is wanted
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with TemporaryDirectory(prefix="s2mirror-crash-", dir=memory) as folder:
        (mirror := Path(folder, "mirror")).mkdir()
        yield mirror


@dataclass(frozen=True, slots=True)
class Left:
    """The files that a killed process left on disk, by key in the store."""

    complete: frozenset[str]
    partial: dict[str, int]
    """Bytes of partial files that have a digest."""


def left_by(kit: Kit, products: list[SandboxProduct]) -> Left:
    """Return the files of *products* on disk."""
    complete: set[str] = set()
    partial: dict[str, int] = {}
    for product in products:
        homes = [kit.archive / STAGING / f"{product.id}.SAFE", kit.archive / product.prefix]
        homes.append(kit.archive / QUARANTINE / f"{product.id}.SAFE")
        parts = kit.archive / STAGING / f"{product.id}.part"
        for path, content in product.files.items():
            key = f"{product.prefix}{path}"
            found = [home / path for home in homes if (home / path).is_file()]
            if any(file.read_bytes() == content for file in found):
                complete.add(key)
            elif path.endswith(".jp2") and (parts / path).is_file():
                partial[key] = (parts / path).stat().st_size
    return Left(frozenset(complete), partial)


def assert_went_on(kit: Kit, left: Left, start: int, products: list[SandboxProduct]) -> None:
    """Assert that the requests from the *start*-th on are only for missing bytes."""
    sizes = {key: len(content) for product in products for key, content in product.keys.items()}
    asked = [(key_of(found), found.range) for found in kit.downloads(start)]
    again = [key for key, _ in asked if key in left.complete]
    assert again == [], "complete, and asked for again"
    ranges = dict(asked)
    for key, there_bytes in left.partial.items():
        if there_bytes == sizes[key]:
            assert key not in ranges, "all of it was there"
        elif there_bytes:
            assert ranges[key] == f"bytes={there_bytes}-"


def requests_so_far(kit: Kit) -> int:
    assert kit.sandbox.s3_proxy.traffic.wait_until_idle()
    return len(kit.sandbox.s3_proxy.traffic.exchanges)


# Scenarios: the state of a mirror that is killed


def fresh(kit: Kit, _: CrashServer) -> list[SandboxProduct]:
    """One product to download, and no ledger or archive yet."""
    product = tiny(20, band_bytes=BAND_BYTES)
    kit.sandbox.publish(product)
    return [product]


def prune(kit: Kit, server: CrashServer) -> list[SandboxProduct]:
    """One product to be pruned, and one to download."""
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "0 s"'
    products = [tiny(20), tiny(22)]
    kit.sandbox.publish(products[0])
    assert sync(kit, server) == 0
    (kit.archive / products[0].prefix).with_suffix(".SAFE.processed").touch()
    kit.sandbox.publish(products[1])
    return products


def reuse(kit: Kit, server: CrashServer) -> list[SandboxProduct]:
    """One product that was quarantined for one bad file, and requeued."""
    kit.sections["download"] = "max_attempts = 1"
    product = tiny(20, band_bytes=BAND_BYTES)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path="B02_10m", flip_byte=9, times=None))
    assert sync(kit, server) == 1
    assert kit.states() == {product.id: "quarantined"}
    kit.sandbox.s3_proxy.reset()
    assert server.run(["requeue", product.id, *config(kit)], kit.secrets)[0] == 0
    return [product]


def quarantine(kit: Kit, _: CrashServer) -> list[SandboxProduct]:
    """One product with a bad file, which is quarantined."""
    kit.sections["download"] = "tries_per_file = 1\nmax_attempts = 1"
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path="B02_10m", flip_byte=9, times=None))
    return [product]


def recovery(kit: Kit, server: CrashServer) -> list[SandboxProduct]:
    """A mirror killed when a product was verified."""
    products = fresh(kit, server)
    code, _ = server.run(["sync", *config(kit)], kit.secrets, kill_before=PUBLISH)
    assert code == KILLED
    return products


def publication(kit: Kit, server: CrashServer) -> list[SandboxProduct]:
    """A mirror killed after a product's rename into the tree, before the row."""
    products = fresh(kit, server)
    code, _ = server.run(["sync", *config(kit)], kit.secrets, kill_before=PUBLISHED)
    assert code == KILLED
    assert (kit.archive / products[0].prefix).is_dir()
    return products


def revision(kit: Kit, server: CrashServer) -> list[SandboxProduct]:
    """A held product that was republished with other bytes."""
    old, new = tiny(20), tiny(20, seed=1)
    kit.sandbox.publish(old)
    assert sync(kit, server) == 0
    kit.sandbox.replace(new)
    return [new]


def supersession(kit: Kit, server: CrashServer) -> list[SandboxProduct]:
    """A held product, and a newer version to download that replaces it."""
    kit.sections["supersede"] = 'policy = "newest"'
    new_at = SENSED_AT.replace(day=28)
    products = [tiny(20, baseline="05.11"), tiny(20, baseline="05.12", processed_at=new_at)]
    kit.sandbox.publish(products[0])
    assert sync(kit, server) == 0
    kit.sandbox.publish(products[1])
    return products


SCENARIOS: dict[str, Callable[[Kit, CrashServer], list[SandboxProduct]]] = {
    scenario.__name__: scenario
    for scenario in (fresh, prune, reuse, quarantine, recovery, publication, revision, supersession)
}


def config(kit: Kit) -> list[str]:
    return ["--config", str(kit.config)]


def sync(kit: Kit, server: CrashServer) -> int:
    return server.run(["sync", *config(kit)], kit.secrets)[0]


def copy_of(kit: Kit, name: str) -> Kit:
    """Return a mirror like *kit*, with copies of its ledger and archive."""
    folder = kit.folder.parent / f"{kit.folder.name}-{name}"
    shutil.copytree(kit.folder, folder, symlinks=True)
    return Kit(folder, kit.sandbox, kit.areas, dict(kit.sections))


def on_disk(kit: Kit) -> dict[str, int]:
    """Return the folders and files of a mirror, with a hash of their bytes.

    Lock files and SQLite's index of the write-ahead log are no part of the state after a crash.
    """
    found = {}
    for folder, _, names in os.walk(kit.folder):
        found[folder] = 0
        for name in names:
            if not name.endswith((".lock", "-shm")):
                found[f"{folder}/{name}"] = hash(Path(folder, name).read_bytes())
    return found


@dataclass(frozen=True, slots=True)
class Killed:
    """A copy of a mirror in the state that a kill before a step leaves."""

    mirror: Kit
    before: Step
    steps: list[Step]
    """The steps before the kill."""

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add the step to an error; remove the copy if there is no error."""
        try:
            yield
        except (AssertionError, OSError) as error:
            error.add_note(f"killed before {self.before}, after {self.steps[-1:]}")
            raise
        shutil.rmtree(self.mirror.folder)


def killed_at_every_step(kit: Kit, server: CrashServer, command: str = "sync") -> list[Killed]:
    """Run a command on the mirror; return a copy for each new state on disk before a step.

    A state is new if a step of another kind than all earlier steps has changed the disk.
    """
    gc.collect()  # closes ledgers: SQLite removes no file during a copy
    copies: list[Killed] = []
    disk: dict[str, int] = {}
    kinds: set[str] = set()
    looked_at = 0
    for before, steps in server.stops([command, *config(kit)], kit.secrets):
        if (now := on_disk(kit)) == disk:
            continue
        new = {kind_of(step, kit) for step in steps[looked_at:] if step.kind != "fsync"}
        if not new <= kinds:
            copies.append(Killed(copy_of(kit, f"copy{len(copies)}"), before, steps))
        kinds |= new
        disk, looked_at = now, len(steps)
    return copies


def kind_of(step: Step, kit: Kit) -> str:
    """Return the kind of a step: equal for files of the same type in a product or a catalog."""
    target = step.target.removeprefix(str(kit.folder))
    if step.kind == "sql":
        return re.sub(r"'[^']*'|\d+", "?", target)
    target = re.sub(r"\bS2[A-Z]_MSI\w+", "ID", target)
    target = re.sub(r"(ID\.\w+|/catalog|/Sentinel-2)/.*?(\.\w+)?$", r"\1/*\2", target)
    return f"{step.kind} {re.sub(r'[0-9-]+', '0', target)}"


def assert_survives(mirror: Kit, products: list[SandboxProduct], ending: dict[str, str]) -> None:
    """Restart a killed mirror, and check everything."""
    start, left = requests_so_far(mirror), left_by(mirror, products)
    assert mirror.cycle().exit_code in (0, 1)
    assert_went_on(mirror, left, start, products)
    assert mirror.states() == ending
    mirror.assert_same_bytes(*[p for p in products if ending[p.id] == "archived"])
    mirror.assert_invariants()
    assert_feed_tells_the_archive(mirror)


@pytest.mark.parametrize("moment", MOMENTS)
def test_kill_at_critical_step_loses_nothing(kit: Kit, server: CrashServer, moment: str) -> None:
    products = [*fresh(kit, server), tiny(22, band_bytes=BAND_BYTES)]
    kit.sandbox.publish(products[1])
    ending = {product.id: "archived" for product in products}
    arguments = ["sync", *config(kit)]
    assert server.run(arguments, kit.secrets, kill_before=MOMENTS[moment])[0] == KILLED
    start, left = requests_so_far(kit), left_by(kit, products)
    assert sync(kit, server) == 0
    assert_went_on(kit, left, start, products)
    assert_survives(kit, products, ending)


@pytest.mark.parametrize("name", SCENARIOS)
def test_kill_at_every_step_loses_nothing(kit: Kit, server: CrashServer, name: str) -> None:
    products = SCENARIOS[name](kit, server)
    copies = killed_at_every_step(kit, server)
    ending = kit.states()
    for killed in copies:
        with killed.explained():
            assert_survives(killed.mirror, products, ending)


# Any moment


def kill_at_random_moments(
    kit: Kit, jitter: random.Random, kills: int, killed_sync: Callable[[float], object]
) -> set[str]:
    """Publish products one by one, kill each first sync somewhere, complete the next; then check.

    Each round has one product to download and one to prune, so that kills interrupt all kinds of
    work. The first kill always interrupts a download, the others are random: the argument of
    *killed_sync* is the part of a whole sync after which to kill. Returns the states that kills
    left.
    """
    kit.sections["prune"] = 'after = "0 s"\ntrash_keep = "0 s"\nmax_percent = 100'
    products: list[SandboxProduct] = []
    found: set[str] = set()
    for number in range(kills):
        later = timedelta(minutes=number)
        products.append(tiny(sensed_at=SENSED_AT + later, band_bytes=BAND_BYTES))
        kit.sandbox.publish(products[-1])
        share = jitter.random()
        if number:
            killed_sync(share)
        else:
            kill_amid_a_product(kit)
        start, left = requests_so_far(kit), left_by(kit, products[-3:])
        if kit.folder.joinpath("s2mirror.sqlite").exists():
            found.update(kit.states().values())
        assert kit.cycle().exit_code == 0
        assert_went_on(kit, left, start, products)
        for product in products[-3:-2]:
            (kit.archive / product.prefix).with_suffix(".SAFE.processed").touch()
    assert kit.cycle().exit_code == 0
    ending = kit.states()
    gone, held = products[:-2], products[-2:]
    assert ending == dict.fromkeys((p.id for p in gone), "pruned") | dict.fromkeys(
        (p.id for p in held), "archived"
    )
    kit.assert_same_bytes(*held)
    kit.assert_invariants()
    return found


def kill_amid_a_product(kit: Kit) -> None:
    """Kill a sync that waits for a file that does not arrive."""
    asked = len(kit.sandbox.s3_proxy.traffic.exchanges)
    kit.sandbox.s3_proxy.inject(Fault(path="MTD_TL", silent=True))
    with kit.start("sync") as process:
        try:
            while not kit.downloaded("MTD_TL.xml", asked):
                assert process.poll() is None
                time.sleep(0.05)
        finally:
            process.kill()


def slow_down(kit: Kit) -> None:
    """Send bands slowly, so that much of a sync is spent in their downloads."""
    kit.sandbox.s3_proxy.inject(Fault(path="_10m.jp2", bytes_per_second=6 * BAND_BYTES, times=None))


def seconds_of(sync: Callable[[Kit], int], kit: Kit) -> float:
    """Return the seconds that a whole sync takes on this machine."""
    rehearsal = copy_of(kit, "rehearsal")
    product = tiny(1, band_bytes=BAND_BYTES)
    rehearsal.sandbox.publish(product)
    started = time.monotonic()
    assert sync(rehearsal) == 0
    rehearsal.sandbox.withdraw(product.id)
    return time.monotonic() - started


def test_random_kills_lose_nothing(kit: Kit, server: CrashServer) -> None:
    slow_down(kit)
    whole_seconds = seconds_of(lambda mirror: sync(mirror, server), kit)

    def killed_sync(share: float) -> None:
        arguments = ["sync", *config(kit)]
        server.run(arguments, kit.secrets, kill_after_seconds=share * whole_seconds)

    met = kill_at_random_moments(kit, random.Random(1), 40, killed_sync)  # noqa: S311 - no secret
    assert {"downloading", "archived", "pruned"} <= met


def test_random_kills_of_the_command_lose_nothing(kit: Kit) -> None:
    slow_down(kit)
    whole_seconds = seconds_of(lambda mirror: mirror.run("sync").returncode, kit)

    def killed_sync(share: float) -> None:
        process = kit.start("sync")
        # Much of the time is the start of the process.
        time.sleep(whole_seconds * (0.3 + 0.7 * share))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()

    met = kill_at_random_moments(kit, random.Random(50), 12, killed_sync)  # noqa: S311 - no secret
    assert {"archived", "pruned"} <= met


# Power cuts


def test_bytes_and_names_are_synced_in_order(kit: Kit, server: CrashServer) -> None:
    products = fresh(kit, server)
    _, steps = server.run(["sync", *config(kit)], kit.secrets)
    for product in products:
        assert_synced_in_order(kit, product, steps)
    kit.assert_current(*products)


def assert_synced_in_order(kit: Kit, product: SandboxProduct, steps: list[Step]) -> None:
    """Assert the order of syncs: bytes, file name, names in the product, product, its name, row."""
    staged = kit.archive / STAGING / f"{product.id}.SAFE"
    home = kit.archive / product.prefix
    publish = next(n for n, s in enumerate(steps) if s.kind == "rename" and s.target == str(staged))
    assert Path(steps[publish].other) == home
    for path in product.files:
        if path.endswith("/"):
            continue
        finish = next(n for n, s in enumerate(steps) if s.other == str(staged / path))
        part = steps[finish].target
        writes = [n for n, s in enumerate(steps) if s.kind == "open" and s.target == part]
        synced = next(n for n in places(steps, "fsync", part) if n > writes[-1])
        assert writes[-1] < synced < finish < publish, path
        for folder in (staged / path).parents:
            if folder.is_relative_to(staged):
                names = places(steps, "fsync", str(folder))
                assert any(finish < n < publish for n in names), folder
    named = next(n for n in places(steps, "fsync", str(home.parent)) if n > publish)
    row = next(
        n
        for n, s in enumerate(steps)
        if s.kind == "sql" and "state = 'archived'" in s.target and product.id in s.target
    )
    assert publish < named < row
    for folder in home.parents:
        if folder.is_relative_to(kit.archive) and folder != kit.archive:
            made = places(steps, "mkdir", str(folder))
            after = places(steps, "fsync", str(folder.parent))
            assert any(m < n < row for m in made for n in after), folder


def places(steps: list[Step], kind: str, target: str) -> list[int]:
    return [n for n, step in enumerate(steps) if step.kind == kind and step.target == target]


def cut_power(killed: Killed, running: Kit, jitter: random.Random) -> None:
    """Change the disk as a power cut may do: lose what was not synced.

    Bytes that were written to a file but not synced become zeros or are truncated, at random; a
    rename into a folder that was not synced since is undone. The ledger is not changed: SQLite
    syncs it before a commit returns (``synchronous = FULL``).
    """
    dirty: set[Path] = set()
    renames: list[tuple[Path, Path]] = []
    for step in killed.steps:
        target, other = (
            in_copy(path, killed.mirror, running) for path in (step.target, step.other)
        )
        if step.kind == "open" and ".s2mirror" in step.target:
            dirty.add(target)
        elif step.kind == "fsync":
            dirty.discard(target)
            renames = [found for found in renames if found[1].parent != target]
        elif step.kind == "rename":
            renames.append((target, other))
    for source, target in reversed(renames):
        if target.exists() and source.parent.is_dir():
            target.rename(source)
    for path in sorted(dirty):
        if path.is_file():
            there_bytes = path.stat().st_size
            path.write_bytes(b"\0" * jitter.choice([there_bytes, there_bytes // 2, 0]))


def in_copy(path: str, copy: Kit, running: Kit) -> Path:
    """Return the path in a copy of a mirror for a path in the running one."""
    if Path(path).is_relative_to(running.folder):
        return copy.folder / Path(path).relative_to(running.folder)
    return Path(path)


def test_power_cut_at_every_step_costs_only_repetition(kit: Kit, server: CrashServer) -> None:
    """Unsynced changes are most before a sync, and harmful before a change of the ledger."""
    products = fresh(kit, server)
    jitter = random.Random(0)  # noqa: S311 - no secret
    for killed in killed_at_every_step(kit, server):
        with killed.explained():
            if killed.before.kind not in ("fsync", "sql"):
                continue
            cut_power(killed, kit, jitter)
            assert killed.mirror.cycle().exit_code == 0
            killed.mirror.assert_same_bytes(*products)
            killed.mirror.assert_current(*products)
