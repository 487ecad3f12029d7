"""Options of alerts: who is told of what, and how often."""

from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Final

from pydantic import BeforeValidator

from s2mirror.config import fields

KINDS: Final = ("failure", "recovery", "quarantine", "brake", "keys", "quota", "silence")
"""What ``alerts.events`` selects; new images have an option of their own."""


def _plain_argument(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise fields.unexpected("a text that is not empty", value)
    return value


class AlertSettings(fields.Section):
    """Who is told of what, and how often. The URLs for Apprise are a secret."""

    ping_url: fields.OptionalUrl = None
    """A monitor that expects pings, as healthchecks.io does; None for none."""
    command: tuple[Annotated[str, BeforeValidator(_plain_argument)], ...] = ()
    """An argument list, run without a shell, which reads each message as JSON; empty for none."""
    timeout: fields.PositiveDuration = timedelta(minutes=1)
    """Longest time for one message on one channel."""
    events: tuple[Annotated[str, fields.choice(*KINDS)], ...] = KINDS
    delay: fields.Duration = timedelta(minutes=2)
    """How long a finding must last before the daemon reports it."""
    interval: fields.PositiveDuration = timedelta(hours=1)
    """The shortest time between two messages of one kind."""
    new_images: fields.Flag = False
    """Whether each cycle reports the new images over the areas."""


def missing_extra() -> str:
    """Return what to install for the URLs of Apprise, or an empty text."""
    if find_spec("apprise") is not None:
        return ""
    return 'expected the extra for Apprise URLs to be installed: pip install "s2mirror[alerts]"'
