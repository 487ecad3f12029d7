"""What a file system is, how to make its changes last, and what its errors mean."""

import errno
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from s2mirror.errors import ArchiveError, FileLost

NETWORK_KINDS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "davfs", "fuse.davfs"}
)
DRAFT_SUFFIX: Final = ".new"
_ADVICE: Final[Mapping[int, str]] = {
    errno.ENOSPC: "the disk is full (bytes or inodes); make room, the mirror goes on by itself",
    errno.EDQUOT: "this user's disk quota is used up; raise it or make room",
    errno.EROFS: "the file system is mounted read-only; look into the system log for why",
    errno.EACCES: "this user may not write there; check owner and mode",
    errno.EPERM: "this user may not do that there; check owner and mode",
    errno.EIO: "the disk reports an error; look into the system log",
    errno.ENAMETOOLONG: "the path is too long for this file system; choose a shorter archive root",
}

_LOST: Final = frozenset({errno.ENOENT, errno.EIO, errno.EUCLEAN, errno.EBADMSG})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
"""What file systems without hard links answer, such as exFAT and some network shares."""

# Blanks, tabs, newlines and backslashes in mount points, see proc_pid_mountinfo(5).
_MOUNT_POINT: Final = 4
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the operating system's errors into ArchiveError, with what to do."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "look into the system log")
        kind = FileLost if error.errno in _LOST else ArchiveError
        raise kind(f"{what}: {error}: {advice}") from error


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* last through a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make *folder* and its parents, and make their names last."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def make_below(anchor: Path, folder: Path) -> None:
    """Make *folder* and its parents below *anchor*; *anchor* itself is never made.

    It stands on the archive's disk: where it is missing, the disk is not mounted, and what would
    be made would lie under the mount point. Raises ArchiveError then.
    """
    if folder.is_dir():
        return
    if not anchor.is_dir():
        raise ArchiveError(
            f"{anchor} is not there: is the archive's disk mounted? Nothing is written until it is"
        )
    for missing in reversed([folder, *folder.parents]):
        if missing.is_relative_to(anchor) and missing != anchor:
            missing.mkdir(exist_ok=True)


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at *path* in one step that lasts."""
    write_whole(path, data)
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at *path* in one step, which lasts once its folder is synced.

    Whoever else writes the same file just now has a draft of its own.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{DRAFT_SUFFIX}")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def lend_file(source: Path, target: Path) -> bool:
    """Let *target* be the same file as *source*, or its copy; tell whether it is.

    A target that is there already stays.
    """
    if source.is_symlink() or not source.is_file() or target.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy_durably(source, target)
    return True


def _copy_durably(source: Path, target: Path) -> None:
    draft = target.with_name(target.name + ".new")
    shutil.copyfile(source, draft)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)


def filesystem_kind(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of file system that *path* is or would be on, such as ``ext4`` or ``nfs4``.

    ``unknown`` where the system does not tell.
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    target = path.resolve()
    best, kind = -1, "unknown"
    for line in lines:
        left, _, right = line.partition(" - ")
        if not right or len(left.split()) <= _MOUNT_POINT:
            continue
        point = Path(_OCTAL.sub(lambda found: chr(int(found[1], 8)), left.split()[_MOUNT_POINT]))
        if target.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), right.split()[0]
    return kind
