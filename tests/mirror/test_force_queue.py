"""Products are handed over to FORCE by its queue file, and come back from there as processed."""

import os
import subprocess
import time
from pathlib import Path

import pytest
from crashing import KILLED, CrashServer
from kit import Kit, tiny

from s2mirror.sandbox import SandboxProduct
from s2mirror.service.judgement import judge


def l1c(day: int = 27) -> SandboxProduct:
    """Make a product of the level that FORCE reads."""
    return tiny(day, level="L1C")


@pytest.fixture
def queue(kit: Kit) -> Path:
    """Return the path of the queue that the mirror is configured for."""
    path = kit.folder / "queue.txt"
    kit.sections["processing"] = f'force_queue = "{path}"'
    return path


def force_level2(queue: Path, status: str) -> None:
    """End every queued image with a status, as force-level2 writes it."""
    subprocess.run(["sed", "-i", "-E", f"s+(.*) QUEUED$+\\1 {status}+", queue], check=True)


def findings(kit: Kit) -> dict[str, str]:
    """Return the findings about the queue."""
    mirror = kit.mirror()
    judged = judge(mirror.settings, mirror.ledger, now=mirror.now())
    return {found.code: found.text for found in judged.findings if "force" in found.code}


@pytest.mark.long
def test_force_processes_what_the_mirror_queues(kit: Kit, queue: Path) -> None:
    product, other, level_2 = l1c(27), l1c(20), tiny(21)
    kit.sandbox.publish([product, other, level_2])
    kit.cycle()
    folders = [kit.archive / each.prefix.rstrip("/") for each in (product, other)]
    assert sorted(queue.read_text().splitlines()) == sorted(f"{each} QUEUED" for each in folders)
    force_level2(queue, "DONE")
    assert sorted(kit.cycle().processed) == sorted([product.id, other.id])
    assert kit.states() == {
        product.id: "processed",
        other.id: "processed",
        level_2.id: "archived",
    }
    before = queue.stat()
    assert kit.cycle().processed == []
    assert queue.stat() == before, "an exchange without a change writes nothing"
    kit.assert_invariants()


@pytest.mark.long
def test_failure_is_a_finding_until_force_succeeds(kit: Kit, queue: Path) -> None:
    product = l1c()
    kit.sandbox.publish(product)
    kit.cycle()
    force_level2(queue, "FAIL")
    for _ in range(2):
        assert kit.cycle().processed == []
    assert kit.states() == {product.id: "archived"}
    assert findings(kit) == {
        "force_queue.failed": f"FORCE failed to process 1 product; one: {product.id}"
    }
    assert kit.events("force") == ["force.failed"]
    queue.write_text(queue.read_text().replace("FAIL", "QUEUED"))
    kit.cycle()
    assert findings(kit) == {}
    force_level2(queue, "DONE")
    assert kit.cycle().processed == [product.id]
    kit.assert_invariants()


@pytest.mark.long
def test_unusable_queue_is_a_finding_and_delays_nothing(kit: Kit, queue: Path) -> None:
    queue.mkdir()
    product, other = l1c(27), l1c(26)
    kit.sandbox.publish(product)
    kit.cycle()
    assert kit.states() == {product.id: "archived"}
    assert findings(kit) == {
        "force_queue.unusable": "no product is handed over to FORCE: cannot read the queue "
        f"{queue}: Is a directory; check processing.force_queue, and that this user may write the "
        "file and its folder"
    }
    queue.rmdir()
    queue.write_text("Sentinel-2 images:\r\n/pool/LC08.tar DONE\r\n")
    kit.sandbox.publish(other)
    kit.cycle()
    assert queue.read_bytes().startswith(b"Sentinel-2 images:\r\n/pool/LC08.tar DONE\r\n/")
    assert len(queue.read_text().splitlines()) == 4
    assert findings(kit) == {
        "force_queue.bad_lines": "FORCE's queue has 1 line without a full path and status; "
        "the first one is line 1"
    }
    queue.unlink()
    kit.cycle()
    assert len(queue.read_text().splitlines()) == 2, "a lost queue is written again"
    kit.assert_invariants()


@pytest.mark.long
def test_product_waits_for_entries_and_force(kit: Kit, queue: Path) -> None:
    kit.sections["process"] = f'command = ["test", "-e", "{kit.folder}/{{id}}"]'
    first_by_force, first_by_entry = l1c(27), l1c(20)
    (kit.folder / first_by_entry.id).touch()
    kit.sandbox.publish([first_by_force, first_by_entry])
    assert kit.cycle().processed == []
    assert kit.mirror().ledger.process.statuses(first_by_entry.id)["chain"].state == "done"
    force_level2(queue, "DONE")
    assert kit.cycle().processed == [first_by_entry.id]
    assert kit.cycle().processed == [], "an entry is not done"
    (kit.folder / first_by_force.id).touch()
    assert kit.cycle(kit.later()).processed == [first_by_force.id]
    kit.assert_invariants()


KILLED_BEFORE = (
    r"^open .*/queue\.txt$",
    r"^fsync .*/queue\.txt$",
    r"remove .*/queue\.txt\.lock",
)
"""Steps of a hand-over."""


@pytest.mark.long
def test_killed_exchange_is_completed_by_the_next(kit: Kit, queue: Path) -> None:
    kit.sandbox.publish([l1c(day) for day in (27, 26)])
    with CrashServer(kit.folder) as server:
        for step in KILLED_BEFORE:
            queue.unlink(missing_ok=True)
            assert sync(kit, server, step) == KILLED, step
            age_lock(queue)
            assert sync(kit, server) == 0
            lines = queue.read_text().splitlines()
            assert len(lines) == len(set(lines)) == 2
            assert findings(kit) == {}
        force_level2(queue, "DONE")
        assert sync(kit, server, r"^sql UPDATE product SET state = 'processed'") == KILLED
        assert sync(kit, server) == 0
    assert set(kit.states().values()) == {"processed"}
    kit.assert_invariants()


def sync(kit: Kit, server: CrashServer, kill_before: str = "") -> int:
    """Run a sync, and kill it before a step; return its exit code."""
    arguments = ["sync", "--config", str(kit.config)]
    return server.run(arguments, kit.secrets, kill_before=kill_before)[0]


def age_lock(queue: Path) -> None:
    """Let the time pass after which a lock counts as abandoned."""
    long_ago = time.time() - 301
    for lock in queue.parent.glob("queue.txt.lock"):
        os.utime(lock, (long_ago, long_ago))
