"""The table from a token endpoint's error responses to errors with advice."""

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import requests

from s2mirror.bounded_http import response_date
from s2mirror.errors import CredentialError, TokenError
from s2mirror.json_parser import parse_object

_CLIENTS: Final = "https://shapps.dataspace.copernicus.eu/dashboard"
_NEW_CLIENT: Final = f"create a new one at {_CLIENTS} (User settings, OAuth clients)"
_SHOWN: Final = 200
_LONGEST_SECONDS: Final = 31 * 86_400.0
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_WRONG: Final = frozenset({400, 401, 403})
# Keycloak returns 401 invalid_client for a client that is unknown, expired or disabled, and 401
# unauthorized_client for a wrong secret.
_ADVICE: Final[Mapping[str, str]] = {
    "invalid_client": "the client id (S2MIRROR_CLIENT_ID) is unknown, or the client has expired "
    f"or was revoked; {_NEW_CLIENT}",
    "unauthorized_client": "the client secret (S2MIRROR_CLIENT_SECRET) is wrong, or the client "
    f"may not use this grant; {_NEW_CLIENT}",
    "invalid_grant": f"the client's account is not usable; sign in at {_CLIENTS} and check it",
}
_OTHERWISE: Final = (
    "client id and secret (S2MIRROR_CLIENT_ID, S2MIRROR_CLIENT_SECRET) or endpoints.token_url "
    f"are wrong; {_NEW_CLIENT}"
)


class Busy(Exception):
    """The endpoint may answer a repeated request, after *retry_after_seconds*."""

    def __init__(self, text: str, retry_after_seconds: float) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds


def explain(url: str, response: requests.Response, secrets: tuple[str, ...]) -> None:
    """Return if *response* can contain a token.

    Raises Busy, CredentialError or TokenError otherwise; no message contains a secret.
    """
    status, document = response.status_code, _json(response)
    text = f"requesting a token from {url}: it answered {status}{_words(document, secrets)}"
    if status in _BUSY:
        raise Busy(text, _retry_after_seconds(response.headers))
    if status in _WRONG:
        advice = _ADVICE.get(str(document.get("error")), _OTHERWISE)
        raise CredentialError(f"{text}: {advice}")
    if status != HTTPStatus.OK:
        raise no_endpoint(url, f"it answered {status}")
    if "access_token" not in document:
        raise Busy(f"{text} without a token (a login page of a proxy?)", 0.0)


def no_endpoint(url: str, why: str) -> TokenError:
    """Return the error for an address that is not a token endpoint."""
    return TokenError(
        f"requesting a token from {url}: {why[:_SHOWN]}; this is not a token endpoint. "
        "Check endpoints.token_url"
    )


def _json(response: requests.Response) -> dict[str, Any]:
    try:
        return parse_object(response.content)
    except ValueError:
        return {}


def _words(document: dict[str, Any], secrets: tuple[str, ...]) -> str:
    """Return the endpoint's error message, with secrets masked."""
    words = " ".join(
        str(document[key]) for key in ("error", "error_description") if key in document
    )
    for secret in secrets:
        words = words.replace(secret, "********")
    shown = "".join(letter if letter.isprintable() else " " for letter in words[:_SHOWN])
    return f" ({shown})" if shown else ""


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """Return the value of Retry-After, a number of seconds or a date, up to a month; else 0."""
    text = headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_SECONDS)
    instant = response_date(headers, "Retry-After")
    seconds = (instant - datetime.now(UTC)).total_seconds() if instant else 0.0
    return min(max(0.0, seconds), _LONGEST_SECONDS)
