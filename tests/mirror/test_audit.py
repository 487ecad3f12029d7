"""An audit beside a running mirror, and of a disk that loses bytes."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from crashing import KILLED, CrashServer
from disks import failing_disk
from kit import Kit, tiny

from s2mirror.sandbox import SandboxProduct
from s2mirror.service.pruning import prune
from s2mirror.steps.audit import Auditor

ROW = r"^sql UPDATE product SET state = '{}'"
"""The step that records a folder that was just moved."""


@pytest.fixture
def held(kit: Kit) -> SandboxProduct:
    """Mirror a product that is due to be pruned."""
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sections["prune"] = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'
    return product


def auditor(kit: Kit, *, mirror_runs: bool) -> Auditor:
    return kit.mirror().auditor(ThreadPoolExecutor(2), mirror_runs=lambda: mirror_runs)


def found(kit: Kit, *, mirror_runs: bool) -> list[str]:
    """Return the faults that an audit finds, by invariant."""
    return [fault.invariant for fault in auditor(kit, mirror_runs=mirror_runs).audit().faults]


def stop_before(kit: Kit, server: CrashServer, row: str) -> None:
    """Kill a sync after a folder was moved, and before that is recorded."""
    arguments = ["sync", "--config", str(kit.config)]
    assert server.run(arguments, kit.secrets, kill_before=ROW.format(row))[0] == KILLED


@pytest.mark.long
def test_product_being_pruned_is_no_fault(
    kit: Kit, server: CrashServer, held: SandboxProduct
) -> None:
    stop_before(kit, server, "pruned")
    assert not kit.archive.joinpath(held.prefix).exists()
    assert found(kit, mirror_runs=False) == ["ledger"]
    assert found(kit, mirror_runs=True) == []


def test_product_being_published_is_no_fault(kit: Kit, server: CrashServer) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    stop_before(kit, server, "archived")
    assert kit.archive.joinpath(product.prefix).exists()
    assert found(kit, mirror_runs=False) == ["whole", "accounted"]
    assert found(kit, mirror_runs=True) == []


def test_product_pruned_during_audit_is_no_fault(kit: Kit, held: SandboxProduct) -> None:
    mirror = kit.later()
    looks = auditor(kit, mirror_runs=True).audit(on_file=lambda _: prune(mirror) and None)
    assert not kit.archive.joinpath(held.prefix).exists()
    assert (looks.products, looks.faults) == (1, ())


def test_unknown_folder_is_named_while_mirror_runs(kit: Kit, held: SandboxProduct) -> None:
    kit.archive.joinpath("elsewhere", f"{held.id}.SAFE").mkdir(parents=True)
    assert found(kit, mirror_runs=True) == ["whole"]


def test_wrong_byte_is_named_while_mirror_runs(kit: Kit, held: SandboxProduct) -> None:
    band = next(kit.archive.joinpath(held.prefix).rglob("*_B02_10m.jp2"))
    band.write_bytes(bytes(len(band.read_bytes())))
    assert found(kit, mirror_runs=True) == ["proven"]


def test_file_in_place_of_folder_is_named(kit: Kit, held: SandboxProduct) -> None:
    folder = kit.archive / held.prefix / "GRANULE"
    shutil.rmtree(folder)
    folder.touch()
    assert set(found(kit, mirror_runs=False)) == {"proven"}


@pytest.mark.long
def test_unreadable_file_is_named_and_downloaded_again(kit: Kit, tmp_path: Path) -> None:
    product = tiny(20, band_bytes=300_000)
    kit.sandbox.publish(product)
    with failing_disk(tmp_path / "disk.img", kit.archive) as disk:
        kit.cycle()
        band = next(kit.archive.joinpath(product.prefix).rglob("*_B02_10m.jp2"))
        disk.lose(band)
        with pytest.raises(OSError, match="Input/output error"):
            band.read_bytes()
        (fault,) = kit.json("audit")["faults"]
        assert fault["product"] == product.id
        assert f"{band}: [Errno 5] Input/output error" in fault["detail"]
        start = len(kit.sandbox.s3_proxy.traffic.exchanges)
        assert kit.run("audit", "--repair").returncode == 1
        assert kit.run("sync").returncode == 0
        assert kit.downloaded(".jp2", start) == [product.prefix + path_in(product, band)]
        kit.assert_same_bytes(product)
        kit.assert_current(product)


def path_in(product: SandboxProduct, band: Path) -> str:
    return next(path for path in product.files if path.endswith(band.name))
