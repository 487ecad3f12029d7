"""What an error means for the product that was being downloaded, and when it is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.errors import MirrorError
from s2mirror.lifecycle import Event
from s2mirror.model import LedgerEntry, Transition

FIRST_WAIT_AFTER_WRONG_BYTES: Final = timedelta(minutes=20)
"""The cause of wrong bytes takes time to be repaired; doubles with each further attempt."""
_LONGEST_WAIT_AFTER_WRONG_BYTES: Final = timedelta(hours=6)
_ATTEMPTS_AFTER_QUARANTINE: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often one product is tried, and how long it waits in between."""

    max_attempts: int
    first_wait: timedelta
    longest_wait: timedelta
    quarantine_wait: timedelta | None = None
    """After this time in quarantine a product is tried again; None: only on request."""


def after_error(
    error: MirrorError, entry: LedgerEntry, policy: RetryPolicy, *, now: datetime, jitter: float
) -> Transition:
    """Return the transition that *error* causes for a product being downloaded.

    The class attributes of the error decide. *jitter* is in [0, 1).
    """
    reason = str(error)
    if error.pauses_everything:
        asked = error.retry_after_seconds
        after = now + timedelta(seconds=asked) if asked else None
        return Transition(event=Event.INTERRUPT, reason=reason, next_attempt_at=after)
    if not error.counts_as_attempt:
        after = _next_after(error, 1, policy, now, jitter)
        return Transition(event=Event.INTERRUPT, reason=reason, next_attempt_at=after)
    attempts = entry.attempts + 1
    last = Event.CORRUPT if error.quarantines else Event.GIVE_UP
    if not error.transient:
        return Transition(event=last, reason=reason, attempts=attempts)
    if attempts >= policy.max_attempts:
        text = f"gave up after {attempts} attempts; the last: {reason}" if attempts > 1 else reason
        return Transition(event=last, reason=text, attempts=attempts)
    return Transition(
        event=Event.INTERRUPT,
        reason=reason,
        attempts=attempts,
        next_attempt_at=_next_after(error, attempts, policy, now, jitter),
    )


def next_attempt_at(
    attempts: int, policy: RetryPolicy, *, now: datetime, jitter: float
) -> datetime:
    """Return when to try again: within a span that doubles each time, up to the longest wait.

    *attempts* counts from 1; *jitter* is in [0, 1). Every instant of the span is equally likely, so
    that many products that failed at the same time are not tried again at the same time.
    """
    # https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("full jitter").
    doubled_seconds = policy.first_wait.total_seconds() * 2.0 ** min(attempts - 1, 32)
    return now + timedelta(
        seconds=jitter * min(policy.longest_wait.total_seconds(), doubled_seconds)
    )


def _next_after(
    error: MirrorError, attempts: int, policy: RetryPolicy, now: datetime, jitter: float
) -> datetime:
    """Return when to try again, but not before the service allows it."""
    asked = timedelta(seconds=error.retry_after_seconds or 0.0)
    if error.quarantines:
        asked = max(asked, _wait_after_wrong_bytes(attempts, jitter))
    return max(now + asked, next_attempt_at(attempts, policy, now=now, jitter=jitter))


def _wait_after_wrong_bytes(attempts: int, jitter: float) -> timedelta:
    """Return a wait of minutes to hours, whatever the configured back-off: half of it is fixed."""
    doubled = FIRST_WAIT_AFTER_WRONG_BYTES * 2.0 ** min(attempts - 1, 32)
    return min(_LONGEST_WAIT_AFTER_WRONG_BYTES, doubled) * (0.5 + jitter / 2)


def after_quarantine(
    entry: LedgerEntry, policy: RetryPolicy, *, now: datetime
) -> Transition | None:
    """Return the transition that tries a quarantined product again; None if it is not due.

    It has fewer attempts than a new product, as its bytes will probably be wrong again.
    """
    wait = policy.quarantine_wait
    # The clock may have been wrong when the product was put in quarantine.
    if wait is None or abs(now - entry.changed_at) < wait:
        return None
    return Transition(
        event=Event.REQUEUE,
        reason=f"tried again after its time in quarantine; before: {entry.reason}",
        attempts=max(0, policy.max_attempts - _ATTEMPTS_AFTER_QUARANTINE),
    )
