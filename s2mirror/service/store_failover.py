"""The store's endpoint and key pair in use: kept over restarts, logged, reported."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import KEY_WARNINGS, STORE_TARGET, TargetRecord
from s2mirror.adapters.objectstore import FailoverStore, StoreTarget
from s2mirror.config import Settings
from s2mirror.planning.keys import KeyWarning, key_warnings
from s2mirror.service.logs import log
from s2mirror.service.options import key_expiries, store_options, store_targets
from s2mirror.stop import StopFlag


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


def open_store(
    settings: Settings, ledger: Ledger, now: Callable[[], datetime], stop: StopFlag
) -> FailoverStore:
    """Return the store, which begins with the endpoint that was used last.

    Raises CredentialError if a key is missing.
    """

    def on_failover(target: StoreTarget, why: str) -> None:
        log.warning("store.failover", endpoint=target.endpoint, key_pair=target.key, reason=why)
        record = TargetRecord(endpoint=target.endpoint, key=target.key, since=now(), why=why)
        ledger.state.set(STORE_TARGET, record)
        # This may run in any of the connection threads, none of which needs the ledger again.
        ledger.close()

    started_with = failover_status(settings, ledger).endpoint
    return FailoverStore(
        store_options(settings),
        store_targets(settings, started_with=started_with),
        on_failover,
        stop,
    )


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


def key_expiry_notes(settings: Settings, *, now: datetime) -> tuple[KeyWarning, ...]:
    """Return a warning for each key pair that expires soon or has expired."""
    return key_warnings(key_expiries(settings), today=now.date())


def key_problems(settings: Settings, *, now: datetime) -> list[str]:
    """Return a problem for each key pair if all of them have expired, else nothing."""
    notes = key_expiry_notes(settings, now=now)
    expired = [note.text for note in notes if note.expired]
    pairs = 1 if settings.secrets.s3_access_key_2 is None else 2
    return expired if len(expired) >= pairs else []


def log_key_expiry(settings: Settings, ledger: Ledger, *, now: datetime) -> None:
    """Log each warning about a key pair once per stage (30, 7, 1 day before and so on)."""
    notes = key_expiry_notes(settings, now=now)
    logged = ledger.state.get(KEY_WARNINGS) or {}
    stages = {str(note.number): note.stage for note in notes}
    for note in notes:
        if logged.get(str(note.number)) != note.stage:
            log.warning("key.expiry_noted", reason=note.text)
    if stages != logged:
        ledger.state.set(KEY_WARNINGS, stages)
