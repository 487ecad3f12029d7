"""The account's download quota: its limits, and what is left of it."""

from dataclasses import dataclass
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.config import Settings
from s2mirror.lifecycle import WAITING
from s2mirror.planning.downloads import ASSUMED_BYTES
from s2mirror.planning.quota import WINDOW, QuotaPolicy, backfill_at, spent_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStatus:
    """The status of the account's download quota of thirty days."""

    limit_bytes: int | None
    spent_bytes: int
    left_bytes: int | None
    left_for_backfill_bytes: int | None
    more_at: datetime | None
    """When there is quota for the backfill again; None if there is some now, or never."""


def quota_policy(settings: Settings) -> QuotaPolicy:
    """Return the limits of the account's download volume."""
    return QuotaPolicy(
        limit_bytes=settings.quota.per_30_days,
        reserve_percent=settings.quota.reserve_percent,
        fresh=settings.quota.fresh,
    )


def quota_status(settings: Settings, ledger: Ledger, *, now: datetime) -> QuotaStatus:
    """Return the status of the account's download quota."""
    policy = quota_policy(settings)
    hours = ledger.transfers(WINDOW, now=now)
    spent = spent_bytes(hours, now)
    return QuotaStatus(
        limit_bytes=policy.limit_bytes,
        spent_bytes=spent,
        left_bytes=policy.left_bytes(spent, fresh=True),
        left_for_backfill_bytes=policy.left_bytes(spent, fresh=False),
        more_at=backfill_at(policy, hours, ASSUMED_BYTES, now=now),
    )


def quota_note(settings: Settings, ledger: Ledger, *, now: datetime) -> str:
    """Return a note when the quota defers products, else an empty text."""
    counts = ledger.products.counts()
    waits = any(counts.get(state, (0, 0))[0] for state in WAITING)
    more_at = quota_status(settings, ledger, now=now).more_at
    if more_at is None or not waits:
        return ""
    return (
        "the account's download quota for the backfill is used up (quota.per_30_days); "
        f"downloads resume from about {more_at:%Y-%m-%d %H:%M} UTC"
    )
