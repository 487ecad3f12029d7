"""What becomes of a product after an error, and when it is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from s2mirror.errors import (
    ArchiveError,
    CredentialError,
    IntegrityError,
    LedgerError,
    MirrorError,
    QuotaError,
    Stopped,
    StoreBusy,
    StoreUnreachable,
)
from s2mirror.lifecycle import Event
from s2mirror.model import LedgerEntry, Transition

PAUSES_EVERYTHING: Final = (
    CredentialError,
    QuotaError,
    StoreUnreachable,
    ArchiveError,
    LedgerError,
)
"""Errors that the next product would meet too: work pauses until they are over."""
COUNTS_NO_ATTEMPT: Final = (Stopped, StoreBusy, *PAUSES_EVERYTHING)
"""Errors that charge no product an attempt: the operator, the key, the store or the disk is to
blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient to be with one product."""

    max_attempts: int
    first_wait: timedelta
    longest_wait: timedelta


def after_error(
    error: MirrorError, entry: LedgerEntry, policy: RetryPolicy, *, now: datetime, jitter: float
) -> Transition:
    """Return the event that *error* is for a product being fetched. *dice* is in [0, 1)."""
    reason = str(error)
    if isinstance(error, COUNTS_NO_ATTEMPT):
        after = _waited(error, 1, policy, now, jitter) if isinstance(error, StoreBusy) else None
        return Transition(event=Event.INTERRUPT, reason=reason, next_attempt_at=after)
    attempts = entry.attempts + 1
    if isinstance(error, IntegrityError):
        return Transition(event=Event.CORRUPT, reason=reason, attempts=attempts)
    if not error.transient:
        return Transition(event=Event.GIVE_UP, reason=reason, attempts=attempts)
    if attempts >= policy.max_attempts:
        text = f"gave up after {attempts} attempts; the last: {reason}"
        return Transition(event=Event.GIVE_UP, reason=text, attempts=attempts)
    return Transition(
        event=Event.INTERRUPT,
        reason=reason,
        attempts=attempts,
        next_attempt_at=_waited(error, attempts, policy, now, jitter),
    )


def next_attempt_at(
    attempts: int, policy: RetryPolicy, *, now: datetime, jitter: float
) -> datetime:
    """Return when to try again: anywhere in a span that doubles each time, up to the longest.

    *attempts* counts from 1; *dice* is in [0, 1). That any moment is as likely keeps many products
    that failed together from coming back together.
    """
    doubled_seconds = policy.first_wait.total_seconds() * 2.0 ** min(attempts - 1, 32)
    return now + timedelta(
        seconds=jitter * min(policy.longest_wait.total_seconds(), doubled_seconds)
    )


def _waited(
    error: MirrorError, attempts: int, policy: RetryPolicy, now: datetime, jitter: float
) -> datetime:
    """Return when to try again, and not before the other side said so."""
    asked = timedelta(seconds=error.retry_after_seconds or 0.0)
    return max(now + asked, next_attempt_at(attempts, policy, now=now, jitter=jitter))
