"""How long the whole account waits after the store has asked for fewer requests.

The store counts requests per account, so one refusal is about every product and every process. The
wait doubles with each refusal in a row, up to a cap. After each wait, one request goes first, as a
probe; all others wait for its outcome. So a store that refuses everything for hours receives a
request every few minutes, however many products are queued.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from s2mirror.planning.findings import Finding, Severity

if TYPE_CHECKING:
    from s2mirror.planning.facts import Facts

LONGEST_ASKED: Final = timedelta(hours=1)
"""A store that asks for a longer wait is probed nevertheless."""
_PATIENCE: Final = timedelta(minutes=15)
"""A store that refuses everything for longer holds up the mirror."""
_KNOWN_FOR: Final = timedelta(hours=1)
"""Without a request for this long after the wait, it is not known whether the store refuses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffPolicy:
    """The wait after the first refusal, and the longest one."""

    first: timedelta = timedelta(seconds=1)
    cap: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The requests in a row that the store refused; none if it accepted the newest one."""

    refused_count: int
    since: datetime
    """When the first of them came, or when the store accepted requests again."""
    at: datetime
    """When the last of them came."""
    until: datetime
    """No request is sent before."""
    reason: str
    logged_at: datetime

    def remaining(self, now: datetime) -> timedelta:
        """Return how long no request may be sent.

        A time that no wait reaches was written while the clock was wrong, and counts as past.
        """
        if not self.refused_count or not now < self.until <= now + LONGEST_ASKED:
            return timedelta()
        return self.until - now


def after_refusal(
    before: Backoff | None,
    policy: BackoffPolicy,
    *,
    reason: str,
    asked_seconds: float | None,
    now: datetime,
    jitter: float,
) -> Backoff:
    """Return the back-off after one more refusal.

    *asked_seconds* is the wait that the response asks for. *jitter* is in [0, 1): half of the own
    wait is fixed, so that a back-off is never short by chance.
    """
    begun = before if before and before.refused_count else None
    refused_count = begun.refused_count + 1 if begun else 1
    doubled_seconds = policy.first.total_seconds() * 2.0 ** min(refused_count - 1, 32)
    own_seconds = min(policy.cap.total_seconds(), doubled_seconds) * (0.5 + jitter / 2)
    wait = timedelta(seconds=max(own_seconds, asked_seconds or 0.0))
    return Backoff(
        refused_count=refused_count,
        since=begun.since if begun else now,
        at=now,
        until=now + min(wait, LONGEST_ASKED),
        reason=reason,
        logged_at=begun.logged_at if begun else now,
    )


def after_acceptance(before: Backoff, *, now: datetime) -> Backoff:
    """Return the state after a request that the store accepted."""
    return replace(before, refused_count=0, since=now, at=now, until=now, reason="")


def store_throttled(facts: "Facts") -> Iterator[Finding]:
    """Yield a finding if the store refuses requests; a warning if it does so for long."""
    found, now = facts.backoff, facts.now
    if found is None or not found.refused_count or abs(now - found.until) > _KNOWN_FOR:
        return
    lasts = now - found.since
    yield Finding(
        code="store.throttled",
        severity=Severity.WARNING if lasts >= _PATIENCE else Severity.NOTICE,
        text=(
            f"the store has refused {found.refused_count} requests in a row since "
            f"{found.since:%Y-%m-%d %H:%M} UTC, because the account sends too many; the last "
            f"refusal: {found.reason}"
        ),
        remedy=(
            "stop other programs that use the same account; downloads resume by themselves, with "
            f"one request at or after {found.until:%H:%M:%S} UTC"
        ),
        since=found.since,
    )
