"""SIGKILL at each step of an adoption: the same command continues, and no byte is lost."""

from pathlib import Path

import pytest
from crashing import KILLED, CrashServer
from kit import Kit, lay_out, tiny

from s2mirror.sandbox import SandboxProduct

pytestmark = pytest.mark.long

PUBLISHED = r"^fsync .*/Sentinel-2/.*/\d\d$"
ROW = r"^sql UPDATE product SET state = 'archived'"
PLACED = {
    "before the staging folder": r"^mkdir .*/staging$",
    "before the names are synced": r"^fsync .*/staging/[^/]*\.SAFE$",
    "before the rename": r"^rename .*/staging/[^/]*\.SAFE$",
    "after the rename": PUBLISHED,
    "before the ledger knows it": r"^sql INSERT INTO product",
    "before its row is archived": ROW,
    "before the commit": r"^sql COMMIT",
}
COPIED = {
    "before a file is durable": r"^fsync .*_B02_10m\.jp2$",
    "after the rename": PUBLISHED,
    "before a chunk": r"^write .*_B03_10m\.jp2$",
    "before a whole file is finished": r"^rename .*/staging/.*_B03_10m\.jp2$",
}
MOVED = PLACED | {
    "before the note of the source": r"^sql INSERT INTO moved_source",
    "before a file of the source goes": r"^remove .*/old/.*\.jp2$",
    "before the manifest of the source goes": r"^remove .*/old/.*manifest\.safe$",
    "before a folder of the source goes": r"^rmdir .*/old/.*IMG_DATA",
    "before the source itself goes": r"^rmdir .*/old/[^/]*\.SAFE$",
    "before the note goes": r"^sql DELETE FROM moved_source",
}
IN_PLACE = {
    "before a folder is created": r"^mkdir .*/AUX_DATA$",
    "before its row is archived": ROW,
}
MOMENTS = [
    *(("--copy", name, pattern) for name, pattern in COPIED.items()),
    *(("--move", name, pattern) for name, pattern in MOVED.items()),
    *(("--in-place", name, pattern) for name, pattern in IN_PLACE.items()),
]


def old_tree(kit: Kit, mode: str) -> tuple[Path, list[SandboxProduct]]:
    """Return a folder with two products that the catalog lists too."""
    products = [tiny(20), tiny(22)]
    kit.sandbox.publish(products)
    old = (kit.archive if mode == "--in-place" else kit.folder) / "old"
    for product in products:
        lay_out(product, old)
    return old, products


def arguments(kit: Kit, old: Path, *mode: str) -> list[str]:
    return ["adopt", str(old), *mode, "--config", str(kit.config)]


@pytest.mark.parametrize(("mode", "name", "pattern"), MOMENTS)
def test_killed_adoption_is_continued(
    kit: Kit, server: CrashServer, mode: str, name: str, pattern: str
) -> None:
    kit.mirror().ledger.close()
    old, products = old_tree(kit, mode)
    command = arguments(kit, old, mode)
    code, steps = server.run(command, kit.secrets, kill_before=pattern)
    assert code == KILLED, (name, steps)
    assert server.run(command, kit.secrets)[0] == 0
    left = [path for path in old.rglob("*") if path.is_file()]
    assert bool(left) == (mode != "--move")
    if mode != "--in-place":
        kit.assert_same_bytes(*products)
    kit.assert_current(*products)
    assert kit.downloads() == []


@pytest.mark.parametrize("pattern", [ROW, MOVED["before a file of the source goes"]])
def test_sync_after_killed_move_downloads_no_image(
    kit: Kit, server: CrashServer, pattern: str
) -> None:
    old, products = old_tree(kit, "--move")
    code, _ = server.run(arguments(kit, old, "--move"), kit.secrets, kill_before=pattern)
    assert code == KILLED
    kit.cycle()
    kit.assert_same_bytes(*products)
    held = [key for key in kit.downloaded(".jp2") if "20260520" in key]
    assert held == [], "the first product was in the tree"
    assert server.run(arguments(kit, old, "--move"), kit.secrets)[0] == 0
    kit.assert_current(*products)
