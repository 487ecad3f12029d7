"""Adoption of hostile trees: nothing unproven enters, nothing is written outside the archive."""

import os
import shutil
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import Kit, lay_out, tiny

from s2mirror.errors import UsageError
from s2mirror.planning.faults import FaultKind
from s2mirror.sandbox import Sandbox
from s2mirror.service.adopt_candidates import AdoptRequest, AdoptResult
from s2mirror.service.adopting import adopt
from s2mirror.steps.adopt import AdoptOptions, Mode
from s2mirror.stop import StopFlag

PRODUCT = tiny(20)
SAFE = f"{PRODUCT.id}.SAFE"
PATHS = sorted(path for path in PRODUCT.files if not path.endswith("/"))
Damage = Callable[[Path, str], None]


def take(kit: Kit, *paths: Path, mode: Mode | None = None) -> AdoptResult:
    request = AdoptRequest(paths=paths, options=AdoptOptions(mode=mode), offline=True)
    mirror = kit.mirror()
    try:
        return adopt(mirror, request, StopFlag())
    finally:
        mirror.ledger.close()


def everything(folder: Path) -> dict[str, str]:
    """Return every entry of a tree: the bytes of files, the targets of links."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = path.read_bytes().hex() if path.is_file() else "other"
    return found


def link_out(safe: Path, path: str) -> None:
    (safe / path).unlink()
    (safe / path).symlink_to("/etc/passwd")


def pipe(safe: Path, path: str) -> None:
    (safe / path).unlink()
    os.mkfifo(safe / path)


def folder_instead(safe: Path, path: str) -> None:
    (safe / path).unlink()
    (safe / path).mkdir()


def flip(safe: Path, path: str) -> None:
    content = bytearray((safe / path).read_bytes())
    content[len(content) // 2] ^= 1
    (safe / path).write_bytes(content)


def cut(safe: Path, path: str) -> None:
    (safe / path).write_bytes((safe / path).read_bytes()[:-1])


def grow(safe: Path, path: str) -> None:
    (safe / path).write_bytes((safe / path).read_bytes() + b"\0")


def loop(safe: Path, path: str) -> None:
    (safe / Path(path).parent / "loop").symlink_to(safe)


def odd_name(safe: Path, path: str) -> None:
    Path(os.fsdecode(os.fsencode(safe / Path(path).parent) + b"/\xff\n$(x)")).touch()


def deep(safe: Path, path: str) -> None:  # noqa: ARG001 - as the others
    folder = safe.parent / Path(*["d"] * 40)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(safe, folder / safe.name)
    shutil.rmtree(safe)


def leave(safe: Path, path: str) -> None:  # noqa: ARG001 - as the others
    manifest = safe / "manifest.safe"
    manifest.write_bytes(manifest.read_bytes().replace(b'href="./', b'href="./../../'))


def nothing(safe: Path, path: str) -> None:
    """Damage nothing."""


def zip_of(safe: Path, *, keep_bytes: int = -1, names: str = "") -> None:
    target = safe.with_name(f"{safe.name}.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(safe.rglob("*")):
            if path.is_file():
                file.write(path, f"{names or safe.name}/{path.relative_to(safe)}")
    if keep_bytes >= 0:
        target.write_bytes(target.read_bytes()[:keep_bytes])
    shutil.rmtree(safe)


def cut_zip(safe: Path, path: str) -> None:
    zip_of(safe, keep_bytes=17 * len(path))


def zip_out(safe: Path, path: str) -> None:  # noqa: ARG001 - as the others
    zip_of(safe, names="../../out")


def damaged_zip(safe: Path, path: str) -> None:
    flip(safe, path)
    zip_of(safe)


DAMAGES: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        *(link_out, pipe, folder_instead, flip, cut, grow, loop, odd_name, deep, leave, nothing),
        *(cut_zip, zip_out, damaged_zip),
    )
}
HARMLESS = {"nothing", "odd_name"}


@pytest.mark.long
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    name=st.sampled_from(sorted(DAMAGES)),
    path=st.sampled_from([path for path in PATHS if path.endswith((".jp2", ".xml", ".safe"))]),
    mode=st.sampled_from([None, Mode.LINK, Mode.MOVE, Mode.IN_PLACE]),
)
def test_hostile_tree_never_enters(
    sandbox: Sandbox, name: str, path: str, mode: Mode | None
) -> None:
    with TemporaryDirectory(prefix="s2mirror-hostile-") as folder:
        kit = Kit(Path(folder), sandbox)
        kit.mirror().ledger.close()
        below = mode is Mode.IN_PLACE
        old = (kit.archive if below else kit.folder) / "old" / "pool"
        safe = lay_out(PRODUCT, old)
        DAMAGES[name](safe, path)
        before = everything(kit.folder / "old")
        result = take(kit, old, mode=mode)
        if result.adopted:
            # A manifest has no digest: any manifest that its product agrees with is right.
            assert name in HARMLESS or path == "manifest.safe"
        else:
            assert result.refused
            assert everything(kit.folder / "old") == before
        mirror = kit.mirror()
        with ThreadPoolExecutor(2) as pool:
            report = mirror.auditor(pool, mirror_runs=lambda: False).audit()
        mirror.ledger.close()
        strays = name == "odd_name" and below
        assert all(strays and fault.kind is FaultKind.STRAY for fault in report.faults)
        outside = {path.name for path in kit.folder.iterdir()}
        assert outside <= {"archive", "old", "s2mirror.toml", *ledger_files(kit)}
        staging = kit.archive / ".s2mirror" / "staging"
        assert not staging.exists() or not [*staging.iterdir()]


def ledger_files(kit: Kit) -> set[str]:
    return {path.name for path in kit.folder.glob("s2mirror.sqlite*")}


def test_zip_that_unpacks_beyond_its_manifest_is_refused(kit: Kit) -> None:
    safe = lay_out(PRODUCT, kit.folder / "old")
    band = next(safe.rglob("*_B02_10m.jp2"))
    band.write_bytes(b"\0" * 50_000_000)
    zip_of(safe)
    (refused,) = take(kit, kit.folder / "old").refused
    assert "another size" in refused.reason
    written = [path for path in kit.archive.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in written) < 1_000_000


@pytest.mark.parametrize("kind", ["link", "foreign", "many"])
def test_zip_with_impossible_members_is_refused(kit: Kit, kind: str) -> None:
    (kit.folder / "old").mkdir()
    with zipfile.ZipFile(kit.folder / "old" / f"{SAFE}.zip", "w") as file:
        if kind == "many":
            for number in range(5001):
                file.writestr(f"{SAFE}/{number}", b"")
        else:
            member = zipfile.ZipInfo(f"{SAFE}/a" if kind == "link" else "other/a")
            member.external_attr = (0o120777 if kind == "link" else 0o100644) << 16
            file.writestr(member, "/etc/passwd")
    (refused,) = take(kit, kit.folder / "old").refused
    wanted = {"link": "is a link", "foreign": "not in the folder", "many": "more than 5000"}
    assert wanted[kind] in refused.reason


def test_given_path_must_exist_outside_the_work_folder(kit: Kit) -> None:
    kit.mirror().ledger.close()
    with pytest.raises(UsageError, match="does not exist"):
        take(kit, kit.folder / "nothing")
    with pytest.raises(UsageError, match="in the work folder"):
        take(kit, kit.archive / ".s2mirror")


def test_link_given_as_path_is_followed(kit: Kit) -> None:
    lay_out(PRODUCT, kit.folder / "old")
    (kit.folder / "link").symlink_to(kit.folder / "old")
    assert list(take(kit, kit.folder / "link").adopted) == [PRODUCT.id]


def test_hard_links_across_file_systems_are_refused(kit: Kit) -> None:
    memory = Path("/dev/shm")  # noqa: S108 - another file system is what is wanted
    if not os.access(memory, os.W_OK) or memory.stat().st_dev == kit.folder.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with TemporaryDirectory(prefix="s2mirror-adopt-", dir=memory) as folder:
        safe = lay_out(PRODUCT, Path(folder))
        before = everything(safe)
        with pytest.raises(UsageError, match=r"file system .* use --copy or --move"):
            take(kit, safe, mode=Mode.LINK)
        assert everything(safe) == before
        assert list(take(kit, safe, mode=Mode.MOVE).adopted) == [PRODUCT.id]
        assert not safe.exists()
    kit.assert_same_bytes(PRODUCT)
