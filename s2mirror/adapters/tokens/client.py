"""The token endpoint on requests-oauthlib: one request per lifetime of a token, one at a time."""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests
from oauthlib.oauth2 import BackendApplicationClient
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

from s2mirror.adapters.tokens.cache import Token, TokenCache, token_from
from s2mirror.adapters.tokens.error_map import Busy, explain, no_endpoint
from s2mirror.bounded_http import BadResponse, HttpLimits, RedirectRefused, bound
from s2mirror.errors import CredentialError, TokenError, TokenUnavailable
from s2mirror.json_parser import parse_object
from s2mirror.stop import StopFlag

_LONGEST_WAIT_SECONDS: Final = 60.0
"""A longer Retry-After ends the request: the caller has other work."""
_MAX_BYTES: Final = 256 * 1024
"""A response of CDSE has 2 kB, mostly the token."""
_DEADLINE_TIMEOUTS: Final = 2
"""The whole response may take two time-outs: 60 s by default."""
_REFUSAL_LASTS: Final = timedelta(minutes=1)
"""A refused client is not retried sooner: twenty threads must not send twenty requests."""

# At debug level these two libraries log secrets and tokens.
for _name in ("requests_oauthlib", "oauthlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """Address, client and settings of the token endpoint."""

    url: str
    client_id: str
    client_secret: str
    cache_file: Path
    in_body: bool = True
    """Whether the client authenticates in the form, rather than by a Basic header."""
    early: timedelta = timedelta(seconds=60)
    """How long before its expiry a token is renewed."""
    timeout_seconds: float = 30.0
    tries: int = 5
    backoff_seconds: float = 1.0
    ca_file: Path | None = None

    def __repr__(self) -> str:
        """Show the address, never the client."""
        return f"TokenOptions(url={self.url!r})"


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ClientTokens:
    """The token port by client credentials. Any thread may use it."""

    def __init__(self, options: TokenOptions, now: Callable[[], datetime] = _utc_now) -> None:
        self._options = options
        self._now = now
        self._cache = TokenCache(
            options.cache_file, token_url=options.url, client_id=options.client_id
        )
        self._lock = threading.Lock()
        self._token: Token | None = None
        self._refused = ""
        self._failure: tuple[datetime, CredentialError | TokenError] | None = None

    def token(self, stop: StopFlag) -> str:
        """Return a token that is not about to expire, requesting one if there is none."""
        token = self._token
        if token is not None and self._is_usable(token):
            return token.text
        with self._lock:
            if self._token is None or not self._is_usable(self._token):
                self._raise_failure()
                self._token = self._shared(stop)
            return self._token.text

    def refuse(self, token: str) -> None:
        """Record that a service refused *token*, whatever its expiry says."""
        with self._lock:
            self._refused = token

    def _is_usable(self, token: Token) -> bool:
        return token.text != self._refused and token.is_fresh(self._now(), self._options.early)

    def _shared(self, stop: StopFlag) -> Token:
        """Return the token that another process stored, or a new one, and store it."""
        options = self._options
        timeout_seconds = options.tries * (options.timeout_seconds + _LONGEST_WAIT_SECONDS)
        with self._cache.locked(stop, timeout_seconds):
            cached = self._cache.read()
            if cached is not None and self._is_usable(cached):
                return cached
            token = self._requested(stop)
            self._cache.write(token)
            return token

    def _raise_failure(self) -> None:
        if self._failure is None:
            return
        until, error = self._failure
        if self._now() < until:
            raise error
        self._failure = None

    def _requested(self, stop: StopFlag) -> Token:
        """Send requests until there is a token, with growing delays or those of Retry-After."""
        attempt = 1
        while True:
            stop.raise_if_set()
            try:
                return self._request()
            except Busy as busy:
                self._wait(busy, attempt, stop)
            except (CredentialError, TokenError) as error:
                self._failure = self._now() + _REFUSAL_LASTS, error
                raise
            attempt += 1

    def _wait(self, busy: Busy, attempt: int, stop: StopFlag) -> None:
        """Wait before the next attempt. Raises TokenUnavailable if there is none soon."""
        doubled_seconds = self._options.backoff_seconds * 2.0 ** (attempt - 1)
        jitter = random.random()  # noqa: S311 - jitter
        wait_seconds = max(busy.retry_after_seconds, doubled_seconds * (0.5 + jitter / 2))
        if attempt == self._options.tries or wait_seconds > _LONGEST_WAIT_SECONDS:
            text = f"{busy}; will be tried again"
            error = TokenUnavailable(text, retry_after_seconds=busy.retry_after_seconds)
            self._failure = self._now() + timedelta(seconds=wait_seconds), error
            raise error from busy.__cause__
        stop.wait(wait_seconds)

    def _request(self) -> Token:
        """Send one request. Raises Busy, CredentialError or TokenError."""
        options, requested_at = self._options, self._now()
        auth = HTTPBasicAuth(quote(options.client_id, ""), quote(options.client_secret, ""))
        authentication = (
            {"include_client_id": True, "client_secret": options.client_secret}
            if options.in_body
            else {"auth": auth}
        )
        client = _StrictClient(client_id=options.client_id)
        try:
            with OAuth2Session(client=client) as session:
                bound(session, _limits(options))
                session.register_compliance_hook("access_token_response", self._checked)
                response = session.fetch_token(options.url, **authentication)
            return token_from(response, requested_at)
        except requests.exceptions.SSLError as error:
            raise TokenError(
                f"requesting a token from {options.url}: this machine does not trust its "
                "certificate; set network.ca_file if it is signed by a CA of your own"
            ) from error
        except RedirectRefused as error:
            raise TokenError(
                f"requesting a token from {options.url}: {error}. Check endpoints.token_url"
            ) from error
        except BadResponse as error:
            raise TokenUnavailable(
                f"requesting a token from {options.url}: {error}; will be tried again"
            ) from error
        except requests.RequestException as error:
            raise Busy(f"requesting a token from {options.url}: {error}", 0.0) from error
        except (OAuth2Error, ValueError, TypeError) as error:
            raise no_endpoint(options.url, str(error)) from error

    def _checked(self, response: requests.Response) -> requests.Response:
        """Raise the error of a response before oauthlib reports it as a missing token."""
        options = self._options
        explain(options.url, response, (options.client_id, options.client_secret))
        return response


class _StrictClient(BackendApplicationClient):  # type: ignore[misc]  # the library has no types
    """Parses responses with limits; ``token_from`` checks what oauthlib would."""

    def parse_request_body_response(
        self,
        body: str,
        scope: object = None,  # noqa: ARG002 - the library's
        **_: object,
    ) -> dict[str, Any]:
        """Return the members of the response."""
        self.token = parse_object(body)
        return self.token


def _limits(options: TokenOptions) -> HttpLimits:
    """Return the limits; a redirect could send the secret to another host."""
    return HttpLimits(
        max_bytes=_MAX_BYTES,
        timeout_seconds=options.timeout_seconds,
        deadline_seconds=options.timeout_seconds * _DEADLINE_TIMEOUTS,
        follow_redirects=False,
        ca_file=options.ca_file,
    )
