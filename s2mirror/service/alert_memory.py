"""What the ledger keeps of alerts: what was reported, and what still has to be delivered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import StateValue
from s2mirror.planning.alerts import AlertKind, AlertState, Message
from s2mirror.planning.facts import Trouble
from s2mirror.planning.findings import Severity
from s2mirror.times import format_utc, parse_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedMessage:
    """A message, and the names of the channels that have not delivered it."""

    message: Message
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelTrouble:
    """Why a channel delivers nothing, since when, and when it is tried again."""

    since: datetime
    reason: str
    tries: int
    next_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertMemory:
    """Everything that is kept, so that a restart repeats no message and loses none."""

    state: AlertState = field(default_factory=AlertState)
    queue: tuple[QueuedMessage, ...] = ()
    """Oldest first."""
    trouble: Mapping[str, ChannelTrouble] = field(default_factory=dict)
    """By the name of the channel."""
    images_after: int | None = None
    """The newest entry of the history whose image was considered; None before the first run."""


def undelivered(ledger: Ledger) -> tuple[Trouble, ...]:
    """Return each channel whose last message or ping was not delivered."""
    memory = ledger.state.get(ALERTS)
    found = sorted(memory.trouble.items()) if memory else []
    return tuple(Trouble(text=t.reason, since=t.since, source=name) for name, t in found)


def _encode(memory: AlertMemory) -> str:
    state = memory.state
    return json.dumps(
        {
            "begun": state.begun,
            "reported": state.reported,
            "sent": state.sent,
            "in_trouble": state.in_trouble,
            "fine_since": state.fine_since,
            "queue": [
                {"channels": queued.channels, **message_values(queued.message)}
                for queued in memory.queue
            ],
            "trouble": {
                name: {
                    "since": trouble.since,
                    "reason": trouble.reason,
                    "tries": trouble.tries,
                    "next_at": trouble.next_at,
                }
                for name, trouble in memory.trouble.items()
            },
            "images_after": memory.images_after,
        },
        default=format_utc,
    )


def message_values(message: Message) -> dict[str, object]:
    """Return a message as values for JSON."""
    return {
        "at": message.at,
        "kind": message.kind,
        "severity": message.severity,
        "title": message.title,
        "lines": message.lines,
    }


def _decode(text: str) -> AlertMemory:
    """Return the memory in a JSON text. Raises ValueError or TypeError."""
    try:
        return _memory(json.loads(text))
    except (KeyError, AttributeError) as error:
        raise ValueError(f"it lacks {error}") from error


def _memory(found: Mapping[str, Any]) -> AlertMemory:
    state = AlertState(
        begun=_times(found["begun"]),
        reported={name: Severity(rank) for name, rank in found["reported"].items()},
        sent=_times(found["sent"]),
        in_trouble=bool(found["in_trouble"]),
        fine_since=parse_utc(found["fine_since"]) if found["fine_since"] else None,
    )
    return AlertMemory(
        state=state,
        queue=tuple(map(_queued, found["queue"])),
        trouble={name: _trouble(each) for name, each in found["trouble"].items()},
        images_after=found["images_after"],
    )


def _queued(found: Mapping[str, Any]) -> QueuedMessage:
    message = Message(
        at=parse_utc(found["at"]),
        kind=AlertKind(found["kind"]),
        severity=Severity(found["severity"]),
        title=str(found["title"]),
        lines=tuple(map(str, found["lines"])),
    )
    return QueuedMessage(message=message, channels=tuple(map(str, found["channels"])))


def _trouble(found: Mapping[str, Any]) -> ChannelTrouble:
    return ChannelTrouble(
        since=parse_utc(found["since"]),
        reason=str(found["reason"]),
        tries=int(found["tries"]),
        next_at=parse_utc(found["next_at"]),
    )


def _times(found: Mapping[str, Any]) -> dict[str, datetime]:
    return {name: parse_utc(at) for name, at in found.items()}


ALERTS: Final[StateValue[AlertMemory]] = StateValue("alerts", _encode, _decode)
"""What was reported, and what still has to be delivered."""
