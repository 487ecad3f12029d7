"""One mirror per ledger: a lock that lives exactly as long as its process."""

import errno
import fcntl
import os
import stat
import threading
import time
from pathlib import Path
from typing import Final, Self

from s2mirror.errors import AlreadyRunning, LedgerError

_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.05
_OWNER_ONLY: Final = 0o600
_DAEMON: Final = "daemon"
_KERNEL_LOCKS: Final = Path("/proc/locks")


class InstanceLock:
    """Holds ``<ledger>.lock`` while the ``with`` block runs; a killed process frees it at once.

    Raises AlreadyRunning, with the process that holds it, and LedgerError for a lock file that
    cannot be this lock's: a link, another kind of file, or another user's.
    """

    def __init__(self, ledger_path: Path, *, takes_requests: bool = False) -> None:
        self._path = _lock_path(ledger_path)
        self._role = _DAEMON if takes_requests else "command"
        self._descriptor = -1

    def __enter__(self) -> Self:
        self._descriptor = _open(self._path)
        try:
            self._take()
        except BaseException:
            os.close(self._descriptor)
            raise
        return self

    def _take(self) -> None:
        _require_own_file(self._descriptor, self._path)
        try:
            _lock_soon(self._descriptor)
        except OSError as error:
            raise AlreadyRunning(
                f"another s2mirror (process {_holder(self._descriptor) or 'unknown'}) uses this "
                "ledger; stop it first, or leave the work to it: `s2mirror status` shows its "
                "progress"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()} {self._role}\n".encode(), 0)

    def __exit__(self, *_error: object) -> None:
        # The file is kept: after a removal, two processes could lock two files of one name.
        os.close(self._descriptor)


def holder_pid(ledger_path: Path) -> int | None:
    """Return the process that holds the lock of a ledger; None if none does.

    It also works for users who may not open the lock file.
    """
    path = _lock_path(ledger_path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except PermissionError:
        return _pid_of_unreadable(path)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _holder(descriptor)
    else:
        return None
    finally:
        os.close(descriptor)


def daemon_pid(ledger_path: Path) -> int | None:
    """Return the process that holds the lock, if it is a daemon, which takes requests."""
    pid = holder_pid(ledger_path)
    try:
        role = _lock_path(ledger_path).read_text("utf-8").strip().partition(" ")[2]
    except (OSError, ValueError):
        return None
    return pid if role == _DAEMON else None


class NamedLocks:
    """Locks between the threads of one process, by name."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def __call__(self, name: str) -> threading.Lock:
        """Return the lock of a name, for a ``with`` statement."""
        with self._lock:
            return self._locks.setdefault(name, threading.Lock())


def _lock_path(ledger_path: Path) -> Path:
    return ledger_path.with_name(ledger_path.name + ".lock")


def _open(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, _OWNER_ONLY)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LedgerError(
                f"the lock file {path} is a symbolic link, which s2mirror does not follow; find "
                "out who made it, and remove it"
            ) from error
        raise LedgerError(
            f"cannot open the lock file {path}: {error.strerror}; "
            "check that its folder exists and that this user may write there"
        ) from error


def _require_own_file(descriptor: int, path: Path) -> None:
    """Raise LedgerError unless the file is a regular lock file that only its owner may use."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise LedgerError(
            f"the lock file {path} is not a plain file of one name; s2mirror does not write to it: "
            "find out who made it, and remove it"
        )
    try:
        # Others could lock a file that they may open, and never release it.
        os.fchmod(descriptor, _OWNER_ONLY)
    except OSError as error:
        raise LedgerError(
            f"the lock file {path} belongs to another user (number {found.st_uid}); run s2mirror "
            "as that user, or remove the file while no s2mirror runs"
        ) from error


def _lock_soon(descriptor: int) -> None:
    """Lock now, or as soon as a ``status`` command has released the lock."""
    for _ in range(_TRIES):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_PAUSE_SECONDS)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> int | None:
    """Return the process that locks a file, according to the kernel, else to the file itself."""
    if pid := _pid_in_kernel(os.fstat(descriptor)):
        return pid
    words = os.pread(descriptor, 32, 0).split()
    return int(words[0]) if words and words[0].isdigit() else None


def _pid_of_unreadable(path: Path) -> int | None:
    try:
        return _pid_in_kernel(path.lstat())
    except OSError:
        return None


def _pid_in_kernel(file: os.stat_result) -> int | None:
    """Return the process that the kernel lists with a lock of this file; None if there is none.

    The text in the file is written after the lock is taken, and remains when it is freed.
    """
    name = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
    try:
        lines = _KERNEL_LOCKS.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return None
    pids = [int(line.split()[4]) for line in lines if " FLOCK " in line and f" {name} " in line]
    return next((pid for pid in pids if pid > 0), None)
