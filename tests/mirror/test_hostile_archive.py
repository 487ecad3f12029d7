"""An archive with links, foreign files, unreadable folders or a missing disk."""

from contextlib import suppress
from pathlib import Path

import pytest
from builders import overwrite
from kit import Kit, tiny
from unprivileged import unreadable

from s2mirror.errors import ArchiveError
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.previews import make_all_due
from s2mirror.stop import StopFlag


def cycle_with_two(kit: Kit) -> tuple[CycleResult, str, str]:
    """Sync two products of which only the second can be published; return their ids."""
    first, second = tiny(20), tiny(22)
    kit.sandbox.publish([first, second])
    result = kit.cycle()
    assert result.remaining
    assert kit.states() == {first.id: "queued", second.id: "archived"}
    kit.assert_same_bytes(second)
    return result, first.id, second.id


def elsewhere(kit: Kit) -> Path:
    """Return a folder outside of the archive with a file in it."""
    folder = kit.folder / "elsewhere"
    folder.mkdir()
    (folder / "manifest.safe").write_text("theirs")
    return folder


@pytest.mark.long
def test_link_at_a_future_path_is_refused(kit: Kit) -> None:
    folder, link = elsewhere(kit), kit.archive / tiny(20).prefix
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)
    _, first, _ = cycle_with_two(kit)
    assert kit.mirror().ledger.products.get(first).reason.startswith(f"{link} is a link; ")
    assert [path.name for path in folder.iterdir()] == ["manifest.safe"]
    assert (folder / "manifest.safe").read_text() == "theirs"
    assert link.is_symlink()
    link.unlink()
    assert kit.cycle(kit.later(hours=1)).archived == [first]
    kit.assert_invariants()


def test_linked_parent_folder_is_refused(kit: Kit) -> None:
    folder, link = elsewhere(kit), (kit.archive / tiny(20).prefix).parent
    link.parent.mkdir(parents=True)
    link.symlink_to(folder)
    cycle_with_two(kit)
    assert [path.name for path in folder.iterdir()] == ["manifest.safe"]


@pytest.mark.parametrize(
    "place",
    [
        *(".s2mirror/trash", "Sentinel-2/MSI/L2A/2026"),
        pytest.param(".s2mirror/staging", marks=pytest.mark.long),
        pytest.param(".s2mirror/quarantine", marks=pytest.mark.long),
        pytest.param("catalog", marks=pytest.mark.long),
        pytest.param("previews", marks=pytest.mark.long),
    ],
)
def test_linked_folder_is_named_and_never_followed(
    kit: Kit, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    kit.sections |= {"prune": 'after = "0 s"', "preview": 'source = "quicklook"'}
    folder, link = elsewhere(kit), kit.archive / place
    kit.sandbox.publish(tiny(20))
    kit.cycle()
    if link.exists():
        link.rename(kit.folder / "kept")
    link.symlink_to(folder)
    kit.sandbox.publish(tiny(22))
    make_all_due(kit.mirror(), StopFlag())
    kit.call("mark", "processed", tiny(20).id)
    with suppress(ArchiveError):
        kit.cycle()
    assert {kit.call("prune"), kit.call("audit")} <= {0, 1, 5}
    shown = "".join(capsys.readouterr())
    assert f"{link} is a link; " in shown or f"foreign: {place}: it is a link; " in shown
    assert [path.name for path in folder.iterdir()] == ["manifest.safe"]
    assert (folder / "manifest.safe").read_text() == "theirs"


@pytest.mark.long
def test_link_planted_before_publishing_is_refused(kit: Kit) -> None:
    product, folder = tiny(20), elsewhere(kit)
    kit.sandbox.publish(product)
    kit.cycle()
    link = kit.archive / product.prefix
    moved = kit.archive / f".s2mirror/staging/{product.id}.SAFE"
    moved.parent.mkdir(exist_ok=True)
    link.rename(moved)
    link.symlink_to(folder)
    overwrite(kit.mirror().ledger, "state = 'verified', path = NULL")
    kit.cycle()
    assert (folder / "manifest.safe").read_text() == "theirs"
    assert (moved / "manifest.safe").read_bytes() == product.files["manifest.safe"]
    assert kit.states() == {product.id: "queued"}


@pytest.mark.long
def test_unreadable_folder_stops_no_other_product(kit: Kit) -> None:
    folder = (kit.archive / tiny(20).prefix).parent
    folder.mkdir(parents=True)
    with unreadable(folder):
        _, first, _ = cycle_with_two(kit)
        assert "cannot be seen: Permission denied" in kit.mirror().ledger.products.get(first).reason


@pytest.mark.long
def test_unreadable_product_is_a_fault_never_gone(kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    with unreadable((kit.archive / product.prefix).parent):
        assert kit.cycle().exit_code == 0
        assert kit.call("audit") == 1
        assert any("cannot be seen: Permission denied" in fault for fault in kit.faults())
    kit.assert_current(product)


@pytest.mark.long
def test_foreign_work_files_do_not_stop_the_mirror(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    kit.sandbox.publish(tiny(20))
    kit.cycle()
    for place in ("", "staging", "trash", "quarantine"):
        folder = kit.archive / ".s2mirror" / place
        (folder / "lost+found").mkdir(parents=True)
        (folder / ".DS_Store").write_bytes(b"x")
        (folder / "link.SAFE").symlink_to(kit.folder)
    (kit.archive / ".s2mirror/trash/20200101T000000Z_plain.SAFE").write_bytes(b"x")
    kit.sandbox.publish(tiny(22))
    assert kit.cycle().exit_code == 0
    capsys.readouterr()
    assert kit.call("audit") == 0
    assert capsys.readouterr().out.count("foreign: .s2mirror/") == 13
    kit.assert_invariants()


@pytest.mark.long
@pytest.mark.parametrize("option", ["report", "ignore"])
def test_foreign_product_is_reported_and_kept(
    kit: Kit, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    kit.sections["archive"] = f'foreign = "{option}"'
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    name = "S2A_MSIL2A_20260520T102031_N9999_R065_T32TMT_20260521T000000.SAFE"
    output = (kit.archive / product.prefix).with_name(name)
    output.mkdir()
    capsys.readouterr()
    assert kit.call("audit") == 0
    shown = f"foreign: {output.relative_to(kit.archive)}: the ledger knows no product of this name"
    assert (shown in capsys.readouterr().out) is (option == "report")
    kit.assert_current(product)
    assert output.is_dir()


@pytest.mark.long
def test_audit_of_a_missing_disk_says_so(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    away = kit.folder / "away"
    kit.archive.rename(away)
    kit.archive.mkdir()
    for command in (["audit"], ["audit", "--repair"], ["audit", "--quick"]):
        capsys.readouterr()
        assert kit.call(*command) == 5
        assert "has no archive_id file .s2mirror/archive.json: is its disk" in (
            capsys.readouterr().err
        )
    with pytest.raises(ArchiveError, match="has no archive_id file"):
        kit.faults()
    kit.archive.rmdir()
    away.rename(kit.archive)
    kit.assert_current(product)
