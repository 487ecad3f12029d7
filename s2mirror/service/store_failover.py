"""The store's endpoint and key pair in use, as the ledger keeps them over restarts."""

from dataclasses import dataclass
from datetime import datetime

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import STORE_TARGET
from s2mirror.config import Settings


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
