"""A token and how long it lives: by ``expires_in`` and by what the JWT says of itself."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

ASSUMED_LIFE: Final = timedelta(seconds=60)
"""For a token that says nothing of its end."""
_FAR: Final = timedelta(days=365)
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,16384}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An access token, with its life reckoned by this machine's clock."""

    text: str
    asked_at: datetime
    expires_at: datetime

    def __repr__(self) -> str:
        """Show when, never what."""
        return f"Token(expires_at={self.expires_at})"

    def is_fresh(self, now: datetime, early: timedelta) -> bool:
        """Tell whether it may still be used: not within *early* of its end, or of half its life.

        One from the future shows that the clock was set back: its end is not known any more.
        """
        margin = min(early, (self.expires_at - self.asked_at) / 2)
        return self.asked_at <= now < self.expires_at - margin


def token_from(answer: Any, asked_at: datetime) -> Token:  # noqa: ANN401 - parsed JSON
    """Return the token in an endpoint's answer. Raises ValueError if there is none.

    Its life counts from when it was asked for, by our clock: the server's may differ, so the
    JWT's ``exp`` is measured from its own ``iat``. The shorter of the two lives is believed.
    """
    text = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(text, str) or not _TEXT.fullmatch(text):
        raise ValueError("it has no access_token")
    lives = [life for life in _lives(answer, claims_of(text), asked_at) if life > timedelta()]
    life = min([*lives, _FAR]) if lives else ASSUMED_LIFE
    return Token(text=text, asked_at=asked_at, expires_at=asked_at + life)


def claims_of(text: str) -> dict[str, Any]:
    """Return what a JWT says, unchecked: we only want to know when to renew it."""
    try:
        body = text.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _lives(
    answer: dict[str, Any], claims: dict[str, Any], asked_at: datetime
) -> Iterator[timedelta]:
    told = _number(answer.get("expires_in"))
    if told is not None:
        yield timedelta(seconds=told)
    end, begin = _number(claims.get("exp")), _number(claims.get("iat"))
    if end is not None and begin is not None:
        yield timedelta(seconds=min(end - begin, _FAR.total_seconds()))
    elif end is not None and told is None:
        yield _moment(end) - asked_at


def _number(value: object) -> float | None:
    """Return a number of seconds that this program can reckon with."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 < value < 1e10 else None  # type: ignore[operator,arg-type]  # noqa: PLR2004 - see is_number; the year 2286


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
