"""Requests to outside services, with limits on their rate, and on the responses' time and bytes.

``bound`` applies to any session of requests, also to those of pystac-client and requests-oauthlib.
"""

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from requests import PreparedRequest, RequestException, Response, Session
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as ConnectionFailed
from urllib3 import BaseHTTPResponse, HTTPConnectionPool, PoolManager, Retry
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from s2mirror import USER_AGENT
from s2mirror.bounded_stream import HEADER_BYTES, LimitExceeded, bounded_pools, read_body
from s2mirror.clean_text import clean_text
from s2mirror.host_limiter import HostLimiter

_ERROR_BYTES: Final = 64 * 1024
"""Of a response with an error status, only the beginning is read: messages have a few lines."""
_ERROR_STATUS: Final = 400
_MAX_REDIRECTS: Final = 5
_KEEPS_METHOD: Final = (307, 308)
"""Statuses of a redirect after which a POST stays a POST and keeps its body."""
_PLAIN_URL: Final = re.compile(r"https?://[\w.:\[\]-]+([/?#][!-~]*)?", re.ASCII)
"""Libraries disagree on the host of an address with a backslash or a user name."""
_SHOWN: Final = 200
_MAX_DIGITS: Final = 9
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_POOL: Final = re.compile(r"^\w*(?:Connection|Pool)\([^)]*\): ")
_HOLD_SECONDS: Final = 2.0
"""After a refusal without ``Retry-After``; CDSE's firewall sends this value, or none."""


class BadResponse(RequestException):
    """A response exceeds a limit or cannot be decompressed; its headers are in ``response``."""


class RedirectRefused(BadResponse):
    """A response redirects to a place that is not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """The limits of one service's responses, and the options of its requests."""

    max_bytes: int
    """Largest body, after decompression."""
    timeout_seconds: float
    """Longest wait for a connection, and between two parts of a response."""
    deadline_seconds: float
    """Longest time from the request to the last byte of its response."""
    follow_redirects: bool = True
    """Whether redirects within the host are followed."""
    ca_file: Path | None = None
    limiter: HostLimiter | None = None
    """Delays each request, also a repeated one; a refusal delays all requests to its host."""
    on_date: Callable[[datetime], None] | None = None
    """Called with the ``Date`` of each response, from any thread."""


def bound(session: Session, limits: HttpLimits, retry: Retry | None = None) -> None:
    """Make *session* read every response completely, within *limits*, before it returns."""
    adapter = _BoundedAdapter(limits, retry or Retry(0, read=False))
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers.update({"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"})
    session.max_redirects = _MAX_REDIRECTS


def response_date(headers: Mapping[str, str], name: str = "Date") -> datetime | None:
    """Return the time in a header of a response; None if there is no valid one."""
    with suppress(ValueError, TypeError, LookupError, OverflowError):
        date = parsedate_to_datetime(headers[name])
        return date.replace(tzinfo=UTC) if date.tzinfo is None else date.astimezone(UTC)
    return None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Return how long a response asks to wait, by a number or a date; None for neither.

    A date is compared with that of the response, as this machine's clock may be wrong.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_MAX_DIGITS])
    until, now = response_date(headers, "Retry-After"), response_date(headers)
    if until is None:
        return None
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


