"""When the store's key pairs expire, and what to say about it."""

from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import KEY_WARNINGS
from s2mirror.config import Settings
from s2mirror.planning.keys import KeyExpiry, KeyWarning, key_warnings


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
    return [note.text for note in notes if logged.get(str(note.number)) != note.stage]
