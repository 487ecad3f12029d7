"""What a token endpoint's refusals mean, and what to do about each."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import requests

from s2mirror.errors import CredentialError, TokenError

_CLIENTS: Final = "https://shapps.dataspace.copernicus.eu/dashboard"
_NEW_CLIENT: Final = f"make a new one at {_CLIENTS} (User settings, OAuth clients)"
_SHOWN: Final = 200
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_WRONG: Final = frozenset({400, 401, 403})
# Keycloak: 401 invalid_client for a client that is unknown, expired or switched off, 401
# unauthorized_client for a wrong secret.
_ADVICE: Final[Mapping[str, str]] = {
    "invalid_client": "the client id (S2MIRROR_CLIENT_ID) is unknown, or the client has expired "
    f"or was revoked; {_NEW_CLIENT}",
    "unauthorized_client": "the client secret (S2MIRROR_CLIENT_SECRET) is wrong, or the client "
    f"may not have tokens this way; {_NEW_CLIENT}",
    "invalid_grant": f"the client's account is not usable; sign in at {_CLIENTS} and look why",
}
_OTHERWISE: Final = (
    "client id and secret (S2MIRROR_CLIENT_ID, S2MIRROR_CLIENT_SECRET) or endpoints.token_url "
    f"are wrong; {_NEW_CLIENT}"
)


class Busy(Exception):
    """The endpoint may well answer if it is asked again, after *retry_after_seconds*."""

    def __init__(self, text: str, retry_after_seconds: float) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


def explain(url: str, answer: requests.Response, secrets: tuple[str, ...]) -> None:
    """Return if *answer* may hold a token.

    Raises Busy, CredentialError or TokenError for anything else; no message repeats a secret.
    """
    status, document = answer.status_code, _json(answer)
    said = f"asking {url} for a token: it answered {status}{_words(document, secrets)}"
    if status in _BUSY:
        raise Busy(said, _retry_after_seconds(answer.headers.get("Retry-After", "")))
    if status in _WRONG:
        advice = _ADVICE.get(str(document.get("error")), _OTHERWISE)
        raise CredentialError(f"{said}: {advice}")
    if status != HTTPStatus.OK:
        raise no_endpoint(url, f"it answered {status}")
    if "access_token" not in document:
        raise Busy(f"{said} without a token (a login page of a proxy?)", 0.0)


def no_endpoint(url: str, why: str) -> TokenError:
    """Return the error for an address that does not behave as a token endpoint does."""
    return TokenError(
        f"asking {url} for a token: {why[:_SHOWN]}; this is no token endpoint. "
        "Check endpoints.token_url"
    )


def _json(answer: requests.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _words(document: dict[str, Any], secrets: tuple[str, ...]) -> str:
    """Return the endpoint's own words, without any secret that it may have repeated."""
    words = " ".join(
        str(document[key]) for key in ("error", "error_description") if key in document
    )
    for secret in secrets:
        words = words.replace(secret, "********")
    shown = "".join(letter if letter.isprintable() else " " for letter in words[:_SHOWN])
    return f" ({shown})" if shown else ""


def _retry_after_seconds(text: str) -> float:
    """Return how long to wait: HTTP has seconds, or a date; 0 for anything else."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (zoned - datetime.now(UTC)).total_seconds())
