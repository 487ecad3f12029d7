"""The one table from a store's responses and a connection's failures to the mirror's errors."""

import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
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

from s2mirror.bounded_stream import LimitExceeded
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
"""The error that a response becomes, and the advice for the operator."""

_AGAIN: Final = "will be tried again"
_NEW_KEY: Final = (
    "the key pair is wrong or has expired; create a new one at "
    "https://eodata-s3keysmanager.dataspace.copernicus.eu, set it in the mirror, and reload the "
    "daemon"
)
_KEY: Final = (KeyRefused, _NEW_KEY)
_BUSY: Final = (StoreBusy, "it asks for fewer requests; will be tried again")
_TROUBLE: Final = (StoreUnavailable, _AGAIN)

BY_CODE: Final[Mapping[str, Row]] = {
    "InvalidAccessKeyId": (KeyRefused, f"{_NEW_KEY}. A new key may take a minute to work"),
    "SignatureDoesNotMatch": _KEY,
    "ExpiredToken": _KEY,
    "InvalidToken": _KEY,
    "UserSuspended": (KeyRefused, "the account is suspended; ask the provider, or use another key"),
    "RequestTimeTooSkewed": (
        CredentialError,
        "this machine's clock is wrong; set it; downloads resume by themselves",
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
"""An error code is more specific than a status, so it is looked up first."""
_REDIRECT: Final = (
    StoreUnreachable,
    "redirects are not followed; check store.endpoint and the network; will be tried again",
)
BY_STATUS: Final[Mapping[int, Row]] = {
    301: _REDIRECT,
    302: _REDIRECT,
    303: _REDIRECT,
    307: _REDIRECT,
    308: _REDIRECT,
    401: _KEY,
    404: (StoreChanged, "it no longer exists; its product will be listed again"),
    408: _TROUBLE,
    412: (StoreChanged, "it changed after it was listed; its product will be listed again"),
    429: _BUSY,
    500: _TROUBLE,
    502: _TROUBLE,
    503: _TROUBLE,
    504: _TROUBLE,
    509: _BUSY,
}
OTHERWISE: Final[Row] = (StoreError, "not retried")
REFUSED_OBJECT: Final[Row] = (
    StoreError,
    "the key works, but has no permission to read this object",
)
REFUSED_BUCKET: Final[Row] = (
    KeyRefused,
    "the key may not list the bucket; check store.bucket and the key's rights",
)
"""A 403 without a specific code: a listing of the bucket shows which of the two rows applies."""
_UNTRUSTED: Final = (
    "this machine does not trust its certificate; "
    "set network.ca_file if it is signed by a CA of your own"
)
MALFORMED: Final = (ArithmeticError, AttributeError, KeyError, TypeError, ValueError)
"""What botocore raises for documents of another shape than those of S3."""
BY_EXCEPTION: Final[Mapping[tuple[type[Exception], ...], Row]] = {
    (SSLError, ssl.SSLCertVerificationError): (StoreUnreachable, _UNTRUSTED),
    (
        EndpointConnectionError,
        ConnectTimeoutError,
        ProxyConnectionError,
        ConnectionRefusedError,
        socket.gaierror,
    ): (StoreUnreachable, "check the network, its DNS and store.endpoint; will be tried again"),
    (BotoCoreError, HTTPError, HTTPException, LimitExceeded, OSError): _TROUBLE,
    MALFORMED: (
        StoreUnavailable,
        "the response is not from an S3 store (perhaps from a proxy); will be tried again",
    ),
}
"""The exceptions of a failed connection, the narrowest first."""
_LONGEST_WAIT_SECONDS: Final = 3600.0
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class ErrorMap:
    """Maps every failure of a request to the mirror's own errors."""

    endpoint: str
    probe: Callable[[], None]
    """Raises an error if the key cannot list the bucket."""

    @contextmanager
    def explained(self, what: str) -> Iterator[None]:
        """Raise the mirror's own error for every failure of the request *what*."""
        try:
            yield
        except ClientError as error:
            raise self._from_response(error, what) from error
        except tuple(kind for kinds in BY_EXCEPTION for kind in kinds) as error:
            raise self.broken(error, what) from error

    def broken(self, error: Exception, what: str) -> MirrorError:
        """Return the error for a failed connection or a malformed response."""
        kind, advice = next(row for kinds, row in BY_EXCEPTION.items() if isinstance(error, kinds))
        said = repr(error) if isinstance(error, MALFORMED) else str(error)
        return kind(f"{what}: {self.endpoint}: {said[:_SHOWN]}: {advice}")

    def refused(self, status: int, code: str, headers: Mapping[str, str], what: str) -> MirrorError:
        """Return the error for a response with *status*; header names are in lower case.

        If a 403 can be about the object or the key, a probe of the bucket decides.
        """
        said = f"{what}: the S3 store answered {status} {code}"
        if location := headers.get("location"):
            said += f" and redirects from {self.endpoint} to {location[:_SHOWN]}"
        kind, advice = BY_CODE.get(code) or BY_STATUS.get(status) or OTHERWISE
        if status == HTTPStatus.FORBIDDEN and code not in BY_CODE:
            kind, advice = self._forbidden(what)
        error = kind(f"{said}: {advice}")
        error.retry_after_seconds = retry_after_seconds(headers)
        return error

    def _from_response(self, error: ClientError, what: str) -> MirrorError:
        metadata = error.response.get("ResponseMetadata", {})
        code = str(error.response.get("Error", {}).get("Code", ""))[:_SHOWN]
        status = int(metadata.get("HTTPStatusCode", 0))
        return self.refused(status, code, metadata.get("HTTPHeaders", {}), what)

    def _forbidden(self, what: str) -> Row:
        """Return whether a 403 is about the object or the key: a refused key cannot list either."""
        if what.startswith("listing bucket"):
            return REFUSED_BUCKET
        self.probe()
        return REFUSED_OBJECT


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long a response asks to wait, at most an hour; None if it does not say.

    ``Retry-After`` has seconds or a date; ``x-ratelimit-reset``, which CDSE sends with every
    response, has seconds, and counts only if no requests remain.
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
