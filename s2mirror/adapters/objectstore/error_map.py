"""The one table from what a store answers, or how a connection breaks, to the mirror's errors."""

import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ProxyConnectionError,
    SSLError,
)
from urllib3.exceptions import HTTPError

from s2mirror.errors import (
    CredentialError,
    KeyRefused,
    MirrorError,
    QuotaError,
    StoreBusy,
    StoreChanged,
    StoreError,
    StoreUnavailable,
    StoreUnreachable,
)

Row = tuple[type[MirrorError], str]
"""What an answer is taken for, and what a person is told to do about it."""

_AGAIN: Final = "will be tried again"
_NEW_KEY: Final = (
    "the key pair is wrong or has expired; make a new one at "
    "https://eodata-s3keysmanager.dataspace.copernicus.eu, give it to the mirror, and reload it"
)
_KEY: Final = (KeyRefused, _NEW_KEY)
_BUSY: Final = (StoreBusy, "it asks for fewer requests; will be tried again")
_TROUBLE: Final = (StoreUnavailable, _AGAIN)

BY_CODE: Final[Mapping[str, Row]] = {
    "InvalidAccessKeyId": (KeyRefused, f"{_NEW_KEY}. A key made just now may need a minute"),
    "SignatureDoesNotMatch": _KEY,
    "ExpiredToken": _KEY,
    "InvalidToken": _KEY,
    "UserSuspended": (KeyRefused, "the account is suspended; ask the provider, or use another key"),
    "RequestTimeTooSkewed": (
        CredentialError,
        "this machine's clock is wrong; set it; work goes on by itself",
    ),
    "AuthorizationHeaderMalformed": (CredentialError, "check store.region"),
    "QuotaExceeded": (
        QuotaError,
        "the account's download quota is used up; downloads resume when quota is available again",
    ),
    "BandwidthLimitExceeded": _BUSY,
    "SlowDown": _BUSY,
    "TooManyRequests": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "Throttling": _BUSY,
    "RequestTimeout": _TROUBLE,
    "InternalError": _TROUBLE,
    "NoSuchBucket": (StoreUnreachable, "check store.bucket and store.endpoint"),
}
"""An error's code says more than its status, so it is looked up first."""
BY_STATUS: Final[Mapping[int, Row]] = {
    401: _KEY,
    404: (StoreChanged, "it is gone since it was listed; will be listed anew"),
    408: _TROUBLE,
    412: (StoreChanged, "it changed since it was listed; will be listed anew"),
    429: _BUSY,
    500: _TROUBLE,
    502: _TROUBLE,
    503: _TROUBLE,
    504: _TROUBLE,
    509: _BUSY,
}
OTHERWISE: Final[Row] = (StoreError, "not retried")
REFUSED_OBJECT: Final[Row] = (StoreError, "the key works, but may not have this object")
REFUSED_BUCKET: Final[Row] = (
    KeyRefused,
    "the key may not list the bucket; check store.bucket and the key's rights",
)
"""A 403 without a code of its own: which of the two it is, a look at the bucket tells."""
_UNTRUSTED: Final = (
    "this machine does not trust its certificate; "
    "set network.ca_file if it is signed by a CA of your own"
)
BY_BREAK: Final[Mapping[tuple[type[Exception], ...], Row]] = {
    (SSLError, ssl.SSLCertVerificationError): (StoreUnreachable, _UNTRUSTED),
    (
        EndpointConnectionError,
        ConnectTimeoutError,
        ProxyConnectionError,
        ConnectionRefusedError,
        socket.gaierror,
    ): (StoreUnreachable, "check the network, its DNS and store.endpoint; will be tried again"),
    (BotoCoreError, HTTPError, OSError): _TROUBLE,
    (KeyError, TypeError, ValueError): (
        StoreUnavailable,
        "the answer is not an S3 store's (from a proxy perhaps?); will be tried again",
    ),
}
"""How a connection breaks, the narrowest kinds first."""
_LONGEST_WAIT_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Refusals:
    """Explains why a request failed."""

    endpoint: str
    probe: Callable[[], None]
    """Raises what is wrong with the key, if anything is."""

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Turn whatever ends a request for *what* into the mirror's own errors."""
        try:
            yield
        except ClientError as error:
            raise self._answered(error, what) from error
        except tuple(kind for kinds in BY_BREAK for kind in kinds) as error:
            raise self.broken(error, what) from error

    def broken(self, error: Exception, what: str) -> MirrorError:
        """Return what the break of a connection, or an answer without sense, is taken for."""
        kind, advice = next(row for kinds, row in BY_BREAK.items() if isinstance(error, kinds))
        said = repr(error) if isinstance(error, KeyError | TypeError | ValueError) else str(error)
        return kind(f"{what}: {self.endpoint}: {said}: {advice}")

    def refused(self, status: int, code: str, headers: Mapping[str, str], what: str) -> MirrorError:
        """Return what an answer with an error's *status* is taken for; header names in lower case.

        Asks the store whether the key can still list, where only that tells what a 403 means.
        """
        said = f"{what}: the S3 store answered {status} {code}"
        kind, advice = BY_CODE.get(code) or BY_STATUS.get(status) or OTHERWISE
        if status == HTTPStatus.FORBIDDEN and code not in BY_CODE:
            kind, advice = self._forbidden(what)
        error = kind(f"{said}: {advice}")
        error.retry_after_seconds = retry_after_seconds(headers)
        return error

    def _answered(self, error: ClientError, what: str) -> MirrorError:
        facts = error.response.get("ResponseMetadata", {})
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = int(facts.get("HTTPStatusCode", 0))
        return self.refused(status, code, facts.get("HTTPHeaders", {}), what)

    def _forbidden(self, what: str) -> Row:
        """Tell a refused object from a refused key, by asking whether the key can still list."""
        if what.startswith("listing bucket"):
            return REFUSED_BUCKET
        self.probe()
        return REFUSED_OBJECT


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long an answer asks to wait, at most an hour; None if it says nothing usable.

    ``Retry-After`` has seconds or a date; ``x-ratelimit-reset``, which CDSE sends with every
    answer, has seconds, and matters once nothing remains.
    """
    seconds = _seconds(headers.get("retry-after", ""))
    if seconds is None and headers.get("x-ratelimit-remaining", "0").strip() == "0":
        seconds = _seconds(headers.get("x-ratelimit-reset", ""))
    return None if seconds is None else min(seconds, _LONGEST_WAIT_SECONDS)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return _seconds_until(text)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _seconds_until(text: str) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
