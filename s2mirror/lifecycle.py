"""The life of a product: one table, and the one function that reads it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from s2mirror.errors import IllegalTransition


class State(StrEnum):
    """Where a product stands. The value is what the ledger stores."""

    DISCOVERED = "discovered"
    """Listed by the catalog and in scope; no room or no turn yet."""
    QUEUED = "queued"
    """To be fetched as soon as a worker is free and its back-off is over."""
    DOWNLOADING = "downloading"
    """A worker has claimed it."""
    VERIFIED = "verified"
    """Every byte proven, still staged."""
    ARCHIVED = "archived"
    """In the archive tree."""
    PROCESSED = "processed"
    """The consumer is done with it."""
    PRUNED = "pruned"
    """Bytes gone, row kept; never fetched again on its own."""
    FAILED = "failed"
    """Given up, with the reason."""
    QUARANTINED = "quarantined"
    """Bytes that could not be proven, kept aside with the reason."""
    SUPERSEDED = "superseded"
    """A newer version of the same image is held instead."""
    WITHDRAWN = "withdrawn"
    """Deleted upstream, and by the operator's policy here too."""


class Event(StrEnum):
    """What happens to a product."""

    ENQUEUE = "enqueue"
    CLAIM = "claim"
    INTERRUPT = "interrupt"
    VERIFY = "verify"
    CORRUPT = "corrupt"
    GIVE_UP = "give-up"
    PUBLISH = "publish"
    MARK = "mark"
    PRUNE = "prune"
    REQUEUE = "requeue"
    REVISE = "revise"
    COMPLETE = "complete"
    SUPERSEDE = "supersede"
    WITHDRAW = "withdraw"


S, E = State, Event

TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (S.DISCOVERED, E.ENQUEUE): S.QUEUED,
        (S.DISCOVERED, E.SUPERSEDE): S.SUPERSEDED,
        (S.DISCOVERED, E.WITHDRAW): S.WITHDRAWN,
        (S.QUEUED, E.CLAIM): S.DOWNLOADING,
        (S.QUEUED, E.SUPERSEDE): S.SUPERSEDED,
        (S.QUEUED, E.WITHDRAW): S.WITHDRAWN,
        (S.DOWNLOADING, E.INTERRUPT): S.QUEUED,
        (S.DOWNLOADING, E.VERIFY): S.VERIFIED,
        (S.DOWNLOADING, E.CORRUPT): S.QUARANTINED,
        (S.DOWNLOADING, E.GIVE_UP): S.FAILED,
        (S.VERIFIED, E.PUBLISH): S.ARCHIVED,
        (S.VERIFIED, E.INTERRUPT): S.QUEUED,
        (S.ARCHIVED, E.MARK): S.PROCESSED,
        (S.ARCHIVED, E.PRUNE): S.PRUNED,
        (S.ARCHIVED, E.CORRUPT): S.QUARANTINED,
        (S.ARCHIVED, E.REVISE): S.QUEUED,
        (S.ARCHIVED, E.COMPLETE): S.QUEUED,
        (S.ARCHIVED, E.SUPERSEDE): S.SUPERSEDED,
        (S.ARCHIVED, E.WITHDRAW): S.WITHDRAWN,
        (S.PROCESSED, E.PRUNE): S.PRUNED,
        (S.PROCESSED, E.CORRUPT): S.QUARANTINED,
        (S.PROCESSED, E.REVISE): S.QUEUED,
        (S.PROCESSED, E.COMPLETE): S.QUEUED,
        (S.PROCESSED, E.SUPERSEDE): S.SUPERSEDED,
        (S.PROCESSED, E.WITHDRAW): S.WITHDRAWN,
        (S.FAILED, E.REQUEUE): S.QUEUED,
        (S.FAILED, E.REVISE): S.QUEUED,
        (S.FAILED, E.WITHDRAW): S.WITHDRAWN,
        (S.QUARANTINED, E.REQUEUE): S.QUEUED,
        (S.QUARANTINED, E.REVISE): S.QUEUED,
        (S.QUARANTINED, E.WITHDRAW): S.WITHDRAWN,
        (S.PRUNED, E.REQUEUE): S.QUEUED,
        (S.WITHDRAWN, E.REVISE): S.QUEUED,
    }
)

WAITING: Final = frozenset({S.DISCOVERED, S.QUEUED})
"""States of a product whose download has not started, or is to be continued."""
IN_PROGRESS: Final = frozenset({S.DOWNLOADING, S.VERIFIED})
"""States of a product that the mirror is working on."""
PENDING: Final = WAITING | IN_PROGRESS
"""States of a product that will be held without anybody's help."""
HELD: Final = frozenset({S.ARCHIVED, S.PROCESSED})
"""States of a product whose folder is in the archive tree."""
TROUBLED: Final = frozenset({S.FAILED, S.QUARANTINED})
"""States of a product that could not be downloaded, each with a reason."""
GONE: Final = frozenset({S.PRUNED, S.SUPERSEDED, S.WITHDRAWN})
"""States of a product that is not held on purpose."""


def leaves_tree(state: State, event: Event) -> bool:
    """Tell whether a product's folder leaves the archive tree with this step.

    A product that is republished or to be completed does not: what there is of it stands until
    there is something better.
    """
    return state in HELD and advance(state, event) not in (*HELD, S.QUEUED)


def advance(state: State, event: Event) -> State:
    """Return the state after *event*.

    Raises IllegalTransition, naming the roads that exist, if the table has no such row.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        legal = ", ".join(e for s, e in TRANSITIONS if s is state)
        raise IllegalTransition(
            f"cannot {event} a product that is {state}; possible here: {legal or 'nothing'}"
        ) from None


def sources(event: Event) -> tuple[State, ...]:
    """Return the states from which *event* may happen, in table order."""
    return tuple(state for state, known in TRANSITIONS if known is event)
