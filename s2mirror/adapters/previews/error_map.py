"""The table from the Process API's error responses to errors with advice."""

import json
from http import HTTPStatus
from typing import Final

import requests

from s2mirror.errors import CredentialError, MirrorError, PreviewError, PreviewUnavailable
from s2mirror.json_parser import parse_json

_SHOWN: Final = 300
_BUSY: Final = frozenset({408, 425, 500, 502, 503, 504})
_LONGEST_MS: Final = 31 * 86_400_000
_RIGHTS: Final = (
    "the OAuth client may not render previews; check its rights, or make a new client, at "
    "https://shapps.dataspace.copernicus.eu/dashboard"
)


def explain(url: str, response: requests.Response) -> MirrorError:
    """Return the error for a response without an image."""
    status = response.status_code
    text = f"requesting a preview from {url}: it answered {status}{_words(response.content)}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait_seconds = retry_after_seconds(response.headers.get("Retry-After", ""))
        text += "; too many requests, or the month's units are used up; will be tried again"
        return PreviewUnavailable(text, retry_after_seconds=wait_seconds)
    if status in _BUSY:
        return PreviewUnavailable(f"{text}; will be tried again")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return CredentialError(f"{text}: {_RIGHTS}")
    if status == HTTPStatus.BAD_REQUEST:
        return PreviewError(f"{text}; the request or the evalscript is wrong, not retried")
    return PreviewError(f"{text}; check endpoints.process_url")


def neither(url: str, other: str, response: requests.Response) -> PreviewError:
    """Return the error for an API that is at neither of its addresses; *response* is the first."""
    return PreviewError(
        f"requesting a preview from {url}: it answered {response.status_code}"
        f"{_words(response.content)}, and {other}, the other address of this API, does not exist "
        "either; check endpoints.process_url"
    )


def retry_after_seconds(text: str) -> float:
    """Return the value of Sentinel Hub's Retry-After, which is in milliseconds."""
    # https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/RateLimiting.html
    # has "Retry-After: 3398" for a few seconds; read as seconds it would be an hour.
    number = text.strip()
    if not (number.isascii() and number.isdigit()):
        return 0.0
    return min(int(number[:12]), _LONGEST_MS) / 1000


def _words(body: bytes) -> str:
    """Return the service's message: in ``error``, or at the top level for some errors."""
    try:
        document = parse_json(body)
    except ValueError:
        return ""
    details = document.get("error", document) if isinstance(document, dict) else {}
    if not isinstance(details, dict):
        return _shown(str(details))
    parts = [str(details[key]) for key in ("code", "message") if details.get(key)]
    if details.get("errors"):
        parts.append(json.dumps(details["errors"]))
    return _shown(": ".join(parts))


def _shown(words: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in words[:_SHOWN])
    return f" ({text})" if text else ""
