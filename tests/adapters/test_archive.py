import hashlib
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from builders import ID, NOW

from s2mirror.adapters.archive import Archive, Stage
from s2mirror.checksum import new_hasher
from s2mirror.errors import ArchiveError, HostileInput

PATH = f"T32TMT/2026/05/27/{ID}.SAFE"
DAY = timedelta(days=1)
OUTSIDE = ["../x.SAFE", "/etc/x.SAFE", "a/../../x.SAFE", "", ".", "a//x.SAFE"]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path / "archive")
    made.create()
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a disk of 256 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=64", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs root and the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def begin(staged: Stage, path: str, content: bytes) -> None:
    with staged.part(path) as part:
        part.append(content)


def stage(archive: Archive, files: dict[str, bytes], product_id: str = ID) -> None:
    staged = archive.stage(product_id)
    for path, content in files.items():
        begin(staged, path, content)
        staged.finish(path, size_bytes=len(content))


def files_below(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


FILES = {"MTD_MSIL2A.xml": b"<xml/>", "GRANULE/L2A/IMG_DATA/B02.jp2": b"\x00\x01"}


def held(archive: Archive, path: str = PATH, product_id: str = ID) -> Path:
    stage(archive, FILES, product_id)
    archive.publish(product_id, path)
    return archive.root / path


def test_own_archive_id_is_accepted(archive: Archive) -> None:
    archive_id = archive.archive_id()
    assert archive_id is not None
    archive.require(archive_id)


def test_missing_archive_id_suggests_an_unmounted_disk(archive: Archive) -> None:
    (archive.root / ".s2mirror/archive.json").unlink()
    assert archive.archive_id() is None
    with pytest.raises(ArchiveError) as caught:
        archive.require("abc")
    assert str(caught.value) == (
        f"{archive.root} has no archive_id file .s2mirror/archive.json: is its disk "
        "mounted? Nothing is written or removed until the file is there again"
    )


def test_archive_id_of_another_archive_is_refused(archive: Archive) -> None:
    with pytest.raises(ArchiveError) as caught:
        archive.require("abc")
    assert str(caught.value) == (
        f"{archive.root} is the archive {archive.archive_id()}, but the ledger belongs to abc; "
        "mount the right disk, or set ledger.path to the ledger of this archive"
    )


@pytest.mark.parametrize("text", ["", "{}", "[]", "nonsense", '{"archive_i'])
def test_damaged_archive_id_is_an_error(archive: Archive, text: str) -> None:
    (archive.root / ".s2mirror/archive.json").write_text(text)
    with pytest.raises(ArchiveError, match=r"cannot be read: .*restore it from a backup"):
        archive.archive_id()


def test_publish_moves_every_file_out_of_staging(archive: Archive) -> None:
    folder = held(archive)
    assert files_below(folder) == FILES
    assert archive.holds(PATH)
    assert archive.staged_ids() == frozenset()
    assert list(archive.product_paths()) == [PATH]


def test_publish_excludes_incomplete_files(archive: Archive) -> None:
    stage(archive, FILES)
    begin(archive.stage(ID), "half.jp2", b"1")
    archive.publish(ID, PATH)
    assert files_below(archive.root / PATH) == FILES
    assert archive.staged_ids() == frozenset()


def test_publishing_onto_a_held_product_fails(archive: Archive) -> None:
    folder = held(archive)
    stage(archive, {"other": b"x"})
    with pytest.raises(ArchiveError, match="publishing"):
        archive.publish(ID, PATH)
    assert files_below(folder) == FILES
    assert archive.stage(ID).files() == {"other": 1}


def test_publishing_unstaged_product_changes_nothing(archive: Archive) -> None:
    with pytest.raises(ArchiveError):
        archive.publish(ID, PATH)
    assert not archive.holds(PATH)
    assert list(archive.product_paths()) == []


@pytest.mark.parametrize("path", OUTSIDE)
@pytest.mark.parametrize(
    "action",
    [
        lambda archive, path: archive.publish(ID, path),
        lambda archive, path: archive.discard(ID, path, now=NOW),
        lambda archive, path: archive.quarantine_archived(ID, path),
        lambda archive, path: archive.drop_processed_marker(path, ".done"),
        lambda archive, path: archive.reuse(ID, path),
        lambda archive, path: archive.holds(path),
    ],
    ids=["publish", "discard", "quarantine", "drop marker", "reuse", "holds"],
)
def test_path_outside_the_archive_is_refused(
    archive: Archive, action: Callable[[Archive, str], object], path: str
) -> None:
    outside = archive.root.parent / "x.SAFE"
    outside.mkdir()
    stage(archive, FILES)
    with pytest.raises(HostileInput):
        action(archive, path)
    assert outside.is_dir()
    assert archive.stage(ID).has("MTD_MSIL2A.xml")


@pytest.mark.parametrize(
    "action",
    [
        lambda archive, name: archive.stage(name),
        lambda archive, name: archive.discard_stage(name),
        lambda archive, name: archive.quarantine(name),
        lambda archive, name: archive.quarantine_archived(name, PATH),
        lambda archive, name: archive.reuse(name, PATH),
        lambda archive, name: archive.discard(name, PATH, now=NOW),
    ],
    ids=["stage", "discard stage", "quarantine", "quarantine held", "reuse", "discard"],
)
def test_product_id_that_is_a_path_is_refused(
    archive: Archive, action: Callable[[Archive, str], object]
) -> None:
    folder = held(archive)
    with pytest.raises(HostileInput):
        action(archive, "../../../x")
    assert files_below(folder) == FILES


def test_reuse_moves_quarantined_product_to_staging(archive: Archive) -> None:
    stage(archive, FILES)
    archive.quarantine(ID)
    assert archive.staged_ids() == frozenset()
    assert archive.reuse(ID, PATH)
    assert archive.stage(ID).files() == {path: len(content) for path, content in FILES.items()}


def test_reuse_moves_held_product_to_staging(archive: Archive) -> None:
    held(archive)
    assert archive.reuse(ID, PATH)
    assert not archive.holds(PATH)
    assert archive.stage(ID).has("MTD_MSIL2A.xml")


def test_reuse_reports_when_nothing_exists(archive: Archive) -> None:
    assert not archive.reuse(ID, PATH)


def test_staged_files_are_not_replaced_from_quarantine(
    archive: Archive,
) -> None:
    stage(archive, {"old": b"x"})
    archive.quarantine(ID)
    stage(archive, {"new": b"y"})
    assert not archive.reuse(ID, PATH)
    assert archive.stage(ID).files() == {"new": 1}


def test_damaged_product_moves_to_quarantine(archive: Archive) -> None:
    held(archive)
    archive.quarantine_archived(ID, PATH)
    assert list(archive.product_paths()) == []
    assert files_below(archive.root / f".s2mirror/quarantine/{ID}.SAFE") == FILES


def test_discarded_product_stays_in_trash_until_emptied(archive: Archive) -> None:
    held(archive)
    archive.discard(ID, PATH, now=NOW)
    assert list(archive.product_paths()) == []
    (name,), (at,) = archive.trash().keys(), archive.trash().values()
    assert at == NOW
    archive.empty_trash([])
    assert list(archive.trash()) == [name]
    archive.empty_trash([name])
    assert archive.trash() == {}


def test_discard_removes_only_emptied_folders(archive: Archive) -> None:
    held(archive)
    other = held(archive, "T32TMT/2026/05/28/OTHER.SAFE", "OTHER")
    archive.discard(ID, PATH, now=NOW)
    assert not (archive.root / "T32TMT/2026/05/27").exists()
    assert files_below(other) == FILES
    archive.discard("OTHER", "T32TMT/2026/05/28/OTHER.SAFE", now=NOW)
    assert [found.name for found in archive.root.iterdir()] == [".s2mirror"]


def test_discarding_twice_equals_once(archive: Archive) -> None:
    held(archive)
    archive.discard(ID, PATH, now=NOW)
    archive.discard(ID, PATH, now=NOW + DAY)
    assert list(archive.trash().values()) == [NOW]


def test_foreign_entries_in_trash_are_kept(archive: Archive) -> None:
    held(archive)
    archive.discard(ID, PATH, now=NOW)
    stranger = archive.root / ".s2mirror/trash/notes"
    stranger.mkdir()
    archive.empty_trash([*archive.trash(), stranger.name, "../staging"])
    assert archive.trash() == {}
    assert stranger.is_dir()


def test_product_paths_exclude_the_work_folder(archive: Archive) -> None:
    held(archive)
    stage(archive, FILES, "STAGED")
    held(archive, "T32TMT/TRASHED.SAFE", "TRASHED")
    archive.discard("TRASHED", "T32TMT/TRASHED.SAFE", now=NOW)
    stage(archive, FILES, "BAD")
    archive.quarantine("BAD")
    assert list(archive.product_paths()) == [PATH]


def test_product_paths_exclude_nested_products(archive: Archive) -> None:
    held(archive)
    (archive.root / PATH / "INNER.SAFE").mkdir()
    assert list(archive.product_paths()) == [PATH]


def test_processed_marker_is_beside_its_product(archive: Archive) -> None:
    folder = held(archive)
    assert not archive.has_processed_marker(PATH, ".done")
    folder.with_name(folder.name + ".done").touch()
    assert archive.has_processed_marker(PATH, ".done")
    archive.drop_processed_marker(PATH, ".done")
    archive.drop_processed_marker(PATH, ".done")
    assert not archive.has_processed_marker(PATH, ".done")
    assert files_below(folder) == FILES


def test_file_is_assembled_from_several_attempts(archive: Archive) -> None:
    staged, hasher = archive.stage(ID), new_hasher("sha3_256")
    begin(staged, "a/B02.jp2", b"12345")
    assert (staged.partial_files(), staged.has("a/B02.jp2")) == ({"a/B02.jp2": 5}, False)
    with staged.part("a/B02.jp2") as part:
        part.hash_into(hasher)
        part.append(b"6")
        assert part.size_bytes == 6
    staged.finish("a/B02.jp2", size_bytes=6)
    assert staged.read_bytes("a/B02.jp2") == b"123456"
    assert (staged.files(), staged.partial_files()) == ({"a/B02.jp2": 6}, {})
    assert hasher.hexdigest() == hashlib.sha3_256(b"12345").hexdigest()
    again = new_hasher("sha3_256")
    staged.hash_into("a/B02.jp2", again)
    assert again.hexdigest() == archive.tree.file_digest(staged.folder / "a/B02.jp2", "sha3_256")
    assert again.hexdigest() == hashlib.sha3_256(b"123456").hexdigest()


def test_empty_file_is_staged(archive: Archive) -> None:
    stage(archive, {"empty": b""})
    assert archive.stage(ID).files() == {"empty": 0}


def test_dropped_file_starts_again(archive: Archive) -> None:
    stage(archive, {"whole": b"1"})
    staged = archive.stage(ID)
    begin(staged, "part", b"2")
    staged.drop("whole")
    staged.drop("part")
    staged.drop("never there")
    assert staged.size_bytes() == 0


def test_staged_product_can_be_discarded_twice(archive: Archive) -> None:
    stage(archive, FILES)
    archive.discard_stage(ID)
    archive.discard_stage(ID)
    assert archive.staged_ids() == frozenset()


def test_full_disk_error_gives_advice_keeps_bytes(
    small_disk: Path,
) -> None:
    archive = Archive(small_disk)
    archive.create()
    staged = archive.stage(ID)
    with pytest.raises(ArchiveError) as caught:
        begin(staged, "B02.jp2", bytes(1024**2))
    assert str(caught.value) == (
        "writing B02.jp2: [Errno 28] No space left on device: "
        "the disk is full (bytes or inodes); free some space and the mirror continues"
    )
    assert caught.value.exit_code == 5
    assert 0 < staged.partial_files()["B02.jp2"] <= 256 * 1024


def test_disk_without_inodes_is_full(small_disk: Path) -> None:
    archive = Archive(small_disk)
    archive.create()
    with pytest.raises(ArchiveError, match=r"the disk is full \(bytes or inodes\)"):
        stage(archive, {f"f{n}": b"" for n in range(99)})


def test_a_read_only_disk_is_named(small_disk: Path) -> None:
    archive = Archive(small_disk)
    archive.create()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(ArchiveError, match="is mounted read-only; the system log has the reason"):
        stage(archive, FILES)


def test_free_bytes_are_those_of_the_disk(small_disk: Path) -> None:
    assert 0 < Archive(small_disk).free_bytes() <= 256 * 1024


def test_file_shorter_on_disk_is_not_finished(
    archive: Archive,
) -> None:
    staged = archive.stage(ID)
    begin(staged, "B02.jp2", b"12345")
    with pytest.raises(ArchiveError, match="has 5 B on disk after 6 B were written"):
        staged.finish("B02.jp2", size_bytes=6)
    assert not staged.has("B02.jp2")


def test_staged_bytes_are_countable_while_files_finish(archive: Archive) -> None:
    staged, stop = archive.stage(ID), threading.Event()

    def finish_many() -> None:
        try:
            for number in range(300):
                path = f"B{number:03d}.jp2"
                begin(staged, path, b"1")
                staged.finish(path, size_bytes=1)
        finally:
            stop.set()

    worker = threading.Thread(target=finish_many)
    worker.start()
    while not stop.is_set():
        staged.size_bytes()
    worker.join()
    assert len(staged.files()) == 300
