"""One mirror per ledger: a lock that lives exactly as long as its process."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from s2mirror.errors import AlreadyRunning, LedgerError

_TRIES: Final = 4
_PAUSE_SECONDS: Final = 0.05


class InstanceLock:
    """Holds ``<ledger>.lock`` while the ``with`` block runs; a killed holder lets go at once.

    Raises AlreadyRunning, naming the holder's process, if another one has it.
    """

    def __init__(self, ledger_path: Path) -> None:
        self._path = ledger_path.with_name(ledger_path.name + ".lock")
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LedgerError(
                f"cannot open the lock file {self._path}: {error.strerror}; "
                "check that its folder exists and that this user may write there"
            ) from error
        self._take()
        return self

    def _take(self) -> None:
        try:
            _lock_soon(self._descriptor)
        except OSError as error:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise AlreadyRunning(
                f"another s2mirror (process {holder or 'unknown'}) works with this ledger; "
                "stop it first, or let it do the work: `s2mirror status` shows how far it is"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def __exit__(self, *_error: object) -> None:
        # The file stays: removing it would let two processes lock two files of one name.
        os.close(self._descriptor)


def _lock_soon(descriptor: int) -> None:
    """Lock at once, or as soon as a ``status`` that just looked has let go."""
    for _ in range(_TRIES):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_PAUSE_SECONDS)
    return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def holder_pid(ledger_path: Path) -> int | None:
    """Return the process that holds the lock of a ledger; None if none does."""
    path = ledger_path.with_name(ledger_path.name + ".lock")
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = file.read(32).strip()
                return int(text) if text.isdigit() else None
    except OSError:
        return None
    return None
