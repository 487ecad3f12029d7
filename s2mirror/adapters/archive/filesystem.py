"""File system kinds, durable writes, and error messages for the operating system's errors."""

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
    errno.ENOSPC: "the disk is full (bytes or inodes); free some space and the mirror continues",
    errno.EDQUOT: "this user's disk quota is used up; raise it or free some space",
    errno.EROFS: "the file system is mounted read-only; the system log has the reason",
    errno.EACCES: "this user has no permission; check owner and mode",
    errno.EPERM: "this user has no permission; check owner and mode",
    errno.EIO: "the disk reports an error; read the system log",
    errno.ENAMETOOLONG: "the path is too long for this file system; choose a shorter archive root",
}

_LOST: Final = frozenset({errno.ENOENT, errno.EIO, errno.EUCLEAN, errno.EBADMSG})
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS})
"""Errors of file systems without hard links, such as exFAT and some network shares."""

# Blanks, tabs, newlines and backslashes in mount points, see proc_pid_mountinfo(5).
_MOUNT_POINT: Final = 4
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the operating system's errors into ArchiveError, with advice."""
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "read the system log")
        kind = FileLost if error.errno in _LOST else ArchiveError
        raise kind(f"{what}: {error}: {advice}") from error


def no_follow(path: str, flags: int) -> int:
    """Open a file for ``open(…, opener=…)``, unless its last component is a link."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create *folder* and its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file at *path* atomically and durably."""
    write_whole(path, data)
    sync_folder(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """Replace the file at *path* atomically; durable once its folder is synced.

    Each thread has a draft of its own, so two may write the same file at once.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{DRAFT_SUFFIX}")
    try:
        with open(draft, "wb", opener=no_follow) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink()
        raise


def link_or_copy(source: Path, target: Path) -> None:
    """Make *target* a hard link to *source*, or its copy."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _copy_durably(source, target)


def _copy_durably(source: Path, target: Path) -> None:
    draft = target.with_name(target.name + ".new")
    shutil.copyfile(source, draft)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)


def filesystem_kind(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """Return the kind of the file system of *path*, existing or not, such as ``ext4`` or ``nfs4``.

    ``unknown`` where the system has no mount table.
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
