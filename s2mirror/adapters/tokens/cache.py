"""A token, and the file in which all commands share it: private, with one writer at a time."""

import base64
import fcntl
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from s2mirror.errors import LedgerError, TokenUnavailable
from s2mirror.json_parser import parse_object
from s2mirror.stop import StopFlag
from s2mirror.times import parse_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token, with its lifetime measured by this machine's clock."""

    text: str
    requested_at: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        """Show the expiry time, never the token."""
        return f"Token(expires_at={self.expires_at})"

    def is_fresh(self, now: datetime, early: timedelta) -> bool:
        """Return whether it may be used: not within *early* of its expiry, or half its lifetime.

        A request time in the future means that the clock was set back: the expiry is unknown.
        """
        margin = min(early, (self.expires_at - self.requested_at) / 2)
        return self.requested_at <= now < self.expires_at - margin


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
            found = parse_object(document)
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


ASSUMED_LIFETIME: Final = timedelta(seconds=60)
"""For a token without an expiry time."""
_FAR: Final = timedelta(days=365)
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,16384}")


def token_from(response: Any, requested_at: datetime) -> Token:  # noqa: ANN401 - parsed JSON
    """Return the token in an endpoint's response. Raises ValueError if there is none.

    The lifetime counts from the request, by this machine's clock. The server's clock may differ, so
    the JWT's ``exp`` is measured from its own ``iat``. The shorter of the two lifetimes is used.
    """
    text = response.get("access_token") if isinstance(response, dict) else None
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise ValueError("it has no access_token")
    lifetimes = [
        lifetime
        for lifetime in _lifetimes(response, claims_of(text), requested_at)
        if lifetime > timedelta()
    ]
    lifetime = min([*lifetimes, _FAR]) if lifetimes else ASSUMED_LIFETIME
    return Token(text=text, requested_at=requested_at, expires_at=requested_at + lifetime)


def claims_of(text: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified: they only decide when the token is renewed."""
    try:
        body = text.split(".")[1]
        return parse_object(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}


def _lifetimes(
    response: dict[str, Any], claims: dict[str, Any], requested_at: datetime
) -> Iterator[timedelta]:
    expires_in = _number(response.get("expires_in"))
    if expires_in is not None:
        yield timedelta(seconds=expires_in)
    end, begin = _number(claims.get("exp")), _number(claims.get("iat"))
    if end is not None and begin is not None:
        yield timedelta(seconds=min(end - begin, _FAR.total_seconds()))
    elif end is not None and expires_in is None:
        yield datetime.fromtimestamp(end, UTC) - requested_at


def _number(value: object) -> float | None:
    """Return *value* as a number of seconds, if it is one that datetime accepts."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e10 else None  # type: ignore[operator,arg-type]  # noqa: PLR2004 - see is_number; the year 2286
