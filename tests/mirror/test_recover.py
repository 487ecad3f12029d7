"""Kills between a file and its row: the next start records what was intended."""

import shutil
from datetime import timedelta

import pytest
from crashing import KILLED, CrashServer
from kit import SENSED_AT, Kit, tiny

from s2mirror.adapters.ledger.state_values import DELETIONS_READ_AT
from s2mirror.sandbox import SandboxProduct
from s2mirror.service.wiring import utc_now

ROW = r"^sql UPDATE product SET state = '{}'"
"""The step that records a removal, when the folder is in the trash already."""


def kill(kit: Kit, server: CrashServer, before: str) -> None:
    code, _ = server.run(["sync", "--config", str(kit.config)], kit.secrets, kill_before=before)
    assert code == KILLED


def assert_gone(kit: Kit, product: SandboxProduct, state: str, reason: str) -> None:
    """Assert the record of a removed product, whose file list stays with the trash."""
    entry = kit.entry(product)
    assert (entry.state, entry.path) == (state, None)
    assert reason in entry.reason
    ledger = kit.mirror().ledger
    assert ledger.file_lists.held(product.id)
    assert ledger.trashed.of(product.id)
    assert ledger.removals.pending() == {}
    kit.assert_invariants()


def processed(kit: Kit) -> SandboxProduct:
    """Return a held, processed product that is to be pruned at once."""
    kit.sections["prune"] = 'after = "0 s"'
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    (kit.archive / product.prefix).with_suffix(".SAFE.processed").touch()
    return product


@pytest.mark.long
def test_kill_before_supersede_row_ends_superseded(kit: Kit, server: CrashServer) -> None:
    kit.sections["supersede"] = 'policy = "newest"'
    old = tiny(20, baseline="05.11")
    new = tiny(20, baseline="05.12", processed_at=SENSED_AT.replace(day=28))
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.publish(new)
    kill(kit, server, ROW.format("superseded"))
    assert not kit.archive.joinpath(old.prefix).exists()
    assert kit.cycle().exit_code == 0
    assert_gone(kit, old, "superseded", f"superseded by {new.id}")


@pytest.mark.long
@pytest.mark.parametrize("policy", ["trash", "tombstone"])
def test_kill_before_withdraw_row_ends_withdrawn(
    kit: Kit, server: CrashServer, policy: str
) -> None:
    kit.sections["deleted"] = f'policy = "{policy}"'
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sandbox.withdraw(product.id, cause="Corrupted product")
    kit.mirror().ledger.state.set(DELETIONS_READ_AT, utc_now() - timedelta(days=2))
    kill(kit, server, ROW.format("withdrawn"))
    assert kit.cycle().exit_code == 0
    assert_gone(kit, product, "withdrawn", "Corrupted product")


@pytest.mark.long
def test_kill_before_prune_row_keeps_the_reason(kit: Kit, server: CrashServer) -> None:
    product = processed(kit)
    kill(kit, server, ROW.format("pruned"))
    assert kit.cycle().exit_code == 0
    assert_gone(kit, product, "pruned", "processed on ")


@pytest.mark.long
def test_removal_that_moved_nothing_is_decided_again(kit: Kit, server: CrashServer) -> None:
    product = processed(kit)
    kill(kit, server, r"^rename .*/Sentinel-2/.*\.SAFE$")
    kit.sections["prune"] = 'after = "7 d"'
    assert kit.cycle().gone == ()
    assert kit.mirror().ledger.removals.pending() == {}
    assert kit.states() == {product.id: "processed"}


@pytest.mark.long
def test_old_version_is_never_mistaken_for_new(kit: Kit, server: CrashServer) -> None:
    old, new = tiny(20), tiny(20, seed=1)
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    kill(kit, server, r"^rename .*/Sentinel-2/.*\.SAFE$")
    assert kit.states() == {new.id: "verified"}
    shutil.rmtree(kit.archive / ".s2mirror/staging")
    kit.assert_same_bytes(old)
    assert kit.cycle().archived == [new.id]
    kit.assert_same_bytes(new)
    kit.assert_current(new)


@pytest.mark.long
def test_kill_after_rename_downloads_nothing_again(kit: Kit, server: CrashServer) -> None:
    old, new = tiny(20), tiny(20, seed=1)
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    kill(kit, server, r"^sql UPDATE OR REPLACE file_list")
    assert kit.states() == {new.id: "verified"}
    kit.assert_same_bytes(new)
    assert kit.cycle().received_bytes == 0
    kit.assert_current(new)


@pytest.mark.long
def test_partial_newer_version_survives_restart(kit: Kit, server: CrashServer) -> None:
    old, new = tiny(20), tiny(20, seed=1)
    kit.sandbox.publish(old)
    kit.cycle()
    kit.sandbox.replace(new)
    kill(kit, server, r"^rename .*B02_10m")
    asked = len(kit.sandbox.s3_proxy.traffic.exchanges)
    assert kit.cycle().archived == [new.id]
    assert kit.downloaded("B02_10m.jp2", asked) == []
    kit.assert_same_bytes(new)
    kit.assert_current(new)
