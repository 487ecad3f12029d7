"""The token endpoint on requests-oauthlib: asked once per token's life, by one caller at a time."""

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

from s2mirror import USER_AGENT
from s2mirror.adapters.tokens.cache import TokenCache
from s2mirror.adapters.tokens.error_map import Busy, explain, no_endpoint
from s2mirror.adapters.tokens.grant import Token, token_from
from s2mirror.errors import CredentialError, TokenError, TokenUnavailable
from s2mirror.stop import StopFlag

_LONGEST_WAIT_SECONDS: Final = 60.0
"""Who is told to wait longer than this gives up for now: the caller has other work."""
_REFUSAL_COUNTS: Final = timedelta(minutes=1)
"""A refused client is not tried again before: twenty threads must not ask twenty times."""

# At their debug level these two write secrets and tokens into whatever log listens.
for _name in ("requests_oauthlib", "oauthlib"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenOptions:
    """Where tokens come from, and how to ask."""

    url: str
    client_id: str
    client_secret: str
    cache_file: Path
    in_body: bool = True
    """Whether the client says who it is in the form, rather than by Basic authentication."""
    early: timedelta = timedelta(seconds=60)
    """How long before its end a token is renewed."""
    timeout_seconds: float = 30.0
    tries: int = 5
    backoff_seconds: float = 1.0
    ca_file: Path | None = None

    def __repr__(self) -> str:
        """Show where, never with which client."""
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
        self._held: Token | None = None
        self._refused = ""
        self._trouble: tuple[datetime, CredentialError | TokenError] | None = None

    def token(self, stop: StopFlag) -> str:
        """Return a token that lives for a while yet, fetching one if there is none."""
        held = self._held
        if held is not None and self._is_good(held):
            return held.text
        with self._lock:
            if self._held is None or not self._is_good(self._held):
                self._raise_trouble()
                self._held = self._shared(stop)
            return self._held.text

    def refuse(self, token: str) -> None:
        """Take note that a service did not accept *token*, however long it should have lived."""
        with self._lock:
            self._refused = token

    def _is_good(self, token: Token) -> bool:
        return token.text != self._refused and token.is_fresh(self._now(), self._options.early)

    def _shared(self, stop: StopFlag) -> Token:
        """Return the token that another process left, or a new one for all."""
        options = self._options
        patience_seconds = options.tries * (options.timeout_seconds + _LONGEST_WAIT_SECONDS)
        with self._cache.locked(stop, patience_seconds):
            cached = self._cache.read()
            if cached is not None and self._is_good(cached):
                return cached
            token = self._fetched(stop)
            self._cache.write(token)
            return token

    def _raise_trouble(self) -> None:
        if self._trouble is None:
            return
        until, error = self._trouble
        if self._now() < until:
            raise error
        self._trouble = None

    def _fetched(self, stop: StopFlag) -> Token:
        """Ask until there is a token, waiting as long as the endpoint says, or ever longer."""
        attempt = 1
        while True:
            stop.raise_if_set()
            try:
                return self._ask()
            except Busy as busy:
                self._wait(busy, attempt, stop)
            except (CredentialError, TokenError) as error:
                self._trouble = self._now() + _REFUSAL_COUNTS, error
                raise
            attempt += 1

    def _wait(self, busy: Busy, attempt: int, stop: StopFlag) -> None:
        """Wait for another try; raise TokenUnavailable when there is none, or not soon."""
        doubled_seconds = self._options.backoff_seconds * 2.0 ** (attempt - 1)
        jitter = random.random()  # noqa: S311 - jitter
        wait_seconds = max(busy.retry_after_seconds, doubled_seconds * (0.5 + jitter / 2))
        if attempt == self._options.tries or wait_seconds > _LONGEST_WAIT_SECONDS:
            words = f"{busy}; will be tried again"
            error = TokenUnavailable(words, retry_after_seconds=busy.retry_after_seconds)
            self._trouble = self._now() + timedelta(seconds=wait_seconds), error
            raise error from busy.__cause__
        stop.wait(wait_seconds)

    def _ask(self) -> Token:
        """Ask once. Raises Busy, CredentialError or TokenError."""
        options, asked_at = self._options, self._now()
        auth = HTTPBasicAuth(quote(options.client_id, ""), quote(options.client_secret, ""))
        who = (
            {"include_client_id": True, "client_secret": options.client_secret}
            if options.in_body
            else {"auth": auth}
        )
        client = BackendApplicationClient(client_id=options.client_id)
        try:
            with OAuth2Session(client=client) as session:
                session.headers["User-Agent"] = USER_AGENT
                session.register_compliance_hook("access_token_request", _straight)
                session.register_compliance_hook("access_token_response", self._explained)
                answer = session.fetch_token(
                    options.url,
                    timeout=options.timeout_seconds,
                    verify=str(options.ca_file) if options.ca_file else True,
                    **who,
                )
            return token_from(answer, asked_at)
        except requests.exceptions.SSLError as error:
            raise TokenError(
                f"asking {options.url} for a token: its certificate is not one that this machine "
                "trusts; set network.ca_file if it is signed by a CA of your own"
            ) from error
        except requests.RequestException as error:
            raise Busy(f"asking {options.url} for a token: {error}", 0.0) from error
        except (OAuth2Error, ValueError, TypeError) as error:
            raise no_endpoint(options.url, str(error)) from error

    def _explained(self, answer: requests.Response) -> requests.Response:
        """Raise what an answer means before oauthlib calls every failure a missing token."""
        options = self._options
        explain(options.url, answer, (options.client_id, options.client_secret))
        return answer


def _straight(url: str, headers: Any, request: dict[str, Any]) -> tuple[str, Any, dict[str, Any]]:  # noqa: ANN401 - the library's
    """Follow no redirect: it could carry the secret to another host."""
    return url, headers, request | {"allow_redirects": False}
