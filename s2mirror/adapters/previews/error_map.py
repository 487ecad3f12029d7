"""What Sentinel Hub's Process API says when it does not draw, and what to do about it."""

import json
from http import HTTPStatus
from typing import Any, Final

import requests

from s2mirror.errors import CredentialError, MirrorError, PreviewError, PreviewUnavailable

_SHOWN: Final = 300
_MAX_BODY_BYTES: Final = 64 * 1024
_BUSY: Final = frozenset({408, 425, 500, 502, 503, 504})
_LONGEST_MS: Final = 31 * 86_400_000
_RIGHTS: Final = (
    "the OAuth client may not have previews drawn; look at its rights, or make a new one, at "
    "https://shapps.dataspace.copernicus.eu/dashboard"
)


def explain(url: str, answer: requests.Response) -> MirrorError:
    """Return the error that an answer without a picture stands for; its body is read here."""
    status = answer.status_code
    said = f"asking {url} for a preview: it answered {status}{_words(_body(answer))}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        wait = retry_after_seconds(answer.headers.get("Retry-After", ""))
        text = f"{said}; too many requests, or the month's units are used up; will be tried again"
        return PreviewUnavailable(text, retry_after_seconds=wait)
    if status in _BUSY:
        return PreviewUnavailable(f"{said}; will be tried again")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return CredentialError(f"{said}: {_RIGHTS}")
    if status == HTTPStatus.BAD_REQUEST:
        return PreviewError(f"{said}; the request or the evalscript is wrong, not retried")
    return PreviewError(f"{said}; check endpoints.process_url")


def retry_after_seconds(text: str) -> float:
    """Return how long Sentinel Hub wants us to wait: it says so in milliseconds."""
    # https://documentation.dataspace.copernicus.eu/APIs/SentinelHub/Overview/RateLimiting.html
    # has "Retry-After: 3398" for a few seconds; read as seconds it would be an hour.
    number = text.strip()
    if not (number.isascii() and number.isdigit()):
        return 0.0
    return min(int(number[:12]), _LONGEST_MS) / 1000


def _body(answer: requests.Response) -> bytes:
    try:
        return bytes(next(answer.iter_content(_MAX_BODY_BYTES), b""))
    except requests.RequestException:
        return b""


def _words(body: bytes) -> str:
    """Return what the service says: in ``error``, or, for its refusals, without that wrapping."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return ""
    told = document.get("error", document) if isinstance(document, dict) else {}
    if not isinstance(told, dict):
        return _shown(str(told))
    facts = [str(told[key]) for key in ("code", "message") if told.get(key)]
    if told.get("errors"):
        facts.append(json.dumps(told["errors"]))
    return _shown(": ".join(facts))


def _shown(words: str) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in words[:_SHOWN])
    return f" ({text})" if text else ""
