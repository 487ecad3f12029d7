"""File system kinds, durable writes, and error messages for the operating system's errors."""

import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from s2mirror.errors import ArchiveError, FileLost, PathRefused

NETWORK_KINDS: Final = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "beegfs"}
    | {"fuse.sshfs", "fuse.s3fs", "fuse.rclone", "fuse.glusterfs", "davfs", "fuse.davfs"}
)
DRAFT_SUFFIX: Final = ".new"
_RETRY_SECONDS: Final = 600.0
_LOOK: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
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
NO_HARD_LINKS: Final = frozenset(
    {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS}
)
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


def status_of(above: int | None, path: Path) -> os.stat_result | None:
    """Return the status of *path*, which is in the folder *above* or, without one, a root."""
    with _seeing(path), suppress(FileNotFoundError, NotADirectoryError):
        if above is None:
            return os.stat(path)  # noqa: PTH116 - as below
        return os.stat(path.name, dir_fd=above, follow_symlinks=False)
    return None


def open_folder(above: int | None, folder: Path) -> int | None:
    """Return a descriptor of *folder*; None if it does not exist, NotADirectoryError if no folder.

    It needs no permission to read the folder.
    """
    with _seeing(folder), suppress(FileNotFoundError):
        if above is None:
            return os.open(folder, _LOOK)
        return os.open(folder.name, _LOOK | os.O_NOFOLLOW, dir_fd=above)
    return None


@contextmanager
def _seeing(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise
    except PermissionError as error:
        raise refused(
            f"{path} cannot be seen: {error.strerror}; check the owner and mode of the folders "
            "above it. It counts as existing until it can be seen"
        ) from error
    except OSError:
        with explained(f"reading the status of {path}"):
            raise


def entries_of(folder: int) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name. The kind of each entry is read now."""
    here = os.open(".", _LIST, dir_fd=folder)
    try:
        with os.scandir(here) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            entry.is_dir(follow_symlinks=False)
        return entries
    finally:
        os.close(here)


def sync(folder: int) -> None:
    """Make the names in a folder survive a power cut."""
    here = os.open(".", _LIST, dir_fd=folder)
    try:
        os.fsync(here)
    finally:
        os.close(here)


def refused(text: str) -> PathRefused:
    """Return the error for a path that is not used; its product is tried again later."""
    return PathRefused(text, retry_after_seconds=_RETRY_SECONDS)


def make_folder(folder: Path) -> None:
    """Create *folder* and its parents, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    above = os.open(folder.parent, _LIST)
    try:
        os.fsync(above)
    finally:
        os.close(above)


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
