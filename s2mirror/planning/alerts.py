"""Which messages to send: from what was reported before, and the present judgement.

A fault that lasts is reported once, many faults make one message, and a fault that comes and goes
makes few: a message of one kind is sent at most once per ``interval``, with everything of that kind
that has begun by then. The recovery is reported once, when no reported fault remains.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from s2mirror.clean_text import format_count
from s2mirror.planning.findings import Finding, Judgement, Severity

_LINES: Final = 20
"""Findings or names in one message; the rest is counted."""
_LINE_CHARACTERS: Final = 500


class AlertKind(StrEnum):
    """What a message is about. ``alerts.events`` selects kinds."""

    FAILURE = "failure"
    """A warning or a failure that is of no other kind."""
    RECOVERY = "recovery"
    QUARANTINE = "quarantine"
    BRAKE = "brake"
    KEYS = "keys"
    QUOTA = "quota"
    SILENCE = "silence"
    NEW_IMAGES = "new_images"


_BY_CODE: Final[Mapping[str, AlertKind]] = {
    "products.quarantined": AlertKind.QUARANTINE,
    "prune.braked": AlertKind.BRAKE,
    "keys": AlertKind.KEYS,
    "quota": AlertKind.QUOTA,
    "silence": AlertKind.SILENCE,
    "area.silent": AlertKind.SILENCE,
}
"""By the code of a finding, or its first word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertPolicy:
    """What is reported, and how often."""

    kinds: frozenset[AlertKind]
    delay: timedelta
    """How long a finding must last before it is reported, and its end before the recovery is."""
    interval: timedelta
    """The shortest time between two messages of one kind."""
    image_interval: timedelta
    """The shortest time between two messages about new images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to the operators."""

    at: datetime
    kind: AlertKind
    severity: Severity
    title: str
    lines: tuple[str, ...]

    @property
    def body(self) -> str:
        """The text below the title."""
        return "\n".join(self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertState:
    """What was reported, and when. A finding is named by its code and subject."""

    begun: Mapping[str, datetime] = field(default_factory=dict)
    """When each present finding was first judged."""
    reported: Mapping[str, Severity] = field(default_factory=dict)
    """The findings that were reported and have not ended."""
    sent: Mapping[str, datetime] = field(default_factory=dict)
    """When the last message of a kind was made."""
    in_trouble: bool = False
    """Whether a warning or failure was reported and the recovery was not."""
    fine_since: datetime | None = None
    """Since when no warning or failure has been judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewImage:
    """One image that was archived."""

    product_id: str
    areas: tuple[str, ...]


def name_of(finding: Finding) -> str:
    """Return the name of a finding in the state: its text changes, as a number of products does."""
    return f"{finding.code} {finding.subject}".rstrip()


def kind_of(finding: Finding) -> AlertKind | None:
    """Return what a finding is reported as; None for a notice of no kind of its own."""
    family = finding.code.partition(".")[0]
    if kind := _BY_CODE.get(finding.code) or _BY_CODE.get(family):
        return kind
    return AlertKind.FAILURE if is_trouble(finding) else None


def is_trouble(finding: Finding) -> bool:
    """Return whether a finding is a warning or a failure."""
    return finding.severity.rank >= Severity.WARNING.rank


def plan_alerts(
    state: AlertState, judgement: Judgement, policy: AlertPolicy
) -> tuple[AlertState, tuple[Message, ...]]:
    """Return the messages to send now, at most two, and the state once they are stored."""
    now = judgement.at
    present = {name_of(found): found for found in reversed(judgement.findings)}
    begun = {name: min(state.begun.get(name, now), now) for name in present}
    fine = not any(map(is_trouble, present.values()))
    state = replace(
        state,
        begun=begun,
        reported={name: rank for name, rank in state.reported.items() if name in present},
        sent={kind: min(at, now) for kind, at in state.sent.items()},  # the clock was set back
        fine_since=(state.fine_since or now) if fine else None,
    )
    recovered_state, recovery = _recovery(state, policy, now)
    due = [found for name, found in present.items() if _is_due(name, found, state, policy, now)]
    if not due:
        return recovered_state, recovery
    return _reported(recovered_state, due, policy, now), (*recovery, _digest(due, now))


def plan_image_alert(
    state: AlertState, images: Collection[NewImage], policy: AlertPolicy, *, now: datetime
) -> tuple[AlertState, tuple[Message, ...]]:
    """Return one message about all *images*, or none if one was sent recently."""
    last = state.sent.get(AlertKind.NEW_IMAGES)
    if not images or (last is not None and now - last < policy.image_interval):
        return state, ()
    counts: dict[str, int] = {}
    for image in images:
        for area in image.areas:
            counts[area] = counts.get(area, 0) + 1
    by_area = ", ".join(f"{area}: {count}" for area, count in sorted(counts.items())[:_LINES])
    message = Message(
        at=now,
        kind=AlertKind.NEW_IMAGES,
        severity=Severity.OK,
        title=f"{format_count(len(images), 'new image')} ({by_area})"[:_LINE_CHARACTERS],
        lines=_bounded([image.product_id for image in images]),
    )
    return replace(state, sent={**state.sent, AlertKind.NEW_IMAGES: now}), (message,)


def summary(judgement: Judgement) -> str:
    """Return a judgement in one line, for the body of a ping."""
    worst = judgement.at_least(Severity.WARNING)
    if not worst:
        return "healthy"
    more = f" (and {len(worst) - 1} more)" if len(worst) > 1 else ""
    return f"{worst[0].severity}: {worst[0].text}{more}"[:_LINE_CHARACTERS]


def _recovery(
    state: AlertState, policy: AlertPolicy, now: datetime
) -> tuple[AlertState, tuple[Message, ...]]:
    """Return a message that all is well, once, after reported trouble has ended for the delay."""
    since = state.fine_since
    if not state.in_trouble or since is None or now - since < policy.delay:
        return state, ()
    state = replace(state, in_trouble=False)
    if AlertKind.RECOVERY not in policy.kinds:
        return state, ()
    line = f"no warning or failure since {since:%Y-%m-%d %H:%M} UTC"
    message = Message(
        at=now,
        kind=AlertKind.RECOVERY,
        severity=Severity.OK,
        title="recovered",
        lines=(line,),
    )
    return state, (message,)


def _is_due(
    name: str, found: Finding, state: AlertState, policy: AlertPolicy, now: datetime
) -> bool:
    """Return whether a finding is new or worse than reported, lasts, and its kind may be sent."""
    kind, reported = kind_of(found), state.reported.get(name)
    if kind is None or kind not in policy.kinds:
        return False
    if reported is not None and found.severity.rank <= reported.rank:
        return False
    last = state.sent.get(kind)
    lasts = now - state.begun[name] >= policy.delay
    return lasts and (last is None or now - last >= policy.interval)


def _reported(
    state: AlertState, due: Iterable[Finding], policy: AlertPolicy, now: datetime
) -> AlertState:
    due = tuple(due)
    kinds = {kind for kind in map(kind_of, due) if kind in policy.kinds}
    return replace(
        state,
        reported={**state.reported, **{name_of(found): found.severity for found in due}},
        sent={**state.sent, **dict.fromkeys(kinds, now)},
        in_trouble=state.in_trouble or any(map(is_trouble, due)),
    )


def _digest(due: Iterable[Finding], now: datetime) -> Message:
    """Return one message with all findings, worst first."""
    found = sorted(due, key=lambda each: -each.severity.rank)
    worst = found[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Message(
        at=now,
        kind=kind_of(worst) or AlertKind.FAILURE,
        severity=worst.severity,
        title=f"{worst.severity}: {_subject(worst)}{worst.code}{more}",
        lines=_bounded([_line(each) for each in found]),
    )


def _line(finding: Finding) -> str:
    since = f" (since {finding.since:%Y-%m-%d %H:%M} UTC)" if finding.since else ""
    remedy = f"; to do: {finding.remedy}" if finding.remedy else ""
    return f"{finding.severity}: {_subject(finding)}{finding.text}{since}{remedy}"


def _subject(finding: Finding) -> str:
    return f"{finding.subject}: " if finding.subject else ""


def _bounded(lines: list[str]) -> tuple[str, ...]:
    shown = [line[:_LINE_CHARACTERS] for line in lines[:_LINES]]
    more = len(lines) - len(shown)
    return (*shown, *([f"and {more} more; see `s2mirror status` and `s2mirror list`"] * (more > 0)))
