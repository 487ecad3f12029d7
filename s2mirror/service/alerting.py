"""Alerts: pings and messages to the operators, from the judgement of the mirror.

The daemon runs this as a job in a thread of its own, and no job or worker waits for it. Messages
are stored before they are delivered: a restart repeats none and loses none. A channel that fails is
tried again later, with all its messages, and is a finding meanwhile.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from s2mirror.adapters.alerts import Signal
from s2mirror.adapters.ledger import Ledger
from s2mirror.config import Settings
from s2mirror.errors import AlertError, MirrorError, Stopped
from s2mirror.planning.alerts import (
    AlertKind,
    AlertPolicy,
    Message,
    NewImage,
    plan_alerts,
    plan_image_alert,
)
from s2mirror.planning.findings import Finding, Judgement, Severity, worst_first
from s2mirror.service.alert_channels import PING, Channel, open_channels, open_monitor, ping
from s2mirror.service.alert_memory import ALERTS, AlertMemory, ChannelTrouble, QueuedMessage
from s2mirror.service.judgement import judge, judge_file
from s2mirror.service.ledger_file import open_local_ledger
from s2mirror.service.logs import log
from s2mirror.service.metrics import written_metrics
from s2mirror.stop import StopFlag

_FIRST_WAIT: Final = timedelta(minutes=1)
_LONGEST_WAIT: Final = timedelta(minutes=30)
_KEPT_FOR: Final = timedelta(days=1)
_MAX_QUEUED: Final = 20
_OF_OTHERS: Final = frozenset({"daemon.never_ran", "daemon.stopped"})
"""Findings that are not true in a process that works on the mirror."""
_OWN: Final = "alerts.failed"


class Alerter:
    """Reports one mirror's state to the operators."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        now: Callable[[], datetime],
        delay: timedelta | None = None,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._now = now
        self._policy = _policy(settings, delay)
        self._channels = open_channels(settings)
        self._monitor = open_monitor(settings)
        self._pinged_at = -float("inf")
        self._pinged_ok: bool | None = None

    @property
    def enabled(self) -> bool:
        """Whether any channel is configured."""
        return bool(self._channels) or self._monitor is not None

    def run(self, stop: StopFlag, failure: Finding | None = None) -> None:
        """Judge the mirror, and report what is due; *failure* is a finding of the caller's."""
        if not self.enabled:
            return
        judged = _judged(judge(self._settings, self._ledger, now=self._now()), failure)
        memory = self._ledger.state.get(ALERTS) or AlertMemory()
        planned = self._planned(self._without_old_channels(memory), judged)
        if planned != memory:
            self._ledger.state.set(ALERTS, planned)
        self._ping_if_due(planned, judged)
        self._deliver(stop)

    def _planned(self, memory: AlertMemory, judged: Judgement) -> AlertMemory:
        """Return the memory with the messages that are due now."""
        if all(channel.name in memory.trouble for channel in self._channels):
            judged = _without_own(judged)  # no one could be told in time
        state, messages = plan_alerts(memory.state, judged, self._policy)
        until = self._ledger.totals.newest_entry()
        images = self._new_images(memory.images_after, until, judged.at)
        state, about_images = plan_image_alert(state, images, self._policy, now=judged.at)
        waits = bool(images) and not about_images
        memory = replace(memory, state=state, images_after=memory.images_after if waits else until)
        for message in (*messages, *about_images):
            log.info("alert.queued", kind=message.kind, title=message.title)
            memory = self._queued(memory, message)
        return memory

    def _new_images(self, after: int | None, until: int, now: datetime) -> list[NewImage]:
        """Return the images that were archived since the last call, over areas that ask for it."""
        every = self._settings.alerts.new_images
        own = {area.name: area.new_images for area in self._settings.area}
        areas = {name for name, wanted in own.items() if (every if wanted is None else wanted)}
        if after is None or not areas or until <= after:
            return []
        since = now - self._settings.quota.fresh
        found = self._ledger.totals.published(after, until, sensed_from=since)
        images = [(name, tuple(sorted(areas & set(of)))) for name, of in found]
        return [NewImage(product_id=name, areas=wanted) for name, wanted in images if wanted]

    def _queued(self, memory: AlertMemory, message: Message) -> AlertMemory:
        names = tuple(channel.name for channel in self._channels)
        queued = QueuedMessage(message=message, channels=names)
        return replace(memory, queue=(*memory.queue, queued)[-_MAX_QUEUED:]) if names else memory

    def _without_old_channels(self, memory: AlertMemory) -> AlertMemory:
        """Return the memory without channels that are not configured any more."""
        names = {channel.name for channel in self._channels}
        queue = [
            replace(queued, channels=tuple(name for name in queued.channels if name in names))
            for queued in memory.queue
        ]
        kept = names | ({PING} if self._monitor else set())
        return replace(
            memory,
            queue=tuple(queued for queued in queue if queued.channels),
            trouble={name: each for name, each in memory.trouble.items() if name in kept},
        )

    def _ping_if_due(self, memory: AlertMemory, judged: Judgement) -> None:
        """Send a ping once per poll interval, and at once when the judgement turns."""
        if self._monitor is None:
            return
        judged = _without_own(judged)
        waited_seconds = time.monotonic() - self._pinged_at
        every_seconds = self._settings.catalog.interval.total_seconds()
        trouble = memory.trouble.get(PING)
        if trouble and judged.at < trouble.next_at:
            return
        if not trouble and judged.ok == self._pinged_ok and waited_seconds < every_seconds:
            return
        reason = ping(self._monitor, judged)
        self._pinged_at, self._pinged_ok = time.monotonic(), judged.ok
        self._record(PING, reason)

    def _deliver(self, stop: StopFlag) -> None:
        """Deliver the queue, oldest first; a channel that fails is left alone for a while."""
        for channel in self._channels:
            for queued in (self._ledger.state.get(ALERTS) or AlertMemory()).queue:
                if channel.name not in queued.channels:
                    continue
                if stop.is_set() or self._waits(channel):
                    break
                reason = channel.deliver(queued.message, stop)
                if stop.is_set() and reason:
                    return
                self._record(channel.name, reason, None if reason else queued)

    def _waits(self, channel: Channel) -> bool:
        memory = self._ledger.state.get(ALERTS) or AlertMemory()
        trouble = memory.trouble.get(channel.name)
        return trouble is not None and self._now() < trouble.next_at

    def _record(self, name: str, reason: str, delivered: QueuedMessage | None = None) -> None:
        """Record the outcome of a ping or delivery, if it changes anything."""
        memory = self._ledger.state.get(ALERTS) or AlertMemory()
        trouble = _changed_trouble(memory.trouble, name, reason, self._now())
        if reason and name not in memory.trouble:
            log.warning("alert.failed", channel=name, reason=reason)
        elif not reason and name in memory.trouble:
            log.info("alert.recovered", channel=name)
        queue = _shortened(memory.queue, name, delivered, self._now())
        changed = replace(memory, trouble=trouble, queue=queue)
        if changed != memory:
            self._ledger.state.set(ALERTS, changed)


