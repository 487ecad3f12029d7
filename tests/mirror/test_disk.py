"""Real, small disks: they fill up at every place, are read-only, or disappear."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from disks import failing_disk, remount, small_disk
from kit import Kit, OnFirstByte, Quiet, size_of, tiny
from mirror_kit import claiming
from volumes import honest

from s2mirror import api
from s2mirror.adapters.ledger.changes import LOCAL_CATALOG
from s2mirror.errors import ArchiveError, LedgerError
from s2mirror.sandbox import Answer, Fault
from s2mirror.service.local_catalog import complete_local_catalog, rebuild_local_catalog
from s2mirror.service.pruning import prune
from s2mirror.stop import StopFlag

pytestmark = pytest.mark.long

MIB = 1024 * 1024


def test_disk_filling_mid_download_loses_nothing(kit: Kit) -> None:
    kit.sections["archive"] = ""
    product = claiming(tiny(band_bytes=2 * MIB), 1000)
    kit.sandbox.publish(product)
    with small_disk(kit.archive, "size=3m"):
        done = kit.run("sync")
        assert done.returncode == 5
        assert "No space left on device: the disk is full (bytes or inodes); free some space" in (
            done.stderr
        )
        assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
        assert list(kit.archive.rglob("Sentinel-2")) == []
        remount(kit.archive, "size=30m")
        assert kit.cycle().exit_code == 0
        kit.assert_same_bytes(product)
        kit.assert_current(product)


def test_disk_filling_at_publish_loses_nothing(kit: Kit) -> None:
    deep = "/".join("abcdefghijklmnopqrstuvwxyz")
    kit.sections["archive"] = f'layout = "{deep}/{{name}}.SAFE"'
    kit.sections["store"] = "connections = 1"
    product = tiny()
    kit.sandbox.publish(product)
    with small_disk(kit.archive, "size=30m,nr_inodes=1000"):
        fill_up = OnFirstByte(lambda: remount(kit.archive, "nr_inodes=36"))
        with pytest.raises(ArchiveError, match=f"publishing {product.id}") as caught:
            kit.cycle(progress=fill_up)
        assert caught.value.exit_code == 5
        assert kit.archive.joinpath("a").is_dir(), "it came as far as the folders"
        assert list(kit.archive.glob("a/**/*.SAFE")) == []
        kit.sandbox.s3_proxy.reset()
        remount(kit.archive, "nr_inodes=1000")
        assert kit.cycle().exit_code == 0
        assert kit.downloaded() == []
        kit.assert_current(product)


def test_read_only_archive_is_named_before_any_claim(kit: Kit) -> None:
    product, later = tiny(27), tiny(25)
    kit.sandbox.publish(product)
    with small_disk(kit.archive, "size=30m"):
        kit.cycle()
        kit.sandbox.publish(later)
        remount(kit.archive, "ro")
        done = kit.run("sync")
        assert done.returncode == 5
        assert "the file system is mounted read-only" in done.stderr
        assert kit.entry(later).attempts == 0
        remount(kit.archive, "rw")
        kit.cycle()
        kit.assert_current(product, later)


def test_archive_turning_read_only_loses_nothing(
    kit: Kit,
) -> None:
    held, later = tiny(27), tiny(25, band_bytes=2 * MIB)
    kit.sandbox.publish(held)
    with failing_disk(kit.folder / "disk.img", kit.archive) as disk:
        kit.cycle()
        kit.sandbox.publish(later)
        kit.sandbox.s3_proxy.inject(Fault(path="B03", bytes_per_second=20_000, times=None))
        at_work = kit.start("sync")
        while not any(map(size_of, kit.archive.glob(".s2mirror/staging/*.part/**/*B03*"))):
            assert at_work.poll() is None
            time.sleep(0.05)
        disk.fail()
        said, _ = at_work.communicate(timeout=120)
        assert at_work.returncode == 5, said
        assert "the file system is mounted read-only; the system log has the reason" in said
        assert kit.states() == {held.id: "archived", later.id: "queued"}
        assert kit.entry(later).attempts == 0
        kit.assert_same_bytes(held)
        disk.repair()
        kit.sandbox.s3_proxy.reset()
        assert kit.cycle().exit_code == 0
        kit.assert_same_bytes(held, later)
        kit.assert_current(held, later)


def test_full_ledger_disk_exits_5_then_recovers(kit: Kit) -> None:
    products = [tiny(day) for day in (21, 23, 25, 27)]
    folder = kit.folder / "var"
    kit.sections["ledger"] = 'path = "var/ledger.sqlite"'
    kit.sandbox.publish(products[:1])
    with small_disk(folder, "size=4m"):
        kit.cycle()
        kit.sandbox.publish(products)
        (folder / "ballast").write_bytes(b"\0" * (shutil.disk_usage(folder).free - 8192))
        done = kit.run("sync")
        assert done.returncode == 5
        assert "its disk is full; free space on it" in done.stderr
        (folder / "ballast").unlink()
        assert kit.cycle().exit_code == 0
        kit.assert_current(*products)


class LeastRoom(Quiet):
    """Records the smallest free space while bytes arrive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.bytes = 10**18

    def received(self, product_id: str, size_bytes: int) -> None:  # noqa: ARG002 - the port's
        self.bytes = min(self.bytes, shutil.disk_usage(self._folder).free)


