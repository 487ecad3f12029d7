"""The states of a product: the table of transitions, and the functions that read it."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from s2mirror.errors import IllegalTransition


class State(StrEnum):
    """The state of a product. The ledger stores the value."""

    DISCOVERED = "discovered"
    """Listed by the catalog and in scope; not in the queue yet."""
    QUEUED = "queued"
    """To be downloaded as soon as a worker is free and the back-off is over."""
    DOWNLOADING = "downloading"
    """A worker has claimed it."""
    VERIFIED = "verified"
    """Every byte is verified; still staged."""
    ARCHIVED = "archived"
    """In the archive tree."""
    PROCESSED = "processed"
    """Marked by the consumer as processed."""
    PRUNED = "pruned"
    """Removed; the row is kept, so that it is not downloaded again without a request."""
    FAILED = "failed"
    """Not downloaded after all attempts, with the reason."""
    QUARANTINED = "quarantined"
    """Its bytes did not match; kept in quarantine with the reason."""
    SUPERSEDED = "superseded"
    """A newer version of the same image is held instead."""
    WITHDRAWN = "withdrawn"
    """Deleted upstream, and by the operator's policy also here."""


class Event(StrEnum):
    """What happens to a product."""

    ENQUEUE = "enqueue"
    CLAIM = "claim"
    INTERRUPT = "interrupt"
    VERIFY = "verify"
    CORRUPT = "corrupt"
    GIVE_UP = "give-up"
    PUBLISH = "publish"
    ADOPT = "adopt"
    MARK = "mark"
    PRUNE = "prune"
    REQUEUE = "requeue"
    REVISE = "revise"
    COMPLETE = "complete"
    SUPERSEDE = "supersede"
    WITHDRAW = "withdraw"
    RESTORE = "restore"


S, E = State, Event

TRANSITIONS: Final[Mapping[tuple[State, Event], State]] = MappingProxyType(
    {
        (S.DISCOVERED, E.ENQUEUE): S.QUEUED,
        (S.DISCOVERED, E.SUPERSEDE): S.SUPERSEDED,
        (S.DISCOVERED, E.WITHDRAW): S.WITHDRAWN,
        (S.DISCOVERED, E.PRUNE): S.PRUNED,
        (S.DISCOVERED, E.ADOPT): S.ARCHIVED,
        (S.QUEUED, E.CLAIM): S.DOWNLOADING,
        (S.QUEUED, E.SUPERSEDE): S.SUPERSEDED,
        (S.QUEUED, E.WITHDRAW): S.WITHDRAWN,
        (S.QUEUED, E.PRUNE): S.PRUNED,
        (S.QUEUED, E.ADOPT): S.ARCHIVED,
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
        (S.FAILED, E.PRUNE): S.PRUNED,
        (S.FAILED, E.ADOPT): S.ARCHIVED,
        (S.FAILED, E.RESTORE): S.ARCHIVED,
        (S.QUARANTINED, E.REQUEUE): S.QUEUED,
        (S.QUARANTINED, E.REVISE): S.QUEUED,
        (S.QUARANTINED, E.WITHDRAW): S.WITHDRAWN,
        (S.QUARANTINED, E.ADOPT): S.ARCHIVED,
        (S.QUARANTINED, E.RESTORE): S.ARCHIVED,
        (S.PRUNED, E.REQUEUE): S.QUEUED,
        (S.PRUNED, E.ADOPT): S.ARCHIVED,
        (S.PRUNED, E.RESTORE): S.ARCHIVED,
        (S.SUPERSEDED, E.REQUEUE): S.QUEUED,
        (S.SUPERSEDED, E.ADOPT): S.ARCHIVED,
        (S.SUPERSEDED, E.RESTORE): S.ARCHIVED,
        (S.WITHDRAWN, E.REVISE): S.QUEUED,
        (S.WITHDRAWN, E.ADOPT): S.ARCHIVED,
        (S.WITHDRAWN, E.RESTORE): S.ARCHIVED,
    }
)

WAITING: Final = frozenset({S.DISCOVERED, S.QUEUED})
"""States of a product whose download has not started, or will be continued."""
IN_PROGRESS: Final = frozenset({S.DOWNLOADING, S.VERIFIED})
"""States of a product that the mirror is working on."""
PENDING: Final = WAITING | IN_PROGRESS
"""States of a product that will be held without a request by a person."""
HELD: Final = frozenset({S.ARCHIVED, S.PROCESSED})
"""States of a product whose folder is in the archive tree."""
TROUBLED: Final = frozenset({S.FAILED, S.QUARANTINED})
"""States of a product that could not be downloaded, each with a reason."""
GONE: Final = frozenset({S.PRUNED, S.SUPERSEDED, S.WITHDRAWN})
"""States of a product that is intentionally not held."""


def leaves_tree(state: State, event: Event) -> bool:
    """Return whether *event* moves a product's folder out of the archive tree.

    A product that is republished or completed stays in the tree until the new files are verified.
    """
    return state in HELD and advance(state, event) not in (*HELD, S.QUEUED)


def advance(state: State, event: Event) -> State:
    """Return the state after *event*.

    Raises IllegalTransition, which names the permitted events, if the table has no such row.
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