@contextmanager
def reported_cycle(settings: Settings) -> Iterator[None]:
    """Surround one cycle of a command: alerts and metrics are sent and written at its end."""
    with written_metrics(settings), _alerted(settings):
        yield


@contextmanager
def _alerted(settings: Settings) -> Iterator[None]:
    """Report the start, and the outcome with the judgement after it, of one cycle of a command."""
    monitor = open_monitor(settings)
    if monitor is not None:
        with suppress(AlertError):  # the ping at the end reports it
            monitor.ping(Signal.START, "a sync begins")
    with reported_failure(settings, "sync.failed"):
        yield
    _report(settings, None)


@contextmanager
def reported_failure(settings: Settings, code: str) -> Iterator[None]:
    """Report an error that ends a command, as a finding with this code."""
    try:
        yield
    except Stopped:
        raise
    except Exception as error:
        text = str(error) if isinstance(error, MirrorError) else f"unexpected error {error!r}"
        _report(settings, Finding(code=code, severity=Severity.FAILURE, text=text))
        raise


def _report(settings: Settings, failure: Finding | None) -> None:
    """Report the end of a command; trouble with that is logged, and never ends the command."""
    try:
        with closing(open_local_ledger(settings.ledger.path, create=False)) as ledger:
            now, none = (lambda: datetime.now(UTC)), timedelta()
            Alerter(settings, ledger, now=now, delay=none).run(StopFlag(), failure)
    except MirrorError as error:
        log.warning("alert.failed", reason=str(error))
        _report_without_ledger(settings)


def _report_without_ledger(settings: Settings) -> None:
    """Report that the ledger cannot be used; what was reported before cannot be known."""
    judged = _judged(judge_file(settings, now=datetime.now(UTC)), None)
    _, messages = plan_alerts(AlertMemory().state, judged, _policy(settings, timedelta()))
    for channel in open_channels(settings):
        for message in messages:
            channel.deliver(message, StopFlag())
    if monitor := open_monitor(settings):
        ping(monitor, judged)


def _judged(judgement: Judgement, failure: Finding | None) -> Judgement:
    """Return a judgement as the process that works on the mirror may report it."""
    found = [each for each in judgement.findings if each.code not in _OF_OTHERS]
    return replace(judgement, findings=worst_first([*([failure] if failure else []), *found]))


def _without_own(judgement: Judgement) -> Judgement:
    """Return a judgement without the finding that alerts are not delivered."""
    others = [found for found in judgement.findings if found.code != _OWN]
    return replace(judgement, findings=worst_first(others))


def _policy(settings: Settings, delay: timedelta | None) -> AlertPolicy:
    options = settings.alerts
    return AlertPolicy(
        kinds=frozenset(map(AlertKind, options.events)),
        delay=options.delay if delay is None else delay,
        interval=options.interval,
        image_interval=settings.catalog.interval if delay is None else timedelta(),
    )


def _changed_trouble(
    trouble: Mapping[str, ChannelTrouble], name: str, reason: str, now: datetime
) -> dict[str, ChannelTrouble]:
    """Return the trouble of all channels after an attempt by one."""
    others = {other: each for other, each in trouble.items() if other != name}
    if not reason:
        return others
    before = trouble.get(name)
    tries = before.tries + 1 if before else 1
    wait = min(_FIRST_WAIT * 2 ** min(tries - 1, 10), _LONGEST_WAIT)
    since = before.since if before else now
    found = ChannelTrouble(since=since, reason=reason, tries=tries, next_at=now + wait)
    return {**others, name: found}


def _shortened(
    queue: tuple[QueuedMessage, ...], name: str, delivered: QueuedMessage | None, now: datetime
) -> tuple[QueuedMessage, ...]:
    """Return the queue without what a channel has delivered, and without what is too old for it.

    The newest message stays until it is delivered: it also shows that the channel works again.
    """
    mine = [queued for queued in queue if name in queued.channels]
    done = [queued for queued in mine[:-1] if now - queued.message.at > _KEPT_FOR]
    done += [delivered] if delivered else []
    left = (
        replace(queued, channels=tuple(each for each in queued.channels if each != name))
        if queued in done
        else queued
        for queued in queue
    )
    return tuple(queued for queued in left if queued.channels)
