"""The token file that all commands share: readable by its owner only, one writer at a time."""

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from s2mirror.adapters.tokens.grant import Token
from s2mirror.errors import LedgerError, TokenUnavailable
from s2mirror.stop import StopFlag
from s2mirror.times import parse_utc

_PAUSE_SECONDS: Final = 0.05
_MAX_BYTES: Final = 64 * 1024
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class TokenCache:
    """One token in a file of mode 0600, with a lock file beside it; neither names the client."""

    def __init__(self, path: Path, *, token_url: str, client_id: str) -> None:
        self._path = path
        self._owner = hashlib.sha256(f"{token_url}\0{client_id}".encode()).hexdigest()

    @contextmanager
    def locked(self, stop: StopFlag, timeout_seconds: float) -> Iterator[None]:
        """Hold the lock, waiting while another process fetches a token.

        Raises TokenUnavailable if that takes too long, LedgerError if the folder is not writable.
        """
        path = self._path.with_name(self._path.name + ".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            _wait(lock, stop, time.monotonic() + timeout_seconds)
            yield
        finally:
            os.close(lock)

    def read(self) -> Token | None:
        """Return the token in the file; None if it has no token of this client that can be trusted.

        A file that others may read or write, a link and a damaged file count as no token.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if status.st_uid != os.geteuid() or status.st_mode & _OTHERS:
                return None
            return self._token(file.read(_MAX_BYTES))

    def _token(self, document: bytes) -> Token | None:
        try:
            found = json.loads(document)
            if found["owner"] != self._owner:
                return None
            times = {name: parse_utc(str(found[name])) for name in ("requested_at", "expires_at")}
            return Token(text=str(found["access_token"]), **times)
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, token: Token) -> None:
        """Replace the file in one step. The caller holds the lock."""
        draft = self._path.with_name(self._path.name + ".new")
        document = {
            "owner": self._owner,
            "access_token": token.text,
            "requested_at": _text(token.requested_at),
            "expires_at": _text(token.expires_at),
        }
        try:
            with suppress(FileNotFoundError):
                draft.unlink()
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file)
            draft.replace(self._path)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"storing the OAuth token in {self._path}: {error.strerror}; "
            "make the ledger's folder writable for this user"
        )


def _text(instant: datetime) -> str:
    return instant.isoformat(timespec="microseconds")


def _wait(lock: int, stop: StopFlag, until: float) -> None:
    while True:
        stop.raise_if_set()
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.monotonic() > until:
            raise TokenUnavailable(
                "waiting for the OAuth token: another s2mirror process has been requesting one for "
                "minutes; will be tried again. `s2mirror status` names the process"
            )
        stop.wait(_PAUSE_SECONDS)
