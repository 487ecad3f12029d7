"""The balance of a Sentinel Hub account, as its accounting service states it.

The documentation does not describe the response. So nothing depends on it: every number in it is
returned under the name that the service gives it, and any fault means that there is none.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from typing import Final

import requests

from s2mirror.adapters.previews.process import MOVED, Bearer, HubOptions, other_url
from s2mirror.bounded_http import HttpLimits, bound
from s2mirror.clean_text import clean_text
from s2mirror.json_parser import parse_json

_MAX_BYTES: Final = 64 * 1024
_TIMEOUT_SECONDS: Final = 10.0
_MAX_NUMBERS: Final = 12
_MAX_DEPTH: Final = 4
_MAX_NAME: Final = 60
_LARGEST: Final = 1e12
_PATHS: Final = ("/api/v1/accounting/usage", "/accounting/v1/usage")
"""The path that others use, and the form that CDSE gave its other paths in March 2026."""


def account_balance(options: HubOptions, token: str) -> dict[str, float]:
    """Return the numbers of the account's balance by their names; empty if there are none."""
    with suppress(requests.RequestException, ValueError):
        for url in _urls(options.url):
            response = _get(replace(options, url=url), token)
            if response.ok:
                return dict(islice(_numbers(parse_json(response.content)), _MAX_NUMBERS))
            if response.status_code not in MOVED:
                break
    return {}


def _urls(process_url: str) -> list[str]:
    """Return the possible addresses of the accounting service beside a Process API of CDSE."""
    other = other_url(process_url)
    if other is None:
        return []
    both = process_url.rstrip("/"), other
    home = min(both, key=len).removesuffix("/process/v1")
    return [home + path for path in _PATHS]


def _get(options: HubOptions, token: str) -> requests.Response:
    limits = HttpLimits(
        max_bytes=_MAX_BYTES,
        timeout_seconds=min(options.timeout_seconds, _TIMEOUT_SECONDS),
        deadline_seconds=_TIMEOUT_SECONDS,
        follow_redirects=False,
        ca_file=options.ca_file,
    )
    with requests.Session() as session:
        bound(session, limits)
        return session.get(options.url, auth=Bearer(token), headers={"Accept": "application/json"})


def _numbers(document: object, name: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested objects, such as ``remaining.requests``."""
    if isinstance(document, dict) and depth < _MAX_DEPTH:
        for key, value in document.items():
            yield from _numbers(value, f"{name}.{key}" if name else str(key), depth + 1)
    is_number = isinstance(document, int | float) and not isinstance(document, bool)
    if is_number and name and abs(document) < _LARGEST:  # type: ignore[arg-type]  # `is_number` says so
        yield clean_text(name[:_MAX_NAME]), float(document)  # type: ignore[arg-type]  # likewise
