"""The token file that all commands share: readable by its owner alone, one writer at a time."""

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
    """One token in a file of mode 0600, beside it a lock. Nothing in it names client or secret."""

    def __init__(self, path: Path, *, token_url: str, client_id: str) -> None:
        self._path = path
        self._whose = hashlib.sha256(f"{token_url}\0{client_id}".encode()).hexdigest()

    @contextmanager
    def locked(self, stop: StopFlag, patience_seconds: float) -> Iterator[None]:
        """Hold the lock, waiting while another process fetches a token.

        Raises TokenUnavailable if that takes too long, LedgerError if the folder is closed to us.
        """
        path = self._path.with_name(self._path.name + ".lock")
        try:
            lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._closed(error) from error
        try:
            _wait(lock, stop, time.monotonic() + patience_seconds)
            yield
        finally:
            os.close(lock)

    def read(self) -> Token | None:
        """Return the token in the file; None if there is none of this client that can be trusted.

        A file that others may read or write, a link or a damaged one is as good as none.
        """
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            facts = os.fstat(descriptor)
            if facts.st_uid != os.geteuid() or facts.st_mode & _OTHERS:
                return None
            return self._token(file.read(_MAX_BYTES))

    def _token(self, document: bytes) -> Token | None:
        try:
            said = json.loads(document)
            if said["whose"] != self._whose:
                return None
            times = {name: parse_utc(str(said[name])) for name in ("asked_at", "expires_at")}
            return Token(text=str(said["access_token"]), **times)
        except (ValueError, KeyError, TypeError):
            return None

    def write(self, token: Token) -> None:
        """Replace the file in one step. Only to be called while :meth:`locked`."""
        draft = self._path.with_name(self._path.name + ".new")
        said = {
            "whose": self._whose,
            "access_token": token.text,
            "asked_at": _text(token.asked_at),
            "expires_at": _text(token.expires_at),
        }
        try:
            with suppress(FileNotFoundError):
                draft.unlink()
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(said, file)
            draft.replace(self._path)
        except OSError as error:
            raise self._closed(error) from error

    def _closed(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"cannot keep the OAuth token in {self._path}: {error.strerror}; "
            "check that this user may write beside the ledger"
        )


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _wait(lock: int, stop: StopFlag, until: float) -> None:
    while True:
        stop.raise_if_set()
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.monotonic() > until:
            raise TokenUnavailable(
                "another s2mirror has been asking for a token for minutes; will be tried again. "
                "`s2mirror status` names the process"
            )
        stop.wait(_PAUSE_SECONDS)
