"""The account at the store: its quota, key pairs, and the endpoint in use."""

from dataclasses import asdict, dataclass
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import (
    KEY_WARNINGS,
    STORE_BACKOFF,
    STORE_TARGET,
)
from s2mirror.config import Settings
from s2mirror.lifecycle import WAITING
from s2mirror.planning.account import (
    WINDOW,
    KeyExpiry,
    KeyWarning,
    QuotaPolicy,
    backfill_at,
    key_warnings,
    spent_bytes,
)
from s2mirror.planning.downloads import ASSUMED_BYTES
from s2mirror.planning.facts import KeyFacts
from s2mirror.planning.store_backoff import Backoff


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


def key_expiries(settings: Settings) -> tuple[KeyExpiry, ...]:
    """Return the last day of each key pair, where it is configured."""
    days = (settings.store.key_expires, settings.store.key_2_expires)
    return tuple(
        KeyExpiry(number=number, expires_on=day) for number, day in enumerate(days, 1) if day
    )


def key_expiry_notes(settings: Settings, *, now: datetime) -> tuple[KeyWarning, ...]:
    """Return a warning for each key pair that expires soon or has expired."""
    return key_warnings(key_expiries(settings), today=now.date())


def key_problems(settings: Settings, *, now: datetime) -> list[str]:
    """Return a problem for each key pair if all of them have expired, else nothing."""
    notes = key_expiry_notes(settings, now=now)
    expired = [note.text for note in notes if note.expired]
    pairs = 1 if settings.secrets.s3_access_key_2 is None else 2
    return expired if len(expired) >= pairs else []


def new_key_warnings(settings: Settings, ledger: Ledger, *, now: datetime) -> list[str]:
    """Return each warning about a key pair once per stage (30, 7, 1 day before and so on)."""
    notes = key_expiry_notes(settings, now=now)
    logged = ledger.state.get(KEY_WARNINGS) or {}
    stages = {str(note.number): note.stage for note in notes}
    if stages != logged:
        ledger.state.set(KEY_WARNINGS, stages)
    found = [note.text for note in notes if logged.get(str(note.number)) != note.stage]
    for text in found:
        ledger.events.add("key.expiry_noted", at=now, detail=text)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverStatus:
    """The endpoint and key pair that were used last."""

    endpoint: str
    key: int
    """Number of the key pair, from 1."""
    preferred: bool
    """Whether they are the first that the configuration names."""
    since: datetime | None
    """When this endpoint and key pair came into use; None if there was never a failover."""
    why: str


def failover_status(settings: Settings, ledger: Ledger) -> FailoverStatus:
    """Return the endpoint and key pair used last, if they are still configured."""
    endpoints = settings.store.endpoints
    known = ledger.state.get(STORE_TARGET)
    if known is None or known.endpoint not in endpoints:
        return FailoverStatus(endpoint=endpoints[0], key=1, preferred=True, since=None, why="")
    return FailoverStatus(
        endpoint=known.endpoint,
        key=known.key,
        preferred=known.endpoint == endpoints[0] and known.key == 1,
        since=known.since,
        why=known.why,
    )


def failover_text(store: FailoverStatus) -> str:
    """Return since when and why the preferred endpoint and key pair are not used, else ""."""
    if store.preferred or store.since is None:
        return ""
    return f" with key pair {store.key} since {store.since:%Y-%m-%d %H:%M} UTC: {store.why}"


def read_backoff(ledger: Ledger) -> Backoff | None:
    """Return the back-off in the ledger; None before the first one."""
    found = ledger.state.get(STORE_BACKOFF)
    return Backoff(**asdict(found)) if found else None


def key_facts(settings: Settings, now: datetime) -> tuple[KeyFacts, ...]:
    """Return the key pairs that expire soon or have expired."""
    days = {
        expiry.number: (expiry.expires_on - now.date()).days for expiry in key_expiries(settings)
    }
    return tuple(
        KeyFacts(number=note.number, text=note.text, days=days[note.number])
        for note in key_expiry_notes(settings, now=now)
    )
