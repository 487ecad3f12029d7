"""The main job against independent servers, the software that CDSE runs."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kit import SENSED_AT, Kit, small
from services import Services

from s2mirror.adapters.archive import Archive, Stage
from s2mirror.sandbox import SandboxProduct, from_real

pytestmark = pytest.mark.servers

LISTED_AT = datetime(2026, 5, 28, 6, 30, 15, 217000, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PATIENCE_SECONDS = 180
BIG = 0.05
# Such a product takes half a minute, long enough for a test to interrupt it.
SLOW = 'timetable = ["00:00-24:00 2 MB/s"]'
IMPATIENT = {"download": 'backoff = "1 s"\nbackoff_cap = "1 s"'}
WHOLE_WORLD = """
[[area]]
name = "everywhere"
bbox = [-180, -90, 180, 90]
collections = ["sentinel-2-l1c", "sentinel-2-l2a"]
start = 2015-01-01
"""


@pytest.fixture(name="kit")
def _kit(tmp_path: Path, services: Services) -> Kit:
    return Kit(tmp_path, services)


def ids(*products: SandboxProduct) -> list[str]:
    return sorted(product.id for product in products)


def run_quietly(kit: Kit, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed without a warning."""
    done = kit.run(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done


def sync(kit: Kit) -> dict[str, Any]:
    done: dict[str, Any] = json.loads(run_quietly(kit, "sync", "--json").stdout)
    return done


def assert_current(kit: Kit, *products: SandboxProduct) -> None:
    """Assert by commands only that exactly these products are held, and none is missing."""
    held = {found["id"]: found["state"] for found in kit.json("list")["products"]}
    assert held == {product.id: "archived" for product in products}
    run_quietly(kit, "audit", "--online")
    assert sync(kit)["received_bytes"] == 0


def sync_until_current(kit: Kit) -> int:
    """Sync repeatedly, as the daemon would; return the number of syncs."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    tries = 1
    while True:
        done = kit.run("sync", "--json")
        assert done.returncode in (0, 1), done.stderr
        if json.loads(done.stdout)["remaining"] == 0:
            return tries
        assert time.monotonic() < give_up_at, done.stdout
        time.sleep(0.5)
        tries += 1


def reasons(kit: Kit, product: SandboxProduct) -> str:
    """Return the reasons why the product was tried again, in one text."""
    return "\n".join(step["reason"] or "" for step in kit.json("show", product.id)["history"])


@dataclass(frozen=True)
class Caught:
    """A sync that is paused during a download."""

    process: subprocess.Popen[str]
    path: str
    partial_bytes: int
    complete: frozenset[str]

    def end(self, how: signal.Signals) -> int:
        """Send a signal, then continue the process; return its exit status."""
        self.process.send_signal(how)
        self.process.send_signal(signal.SIGCONT)
        self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode


@contextmanager
def caught_downloading(kit: Kit, product: SandboxProduct) -> Iterator[Caught]:
    """Start a slow sync, and pause it while some band of *product* is partly downloaded."""
    stage = Archive(kit.archive).stage(product.id)
    swift = kit.sections.get("download", "")
    kit.sections["download"] = f"{swift}\n{SLOW}"
    with kit.start("sync") as process:
        kit.sections["download"] = swift
        try:
            while True:
                if begun(stage) and len(stage.files()) > 1:
                    freeze(process)
                    for path, partial_bytes in begun(stage).items():
                        if partial_bytes < len(product.files[path]):
                            complete = frozenset(stage.files())
                            yield Caught(process, path, partial_bytes, complete)
                            return
                    process.send_signal(signal.SIGCONT)
                assert process.poll() is None, "it was over before it was caught"
        finally:
            process.kill()


def begun(stage: Stage) -> dict[str, int]:
    """Return the bytes of each partly downloaded band; other files have no digest."""
    return {path: n for path, n in stage.partial_files().items() if n and path.endswith(".jp2")}


def freeze(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGSTOP)
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ":
        time.sleep(0.001)


def test_second_sync_transfers_no_byte(kit: Kit, services: Services) -> None:
    products = [small(27), small(25), small(27, level="L1C"), small(20, checksum="MD5")]
    services.publish(*products, small(27, tile="33UUP"))
    done = sync(kit)
    assert sorted(done["archived"]) == ids(*products)
    assert done["received_bytes"] == sum(product.size_bytes for product in products)
    services.ceph.forget()
    assert_current(kit, *products)
    assert services.ceph.answered() == []


def test_later_sync_downloads_only_new_and_reprocessed_products(
    kit: Kit, services: Services
) -> None:
    first = small(22, baseline="05.11")
    services.publish(first)
    sync(kit)
    just_now = SENSED_AT.replace(day=28)
    new_products = [
        small(27),
        small(22, baseline="05.12", processed_at=just_now),
        small(baseline="05.00", sensed_at=SENSED_AT.replace(year=2020), processed_at=just_now),
    ]
    services.publish(*new_products)
    done = sync(kit)
    assert (sorted(done["new"]), sorted(done["archived"])) == (
        ids(*new_products),
        ids(*new_products),
    )
    assert not [it for it in services.ceph.answered() if it.key.startswith(first.prefix)]
    assert_current(kit, first, *new_products)


def test_small_pages_lose_no_product_with_equal_times(kit: Kit, services: Services) -> None:
    kit.sections |= {"catalog": "page_size = 2", "supersede": 'policy = "all"'}
    # Versions of one image, listed at the same time: every page ends within a tie.
    products = [
        small(22, processed_at=SENSED_AT.replace(day=23, minute=minute), published_at=LISTED_AT)
        for minute in range(7)
    ]
    services.publish(*products[:5])
    assert sorted(sync(kit)["archived"]) == ids(*products[:5])
    services.publish(*products[5:])
    assert sorted(sync(kit)["archived"]) == ids(*products[5:])
    assert_current(kit, *products)


def test_watermark_includes_ties_and_microseconds(kit: Kit, services: Services) -> None:
    kit.sections["catalog"] = 'overlap = "0 s"'
    first = small(20, published_at=LISTED_AT)
    services.publish(first)
    sync(kit)
    tie = small(21, published_at=LISTED_AT)
    later = small(22, published_at=LISTED_AT + MICROSECOND)
    earlier = small(23, published_at=LISTED_AT - MICROSECOND)
    services.publish(tie, later, earlier)
    assert sorted(sync(kit)["new"]) == ids(tie, later)
    # The purpose of the overlap: a product that is listed late, with an earlier publication time.
    kit.sections["catalog"] = 'overlap = "1 s"'
    assert sync(kit)["new"] == [earlier.id]
    assert_current(kit, first, tie, later, earlier)


def test_product_listed_before_its_objects_exist_is_delayed(kit: Kit, services: Services) -> None:
    kit.sections |= IMPATIENT
    product = small(27)
    services.list(product)
    assert kit.run("sync").returncode == 0, "a product that waits for its next attempt is no fault"
    assert kit.states() == {product.id: "queued"}
    services.store(product)
    sync_until_current(kit)
    assert_current(kit, product)


def test_suspended_user_is_reported_and_fails_no_product(kit: Kit, services: Services) -> None:
    products = [small(27), small(25)]
    services.publish(*products)
    services.ceph.suspend()
    try:
        done = kit.run("sync")
    finally:
        services.ceph.enable()
    assert done.returncode == 6
    assert "403 UserSuspended: the account is suspended" in done.stderr
    assert {(it["state"], it["attempts"]) for it in kit.json("list")["products"]} == {("queued", 0)}
    sync(kit)
    assert_current(kit, *products)


def test_download_resumes_after_a_suspension(kit: Kit, services: Services) -> None:
    product = small(27, scale=BIG)
    services.publish(product)
    with caught_downloading(kit, product) as caught:
        services.ceph.suspend()
        try:
            assert caught.end(signal.SIGCONT) == 6
        finally:
            services.ceph.enable()
    assert {(it["state"], it["attempts"]) for it in kit.json("list")["products"]} == {("queued", 0)}
    services.ceph.forget()
    sync(kit)
    again = {it.key.removeprefix(product.prefix) for it in services.ceph.answered()}
    assert not again & caught.complete
    assert_current(kit, product)


def test_slow_down_responses_delay_and_fail_nothing(kit: Kit, services: Services) -> None:
    kit.sections |= {"store": "connections = 8", **IMPATIENT}
    products = [small(day, scale=BIG / 2) for day in (25, 26, 27)]
    services.publish(*products)
    services.ceph.restart(max_concurrent_requests=2)
    try:
        sync_until_current(kit)
    finally:
        services.ceph.restart()
    assert 503 in {it.status for it in services.ceph.answered()}
    assert_current(kit, *products)


def test_killed_sync_resumes_files_at_their_last_byte(kit: Kit, services: Services) -> None:
    product = small(27, scale=BIG)
    services.publish(product)
    with caught_downloading(kit, product) as caught:
        assert caught.end(signal.SIGKILL) == -signal.SIGKILL
    services.ceph.forget()
    received_bytes = sync(kit)["received_bytes"]
    answered = {it.key.removeprefix(product.prefix): it for it in services.ceph.answered()}
    rest = answered[caught.path]
    assert (rest.status, rest.range) == (206, f"bytes={caught.partial_bytes}-")
    assert not caught.complete & set(answered)
    already_bytes = sum(len(product.files[path]) for path in caught.complete)
    assert received_bytes <= product.size_bytes - already_bytes - caught.partial_bytes
    assert_current(kit, product)


def test_product_replaced_during_download_is_listed_again(kit: Kit, services: Services) -> None:
    kit.sections |= IMPATIENT
    old, new = small(27, scale=BIG), small(27, scale=BIG, seed=1)
    assert old.files.keys() == new.files.keys()
    services.publish(old)
    with caught_downloading(kit, old) as caught:
        services.put(new)
        services.list(new)
        assert caught.end(signal.SIGCONT) == 0
    assert "412 PreconditionFailed: it changed after it was listed" in reasons(kit, old)
    sync_until_current(kit)
    assert_current(kit, new)
    held = kit.archive / new.prefix
    assert {path: (held / path).read_bytes() for path in new.files if path[-1] != "/"} == {
        path: content for path, content in new.files.items() if path[-1] != "/"
    }


def test_product_missing_from_the_catalog_stays_held(kit: Kit, services: Services) -> None:
    products = [small(27), small(25)]
    services.publish(*products)
    sync(kit)
    services.pgstac.delete(products[0].item)
    assert_current(kit, *products)


@pytest.mark.parametrize("command", [("check",), ("plan",), ("status",), ("audit", "--online")])
def test_library_warnings_are_not_printed(
    kit: Kit, services: Services, command: tuple[str, ...]
) -> None:
    services.publish(small(27))
    sync(kit)
    run_quietly(kit, *command)


def test_recorded_items_are_mirrored_unchanged(tmp_path: Path, services: Services) -> None:
    folder = os.environ.get("S2MIRROR_SAMPLES")
    if not folder:
        pytest.skip("set S2MIRROR_SAMPLES to a folder of real CDSE items to mirror them too")
    products = from_real(Path(folder), scale=0.0002).products
    kit = Kit(tmp_path, services, areas=WHOLE_WORLD)
    services.publish(*products)
    assert sorted(sync(kit)["archived"]) == ids(*products)
    assert_current(kit, *products)
