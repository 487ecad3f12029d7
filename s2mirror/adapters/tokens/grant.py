"""A token and its lifetime, by ``expires_in`` and by the claims of the JWT."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ASSUMED_LIFETIME: Final = timedelta(seconds=60)
"""For a token without an expiry time."""
_FAR: Final = timedelta(days=365)
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,16384}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token, with its lifetime measured by this machine's clock."""

    text: str
    requested_at: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        """Show the expiry time, never the token."""
        return f"Token(expires_at={self.expires_at})"

    def is_fresh(self, now: datetime, early: timedelta) -> bool:
        """Return whether it may be used: not within *early* of its expiry, or half its lifetime.

        A request time in the future means that the clock was set back: the expiry is unknown.
        """
        margin = min(early, (self.expires_at - self.requested_at) / 2)
        return self.requested_at <= now < self.expires_at - margin


def token_from(response: Any, requested_at: datetime) -> Token:  # noqa: ANN401 - parsed JSON
    """Return the token in an endpoint's response. Raises ValueError if there is none.

    The lifetime counts from the request, by this machine's clock. The server's clock may differ, so
    the JWT's ``exp`` is measured from its own ``iat``. The shorter of the two lifetimes is used.
    """
    text = response.get("access_token") if isinstance(response, dict) else None
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise ValueError("it has no access_token")
    lifetimes = [
        lifetime
        for lifetime in _lifetimes(response, claims_of(text), requested_at)
        if lifetime > timedelta()
    ]
    lifetime = min([*lifetimes, _FAR]) if lifetimes else ASSUMED_LIFETIME
    return Token(text=text, requested_at=requested_at, expires_at=requested_at + lifetime)


def claims_of(text: str) -> dict[str, Any]:
    """Return the claims of a JWT, unverified: they only decide when the token is renewed."""
    try:
        body = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _lifetimes(
    response: dict[str, Any], claims: dict[str, Any], requested_at: datetime
) -> Iterator[timedelta]:
    expires_in = _number(response.get("expires_in"))
    if expires_in is not None:
        yield timedelta(seconds=expires_in)
    end, begin = _number(claims.get("exp")), _number(claims.get("iat"))
    if end is not None and begin is not None:
        yield timedelta(seconds=min(end - begin, _FAR.total_seconds()))
    elif end is not None and expires_in is None:
        yield datetime.fromtimestamp(end, UTC) - requested_at


def _number(value: object) -> float | None:
    """Return *value* as a number of seconds, if it is one that datetime accepts."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e10 else None  # type: ignore[operator,arg-type]  # noqa: PLR2004 - see is_number; the year 2286