def test_downloads_under_way_never_touch_the_reserve(
    kit: Kit,
) -> None:
    kit.sections["download"] = "parallel_products = 3"
    products = [honest(tiny(day, band_bytes=2 * MIB)) for day in (21, 23, 25, 27)]
    kit.sandbox.publish(products)
    with small_disk(kit.archive, "size=12900k"):  # three would fit without the reserve
        least = LeastRoom(kit.archive)
        result = kit.cycle(progress=least)
        assert sorted(result.archived) == sorted(p.id for p in products[2:]), "two of 4 MiB"
        assert least.bytes >= 10**6, "the reserve"
        assert result.downloads is not None
        assert result.downloads.deferred[products[0].id].startswith("needs ")
        assert "B of disk" in result.downloads.deferred[products[0].id]
        remount(kit.archive, "size=40m")
        assert kit.cycle().exit_code == 0
        kit.assert_current(*products)


def test_queued_product_is_deferred_on_full_disk(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    product = honest(tiny(band_bytes=2 * MIB))
    kit.sandbox.publish(product)
    refused = Fault(path="list-type", answer=Answer(status=500), times=None)
    kit.sandbox.s3_proxy.inject(refused)
    with small_disk(kit.archive, "size=20m"):
        kit.cycle()
        assert kit.entry(product).state == "queued"
        kit.sandbox.s3_proxy.reset()
        ballast = kit.archive / "ballast"
        ballast.write_bytes(bytes(16 * MIB))
        result = kit.cycle(kit.later())
        assert (result.exit_code, kit.downloads()) == (1, [])
        capsys.readouterr()
        kit.call("status")
        assert "deferred  1 product; the first: needs" in capsys.readouterr().out
        ballast.unlink()
        assert kit.cycle(kit.later()).exit_code == 0
        kit.assert_current(product)


def test_too_few_inodes_defer_a_product_with_reason(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    with small_disk(kit.archive, "size=30m,nr_inodes=100"):
        result = kit.cycle()
        assert (result.exit_code, kit.downloads()) == (1, [])
        assert result.downloads is not None
        assert "needs about 150 inodes" in result.downloads.deferred[product.id]
        remount(kit.archive, "nr_inodes=1000")
        assert kit.cycle().exit_code == 0
        kit.assert_current(product)


def test_ledger_disk_filling_mid_download_loses_nothing(
    kit: Kit,
) -> None:
    product = tiny(band_bytes=MIB)
    folder = kit.folder / "var"
    kit.sections["ledger"] = 'path = "var/ledger.sqlite"'
    kit.sandbox.publish(product)
    with small_disk(folder, "size=4m"):
        ballast = folder / "ballast"

        def fill_up() -> None:
            # Free space may be used up by the time of the write.
            with suppress(OSError):
                ballast.write_bytes(bytes(shutil.disk_usage(folder).total))

        with pytest.raises(LedgerError, match="its disk is full; free space on it"):
            kit.cycle(progress=OnFirstByte(fill_up))
        ballast.unlink()
        assert kit.cycle().exit_code == 0
        kit.assert_same_bytes(product)
        kit.assert_current(product)


class Removable:
    """The archive's disk, which can be removed and mounted again with its contents."""

    def __init__(self, kit: Kit) -> None:
        self._archive, self._aside = kit.archive, kit.folder / "aside"
        self.away = False

    def go_away(self) -> None:
        self._aside.mkdir(exist_ok=True)
        self._move(self._archive, self._aside)
        self.away = True

    def come_back(self) -> None:
        if self.away:
            self._move(self._aside, self._archive)
        self.away = False

    def _move(self, source: Path, target: Path) -> None:
        subprocess.run(["mount", "--bind", str(source), str(target)], check=True)
        subprocess.run(["umount", "--lazy", str(source)], check=True)


@contextmanager
def removable_disk(kit: Kit) -> Iterator[Removable]:
    with small_disk(kit.archive, "size=30m"):
        disk = Removable(kit)
        try:
            yield disk
        finally:
            disk.come_back()


def test_nothing_is_written_under_an_unmounted_disk(
    kit: Kit,
) -> None:
    product, later = tiny(band_bytes=2 * MIB), tiny(25, band_bytes=2 * MIB)
    kit.sandbox.publish(product)
    with removable_disk(kit) as disk:
        kit.cycle()
        kit.sandbox.publish(later)
        with pytest.raises(ArchiveError, match=r"is (the archive's|its) disk mounted"):
            kit.cycle(progress=OnFirstByte(disk.go_away))
        assert list(kit.archive.iterdir()) == []
        disk.come_back()
        assert (kit.entry(later).state, kit.entry(later).attempts) == ("queued", 0)
        assert kit.cycle().exit_code == 0
        kit.assert_current(product, later)


def test_missing_disk_prunes_and_starts_nothing(kit: Kit) -> None:
    product, later = tiny(), tiny(25)
    kit.sandbox.publish(product)
    with removable_disk(kit) as disk:
        kit.cycle()
        kit.sandbox.publish(later)
        kit.sections["prune"] = 'after = "0 d"\nrequire_processed = false\nmax_percent = 100'
        mirror, path = kit.mirror(), product.prefix.rstrip("/")
        mirror.ledger.changes.note_all(LOCAL_CATALOG)
        disk.go_away()
        for act in (
            lambda: prune(mirror),
            lambda: rebuild_local_catalog(mirror, StopFlag()),
            lambda: kit.cycle(mirror),
            lambda: mirror.archive.discard(product.id, path, now=mirror.now()),
            lambda: mirror.archive.put_tombstone(path, "gone"),
        ):
            with pytest.raises(ArchiveError, match=r"is (the archive's|its) disk mounted"):
                act()
        complete_local_catalog(mirror, StopFlag())
        assert kit.call("catalog", "rebuild") == 5
        assert list(kit.archive.iterdir()) == []
        assert mirror.ledger.products.get(product.id).state == "archived"
        assert mirror.ledger.products.get(later.id).state == "queued"
        disk.come_back()
        del kit.sections["prune"]
        assert kit.cycle().exit_code == 0
        kit.assert_current(product, later)


def test_ledger_on_a_read_only_disk_is_readable(kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    kit.sections["ledger"] = 'path = "state/ledger.db"'
    with small_disk(kit.folder / "state", "size=30m"):
        assert kit.run("sync").returncode == 0
        remount(kit.folder / "state", "ro")
        for command in ("status", "list", f"show {product.id}", "export csv", "audit"):
            assert kit.call(*command.split()) == 0, command
        with api.Mirror(kit.config) as reading:
            assert [item.id for item in reading.items()] == [product.id]
        assert kit.call("requeue", product.id) != 0
        remount(kit.folder / "state", "rw")
        kit.assert_current(product)
