"""Which way to the store is taken: remembered over restarts, and told."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.objectstore import FailoverStore, StoreTarget
from s2mirror.config import Settings
from s2mirror.planning.keys import KeyWarning, key_warnings
from s2mirror.service.logs import log
from s2mirror.service.options import key_expiries, store_options, store_targets
from s2mirror.times import parse_utc

_WAY: Final = "store.target"
_TOLD: Final = "store.keys_told"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailoverStatus:
    """Which way to the store was taken last."""

    endpoint: str
    key: int
    """Number of the key pair, from 1."""
    preferred: bool
    """Whether this is the way that the configuration names first."""
    since: datetime | None
    """When it was taken; None if it was never left."""
    why: str


def open_store(settings: Settings, ledger: Ledger, now: Callable[[], datetime]) -> FailoverStore:
    """Return the store, asked first where it was reached last.

    Raises CredentialError if the keys are not there.
    """

    def moved(way: StoreTarget, why: str) -> None:
        log.warning("store.failover", endpoint=way.endpoint, key_pair=way.key, reason=why)
        fact = {"endpoint": way.endpoint, "key": way.key, "since": now().isoformat(), "why": why}
        ledger.set_state_value(_WAY, json.dumps(fact))
        # Any of the connection threads may have been the one; none of them needs the ledger again.
        ledger.close()

    started_with = failover_status(settings, ledger).endpoint
    return FailoverStore(
        store_options(settings), store_targets(settings, started_with=started_with), moved
    )


def failover_status(settings: Settings, ledger: Ledger) -> FailoverStatus:
    """Return which way to the store was taken last, if it is still one of those configured."""
    endpoints = settings.store.endpoints
    known = json.loads(ledger.state_value(_WAY) or "{}")
    if known.get("endpoint") not in endpoints:
        return FailoverStatus(endpoint=endpoints[0], key=1, preferred=True, since=None, why="")
    return FailoverStatus(
        endpoint=known["endpoint"],
        key=known["key"],
        preferred=known["endpoint"] == endpoints[0] and known["key"] == 1,
        since=parse_utc(known["since"]),
        why=known["why"],
    )


def key_expiry_notes(settings: Settings, *, now: datetime) -> tuple[KeyWarning, ...]:
    """Return what there is to say of key pairs that run out."""
    return key_warnings(key_expiries(settings), today=now.date())


def key_problems(settings: Settings, *, now: datetime) -> list[str]:
    """Return what there is to say of the key pairs if all of them have expired."""
    notes = key_expiry_notes(settings, now=now)
    expired = [note.text for note in notes if note.expired]
    pairs = 1 if settings.secrets.s3_access_key_2 is None else 2
    return expired if len(expired) >= pairs else []


def log_key_expiry(settings: Settings, ledger: Ledger, *, now: datetime) -> None:
    """Log what there is to say of the key pairs, once for each of the days on which it is said."""
    notes = key_expiry_notes(settings, now=now)
    told = json.loads(ledger.state_value(_TOLD) or "{}")
    stages = {str(note.number): note.stage for note in notes}
    for note in notes:
        if told.get(str(note.number)) != note.stage:
            log.warning("key.expires", reason=note.text)
    if stages != told:
        ledger.set_state_value(_TOLD, json.dumps(stages))
