"""No operation of the archive follows a link, at any place and with any target."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from builders import ID, NOW
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import wait_until
from unprivileged import unreadable

from s2mirror.adapters.archive import Archive, ItemPath, StaticCatalog, Tree
from s2mirror.adapters.archive.static_catalog import Partition
from s2mirror.errors import ArchiveError, MirrorError, PathRefused

PATH = f"T32TMT/2026/{ID}.SAFE"
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - a file system
"""A folder in memory for files that are synced often: no test here needs a real disk."""
TRASHED = f".s2mirror/trash/20200101T000000Z_{ID}.SAFE"
PLACES = [
    "T32TMT",
    "T32TMT/2026",
    PATH,
    f"{PATH}/GRANULE",
    f"{PATH}.deleted",
    f"{PATH}.processed",
    ".s2mirror",
    ".s2mirror/archive.json",
    ".s2mirror/staging",
    f".s2mirror/staging/{ID}.SAFE",
    f".s2mirror/staging/{ID}.SAFE/GRANULE",
    f".s2mirror/staging/{ID}.part",
    ".s2mirror/quarantine",
    f".s2mirror/quarantine/{ID}.SAFE",
    ".s2mirror/trash",
    TRASHED,
    "catalog",
]


def begin(archive: Archive) -> None:
    with archive.stage(ID).part("GRANULE/B02.jp2") as part:
        part.append(b"new")


OPERATIONS: dict[str, Callable[[Archive], object]] = {
    "archive_id": lambda a: a.archive_id(),
    "create": lambda a: a.create(),
    "holds": lambda a: a.holds(PATH),
    "lacks": lambda a: a.lacks(PATH),
    "begin": begin,
    "finish": lambda a: a.stage(ID).finish("GRANULE/B02.jp2", size_bytes=3),
    "drop": lambda a: a.stage(ID).drop("GRANULE/B02.jp2"),
    "folders": lambda a: a.stage(ID).make_folders(["GRANULE/L2A", "HTML"]),
    "sync": lambda a: a.stage(ID).sync(),
    "discard stage": lambda a: a.discard_stage(ID),
    "publish": lambda a: a.publish(ID, PATH),
    "quarantine": lambda a: a.quarantine(ID),
    "quarantine held": lambda a: a.quarantine_archived(ID, PATH),
    "reuse": lambda a: a.reuse(ID, PATH),
    "stage held": lambda a: a.stage_held_files(ID, PATH, ["GRANULE/B02.jp2", "manifest.safe"]),
    "discard": lambda a: a.discard(ID, PATH, now=NOW),
    "empty trash": lambda a: a.empty_trash(a.trash()),
    "tombstone": lambda a: a.put_tombstone(PATH, "gone"),
    "drop marker": lambda a: a.drop_processed_marker(PATH, ".processed"),
    "put file": lambda a: a.put_file(f"{PATH}/GRANULE/x.png", b"new"),
    "foreign": lambda a: a.foreign_entries(),
    "paths": lambda a: list(a.product_paths()),
    "catalog lists": lambda a: catalog_of(a).rewrite_lists(),
    "catalog item": lambda a: catalog_of(a).update({}, [ITEM]),
    "catalog table": lambda a: write_table(catalog_of(a)),
}
ITEM = ItemPath(
    partition=Partition(collection="2026", month=f"{ID}.SAFE", tile="GRANULE"), name="x"
)


def catalog_of(archive: Archive) -> StaticCatalog:
    return StaticCatalog(archive.root / "catalog", archive_root=archive.root)


def write_table(static_catalog: StaticCatalog) -> None:
    with static_catalog.replacing_geoparquet("2026") as file:
        file.write(b"new")


def fill(folder: Path) -> None:
    """Create a folder that looks like a product, the work folder and the tree at once."""
    for name in ("GRANULE/B02.jp2", "manifest.safe", f"2026/{ID}.SAFE/manifest.safe"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"old")
    for name in (f"staging/{ID}.SAFE", f"staging/{ID}.part", f"{ID}.SAFE", f"{ID}.part", "trash"):
        (folder / name).mkdir(parents=True)
    (folder / "archive.json").write_text('{"archive_id": "theirs"}')


def contents(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return the contents of a folder: kind, number of names and bytes by path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, status.st_ino, content)
    return found


def plant(place: Path, target: Path) -> None:
    """Replace *place* by a link."""
    with suppress(FileExistsError, NotADirectoryError):
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() or place.is_symlink():
            place.rename(place.with_name(f"{place.name}-aside"))
        place.symlink_to(target)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(st.sampled_from(PLACES), min_size=1, max_size=3, unique=True),
    to_file=st.booleans(),
    names=st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=6),
)
def test_nothing_behind_a_link_is_touched(
    *, places: list[str], to_file: bool, names: list[str]
) -> None:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        archive, outside = Archive(Path(folder, "archive")), Path(folder, "outside")
        archive.create()
        for path in (PATH, f".s2mirror/staging/{ID}.SAFE", TRASHED):
            (archive.root / path / "GRANULE").mkdir(parents=True)
            (archive.root / path / "manifest.safe").write_bytes(b"mine")
        fill(outside)
        for place in places:
            plant(archive.root / place, outside / "manifest.safe" if to_file else outside)
        before = contents(outside)
        for name in names:
            with suppress(MirrorError):
                OPERATIONS[name](archive)
        assert contents(outside) == before


def test_a_refused_link_is_named_with_advice(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    archive.create()
    link = archive.root / "T32TMT"
    link.symlink_to(tmp_path)
    with pytest.raises(PathRefused) as caught:
        archive.discard(ID, PATH, now=NOW)
    assert str(caught.value) == (
        f"{link} is a link; the mirror follows no link inside {archive.root}, and never changes "
        "its target. Remove the link, or move the folder here in its place"
    )
    assert not caught.value.pauses_everything


def test_the_root_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "archive").symlink_to(tmp_path / "disk")
    archive = Archive(tmp_path / "archive")
    archive.create()
    begin(archive)
    archive.stage(ID).finish("GRANULE/B02.jp2", size_bytes=3)
    archive.publish(ID, PATH)
    assert (tmp_path / "disk" / PATH / "GRANULE/B02.jp2").read_bytes() == b"new"


def test_links_inside_a_removed_folder_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    fill(outside)
    folder = tmp_path / "root/folder"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(outside)
    before = contents(outside)
    Tree(tmp_path / "root").remove_tree(folder)
    assert (folder.exists(), contents(outside)) == (False, before)


READS: dict[str, Callable[[Archive], object]] = {
    "stage": lambda a: a.stage(ID).files(),
    "staged file": lambda a: a.stage(ID).read_bytes("GRANULE/B02.jp2"),
    "archive_id": lambda a: a.archive_id(),
    "trash": lambda a: a.trash(),
    "product": lambda a: a.files_of(PATH).paths(),
    "product file": lambda a: a.files_of(PATH).open("GRANULE/B02.jp2"),
    "catalog": lambda a: list(catalog_of(a).item_paths()),
    "catalog item": lambda a: catalog_of(a).read(ITEM),
}


@pytest.mark.parametrize(
    ("place", "read"),
    [
        (".s2mirror/staging", "stage"),
        (f".s2mirror/staging/{ID}.SAFE/GRANULE", "stage"),
        (f".s2mirror/staging/{ID}.SAFE/GRANULE/B02.jp2", "staged file"),
        (".s2mirror/archive.json", "archive_id"),
        (".s2mirror/trash", "trash"),
        ("T32TMT", "product"),
        (f"{PATH}/GRANULE", "product"),
        (PATH, "product file"),
        (f"{PATH}/GRANULE/B02.jp2", "product file"),
        ("catalog", "catalog"),
        (f"catalog/2026/{ID}.SAFE", "catalog item"),
    ],
)
def test_nothing_is_read_through_a_link(tmp_path: Path, place: str, read: str) -> None:
    archive = Archive(tmp_path / "archive")
    archive.create()
    for folder in (PATH, f".s2mirror/staging/{ID}.SAFE", f"catalog/2026/{ID}.SAFE"):
        (archive.root / folder / "GRANULE").mkdir(parents=True)
        (archive.root / folder / "GRANULE/B02.jp2").write_bytes(b"mine")
    fill(tmp_path / "outside")
    link = archive.root / place
    plant(link, tmp_path / "outside")
    with pytest.raises(PathRefused, match=f"^{link} is a link; "):
        READS[read](archive)


def test_pipe_in_place_of_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.safe")
    with pytest.raises(PathRefused, match="is not a regular file; move it elsewhere"):
        Tree(tmp_path).read_bytes(tmp_path / "manifest.safe")


# Exchanges two names without end: renameat2(2) with RENAME_EXCHANGE, relative to AT_FDCWD.
SWAP = """
import ctypes, sys
here, exchange, names = -100, 2, [name.encode() for name in sys.argv[1:]]
swap = ctypes.CDLL(None).renameat2
while swap(here, names[0], here, names[1], exchange) == 0: pass
"""


@pytest.mark.long
def test_link_appearing_during_operations_leads_nowhere(tmp_path: Path) -> None:
    outside, tree = tmp_path / "outside", Tree(tmp_path / "root")
    place, link = (tmp_path / "root" / name for name in ("place", "link"))
    fill(outside)
    place.mkdir(parents=True)
    link.symlink_to(outside)
    before = contents(outside)
    swap = subprocess.Popen([sys.executable, "-IS", "-c", SWAP, str(place), str(link)])
    try:
        wait_until(place.is_symlink, "swapped")
        for _ in range(300):
            for act in (
                lambda: tree.write_whole(place / "manifest.safe", b"new"),
                lambda: tree.make_folder(place / "new", durable=False),
                lambda: tree.remove_tree(place / "2026"),
                lambda: tree.remove_file(place / "manifest.safe"),
            ):
                with suppress(MirrorError, FileNotFoundError):
                    act()
    finally:
        swap.kill()
        swap.wait()
    assert contents(outside) == before


def test_what_cannot_be_seen_is_not_gone(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    archive.create()
    (archive.root / PATH).mkdir(parents=True)
    with unreadable(archive.root / "T32TMT"):
        assert not archive.lacks(PATH)
        assert not archive.holds(PATH)
        with pytest.raises(PathRefused, match="cannot be seen: Permission denied; check the owner"):
            archive.check_movable(ID, PATH)
        errors: list[OSError] = []
        assert list(archive.product_paths(errors.append)) == []
        assert [Path(error.filename).name for error in errors] == ["T32TMT"]
    assert archive.holds(PATH)
    assert archive.lacks("T32TMT/other.SAFE")


@pytest.mark.parametrize(
    "path",
    [
        "T32TMT",
        "T32TMT/2026",
        f"T32TMT/OTHER.SAFE/{ID}.SAFE",
        "T32TMT/2026/OTHER.SAFE",
        f".s2mirror/staging/{ID}.SAFE",
        ".s2mirror",
        f"catalog/{ID}.SAFE",
        "catalog",
    ],
)
def test_only_a_products_own_folder_is_moved(tmp_path: Path, path: str) -> None:
    archive = Archive(tmp_path / "archive")
    archive.create()
    (archive.root / path).mkdir(parents=True, exist_ok=True)
    before = contents(archive.root)
    for move in (
        lambda: archive.discard(ID, path, now=NOW),
        lambda: archive.quarantine_archived(ID, path),
        lambda: archive.reuse(ID, path),
        lambda: archive.publish(ID, path),
    ):
        with pytest.raises(PathRefused, match=r"the ledger has a path for .* that cannot be right"):
            move()
    assert contents(archive.root) == before


@pytest.mark.parametrize("place", [".s2mirror/staging", ".s2mirror/quarantine", ".s2mirror/trash"])
def test_foreign_entries_are_reported_and_kept(tmp_path: Path, place: str) -> None:
    archive = Archive(tmp_path / "archive")
    archive.create()
    folder = archive.root / place
    (folder / "@eaDir").mkdir(parents=True)
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / f"{ID}.SAFE").symlink_to(tmp_path)
    (folder / f"20200101T000000Z_{ID}.SAFE").write_bytes(b"plain")
    found = {Path(entry.path).name for entry in archive.foreign_entries()}
    assert found == {path.name for path in folder.iterdir()}
    before = contents(folder)
    assert archive.staged_ids() == frozenset()
    archive.empty_trash([path.name for path in folder.iterdir()])
    archive.discard_stage(ID)
    assert contents(folder) == before


def test_file_in_place_of_folder_is_refused(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    archive.create()
    begin(archive)
    archive.stage(ID).finish("GRANULE/B02.jp2", size_bytes=3)
    (archive.root / "T32TMT").write_bytes(b"x")
    with pytest.raises(PathRefused, match="is in the place of a folder that the mirror needs"):
        archive.publish(ID, PATH)
    with pytest.raises(ArchiveError):
        archive.put_file("T32TMT/x.png", b"new")
    assert archive.stage(ID).has("GRANULE/B02.jp2")
