"""What becomes of a product after an error, and when it is tried again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from s2mirror.errors import (
    ArchiveError,
    CredentialError,
    IntegrityError,
    LedgerError,
    MirrorError,
    Stopped,
)
from s2mirror.lifecycle import Event
from s2mirror.model import Entry, Verdict

NOT_THE_PRODUCTS_FAULT = (Stopped, CredentialError, ArchiveError, LedgerError)
"""Errors that charge no product an attempt: the operator, the key or the disk is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient to be with one product."""

    max_attempts: int
    first_wait: timedelta
    longest_wait: timedelta


def after_error(
    error: MirrorError, entry: Entry, policy: RetryPolicy, *, now: datetime, dice: float
) -> Verdict:
    """Return the event that *error* is for a product being fetched. *dice* is in [0, 1)."""
    reason = str(error)
    if isinstance(error, NOT_THE_PRODUCTS_FAULT):
        return Verdict(event=Event.INTERRUPT, reason=reason)
    attempts = entry.attempts + 1
    if isinstance(error, IntegrityError):
        return Verdict(event=Event.CORRUPT, reason=reason, attempts=attempts)
    if not error.transient:
        return Verdict(event=Event.GIVE_UP, reason=reason, attempts=attempts)
    if attempts >= policy.max_attempts:
        text = f"gave up after {attempts} attempts; the last: {reason}"
        return Verdict(event=Event.GIVE_UP, reason=text, attempts=attempts)
    return Verdict(
        event=Event.INTERRUPT,
        reason=reason,
        attempts=attempts,
        next_attempt_at=next_attempt_at(attempts, policy, now=now, dice=dice),
    )


def next_attempt_at(attempts: int, policy: RetryPolicy, *, now: datetime, dice: float) -> datetime:
    """Return when to try again: doubling waits up to the longest, the second half of each by dice.

    *attempts* counts from 1; *dice* is in [0, 1).
    """
    doubled_seconds = policy.first_wait.total_seconds() * 2.0 ** min(attempts - 1, 32)
    wait_seconds = min(policy.longest_wait.total_seconds(), doubled_seconds)
    return now + timedelta(seconds=wait_seconds * (0.5 + dice / 2))