class _Body(io.BytesIO):
    """A body that was read: requests takes it whole, and makes no copy of it."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """Yield the whole body."""
        yield self.getvalue()


def _limited(pool: type[HTTPConnectionPool], limiter: HostLimiter) -> type[HTTPConnectionPool]:
    """Return a class of pools that respects the rate of its host."""
    return type("Pool", (_LimitedPool, pool), {"limiter": limiter})


class _LimitedPool(HTTPConnectionPool):
    limiter: HostLimiter

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's own
        super().__init__(*args, **kwargs)
        self._name = f"{self.host}:{self.port}"
        hold = staticmethod(partial(_hold_if_refused, self.limiter, self._name))
        bases = (_ObservedConnection, self.ConnectionCls)
        self.ConnectionCls = type("Connection", bases, {"observe": hold})

    def urlopen(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - likewise
        """Send one request; urllib3 calls this for each try."""
        self.limiter.wait(self._name)
        return super().urlopen(*args, **kwargs)


class _ObservedConnection(HTTPConnection):
    observe: Callable[[BaseHTTPResponse], None]

    def getresponse(self) -> Any:  # noqa: ANN401 - urllib3's own
        """Return the response, after ``observe`` has seen its head."""
        response = super().getresponse()
        self.observe(response)
        return response


def _hold_if_refused(limiter: HostLimiter, host: str, response: BaseHTTPResponse) -> None:
    """Delay all requests to a host that refuses one because there are too many."""
    if response.status in (_TOO_MANY, _UNAVAILABLE):
        seconds = retry_after_seconds(response.headers)
        if seconds is None and response.status == _TOO_MANY:
            seconds = _HOLD_SECONDS
        if seconds:
            limiter.hold(host, seconds)


class _BoundedAdapter(HTTPAdapter):
    """Sends the requests of one service. TLS is always verified, with the CA file if one is set."""

    def __init__(self, limits: HttpLimits, retry: Retry) -> None:
        self._limits = limits
        super().__init__(max_retries=retry)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - requests' own
        """Create the pools of connections."""
        super().init_poolmanager(*args, **kwargs)
        self._bound(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:  # noqa: ANN401 - likewise
        """Return the pools of connections through a proxy."""
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._bound(manager)
        return manager

    def _bound(self, manager: PoolManager) -> None:
        pools, max_bytes = manager.pool_classes_by_scheme, self._limits.max_bytes + HEADER_BYTES
        found = bounded_pools(pools, self._limits.deadline_seconds, max_bytes)
        if self._limits.limiter is not None:
            found = {scheme: _limited(pool, self._limits.limiter) for scheme, pool in found.items()}
        manager.pool_classes_by_scheme = found

    def send(self, request: PreparedRequest, *_: Any, **kwargs: Any) -> Response:  # noqa: ANN401 - likewise
        """Send a request and read its whole response. Raises only RequestException."""
        limits = self._limits
        kwargs |= {"stream": True, "timeout": limits.timeout_seconds}
        if limits.ca_file is not None:
            kwargs["verify"] = str(limits.ca_file)
        response = None
        try:
            response = super().send(request, **kwargs)
            self._check_redirect(request, response)
            self._read(response)
        except LimitExceeded as error:
            raise BadResponse(str(error), request=request, response=response) from error
        except RequestException as error:
            error.args = (_plain_reason(error),)
            raise
        except (HTTPError, OSError) as error:
            raise ConnectionFailed(error, request=request, response=response) from error
        return response

    def _read(self, response: Response) -> None:
        """Replace the stream of *response* by its bytes."""
        date = response_date(response.headers)
        if date is not None and self._limits.on_date is not None:
            self._limits.on_date(date)
        is_error = response.status_code >= _ERROR_STATUS
        max_bytes = _ERROR_BYTES if is_error else self._limits.max_bytes
        body = read_body(response.raw, max_bytes, cut=is_error)
        response.raw.release_conn()
        response.raw = _Body(body)
        # Without an encoding, requests would guess one, which takes long for a large body.
        response.encoding = "utf-8"

    def _check_redirect(self, request: PreparedRequest, response: Response) -> None:
        """Raise BadResponse for a redirect that would leave the host or https, or lose the body."""
        if not response.is_redirect:
            return
        here, target = str(request.url), response.headers["Location"]
        with suppress(ValueError):
            target = urljoin(here, target)
        if not self._limits.follow_redirects:
            why = "this request is never redirected"
        elif not _PLAIN_URL.fullmatch(target) or not _is_same_host(here, target):
            why = "a redirect may not leave the host or https"
        elif request.method != "GET" and response.status_code not in _KEEPS_METHOD:
            why = "the request would lose its body"
        else:
            return
        response.close()
        raise RedirectRefused(
            f"{here} redirects to {clean_text(target[:_SHOWN])}, which is not followed: {why}. "
            "Sign in to this network if a browser asks for that; if the service has moved, set its "
            "new address in the configuration",
            request=request,
        )


def _plain_reason(error: RequestException) -> str:
    """Return why a request failed, without the objects and addresses that urllib3's text has."""
    cause = error.args[0] if error.args else error
    cause = getattr(cause, "reason", None) or cause
    if not isinstance(cause, HTTPError):
        return str(error)
    return _POOL.sub("", " ".join(str(part) for part in cause.args)) or type(cause).__name__


def _is_same_host(old: str, new: str) -> bool:
    """Return whether *new* is on the host of *old*, by the same scheme or by https."""
    try:
        before, after = urlsplit(old), urlsplit(new)
        same_port = before.port == after.port
    except ValueError:
        return False
    is_upgrade = (before.scheme, after.scheme) == ("http", "https")
    same_scheme = before.scheme == after.scheme and same_port
    return before.hostname == after.hostname and (same_scheme or is_upgrade)
