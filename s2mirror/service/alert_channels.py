"""The configured channels to the operators. No text from here contains a secret."""

import json
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Final

from s2mirror.adapters.alerts import Monitor, Signal, apprise_command, apprise_request
from s2mirror.adapters.hook import run_command
from s2mirror.config import Settings
from s2mirror.errors import AlertError, MirrorError
from s2mirror.planning.alerts import AlertKind, Message, summary
from s2mirror.planning.findings import Judgement, Severity
from s2mirror.service.alert_memory import message_values
from s2mirror.service.judgement import judge_file
from s2mirror.service.logs import Redactor
from s2mirror.service.options import secret_texts
from s2mirror.stop import StopFlag
from s2mirror.times import format_utc

PING: Final = "ping_url"
"""The name of the monitor among the channels."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One receiver of messages."""

    name: str
    _send: Callable[[Message, StopFlag], str]

    def deliver(self, message: Message, stop: StopFlag) -> str:
        """Deliver a message; return why that failed, or an empty text."""
        try:
            return self._send(message, stop)
        except (MirrorError, OSError) as error:
            return str(error)


def open_channels(settings: Settings) -> tuple[Channel, ...]:
    """Return every configured channel for messages."""
    return tuple(_channels(settings))


def open_monitor(settings: Settings) -> Monitor | None:
    """Return the monitor that expects pings; None if none is configured."""
    if settings.alerts.ping_url is None:
        return None
    return Monitor(
        url=settings.alerts.ping_url,
        timeout_seconds=settings.alerts.timeout.total_seconds(),
        ca_file=settings.network.ca_file,
    )


def ping(monitor: Monitor, judgement: Judgement) -> str:
    """Send a judgement to a monitor; return why that failed, or an empty text."""
    try:
        monitor.ping(Signal.SUCCESS if judgement.ok else Signal.FAIL, summary(judgement))
    except AlertError as error:
        return str(error)
    return ""


def try_all(settings: Settings, *, now: datetime) -> dict[str, str]:
    """Send a test message by every channel; return why each failed, or an empty text."""
    message, outcomes = _trial_message(now), {}
    if monitor := open_monitor(settings):
        outcomes[PING] = ping(monitor, judge_file(settings, now=now))
    for channel in open_channels(settings):
        outcomes[channel.name] = channel.deliver(message, StopFlag())
    return outcomes


def _trial_message(now: datetime) -> Message:
    """Return the message of `s2mirror alerts test`."""
    return Message(
        at=now,
        kind=AlertKind.RECOVERY,
        severity=Severity.OK,
        title="test of the alerts",
        lines=("this channel works; the message is a test and reports nothing",),
    )


def _channels(settings: Settings) -> Iterator[Channel]:
    redactor = Redactor(secret_texts(settings))
    if settings.alerts.command:
        yield Channel("command", partial(_run_command, settings, redactor))
    for number, url in enumerate(settings.secrets.alert_url_list, 1):
        name = f"URL {number} ({url.partition('://')[0]})"
        yield Channel(name, partial(_send_by_apprise, settings, redactor, url))


def _run_command(settings: Settings, redactor: Redactor, message: Message, stop: StopFlag) -> str:
    values = {"schema": 1, "host": socket.gethostname(), **message_values(message)}
    document = json.dumps(values | {"body": message.body}, default=format_utc)
    document = _hidden(redactor, document)
    command, timeout = settings.alerts.command, settings.alerts.timeout
    return run_command(command, timeout, stop, document.encode()).reason


def _send_by_apprise(
    settings: Settings, redactor: Redactor, url: str, message: Message, stop: StopFlag
) -> str:
    request = apprise_request(
        url,
        title=_hidden(redactor, f"s2mirror on {socket.gethostname()}: {message.title}"),
        body=_hidden(redactor, f"{message.body}\n{message.at:%Y-%m-%d %H:%M:%S} UTC"),
        severity=message.severity,
        ca_file=settings.network.ca_file,
    )
    return run_command(apprise_command(), settings.alerts.timeout, stop, request).reason


def _hidden(redactor: Redactor, text: str) -> str:
    return str(redactor.hide(text))
