"""The archive's disk fails while the daemon works, and an operator repairs it."""

import pytest
from daemon_kit import at_work, problems
from disks import failing_disk
from kit import DRIP, Kit, tiny, wait_until

from s2mirror.service.workers import Intervals

pytestmark = pytest.mark.long

MIB = 1024 * 1024


def test_read_only_archive_makes_health_red_until_repaired(kit: Kit) -> None:
    held, later = tiny(27), tiny(25, band_bytes=2 * MIB)
    kit.sandbox.publish(held)
    with failing_disk(kit.folder / "disk.img", kit.archive) as disk:
        mirror = kit.mirror()
        with at_work(mirror, Intervals(pause_seconds=0.5, idle_seconds=0.1)):
            wait_until(lambda: kit.states() == {held.id: "archived"}, "the first product")
            kit.sandbox.s3_proxy.inject(DRIP)
            kit.sandbox.publish(later)
            wait_until(kit.bands_begun, "half a file")
            disk.fail()
            wait_until(lambda: "mounted read-only" in str(problems(mirror)), "health is red")
            assert kit.call("health") == 1
            entry = kit.entry(later)
            assert (entry.state in ("queued", "downloading"), entry.attempts) == (True, 0)
            kit.assert_same_bytes(held)
            kit.sandbox.s3_proxy.reset()
            disk.repair()
            wanted = dict.fromkeys((held.id, later.id), "archived")
            wait_until(lambda: kit.states() == wanted, "the second product")
            wait_until(lambda: not problems(mirror), "health is green")
        kit.assert_same_bytes(held, later)
        kit.assert_current(held, later)
