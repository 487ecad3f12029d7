"""The log: an event name and values per line; JSON unless on a terminal; secrets are hidden."""

import logging
import os
import sys
import textwrap
from collections.abc import Iterable, MutableMapping
from typing import Any, Final

import structlog

from s2mirror.clean_text import clean_text, clean_value
from s2mirror.service.log_output import LOG_OUTPUT

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_HIDDEN: Final = "********"
_MIN_SECRET_CHARACTERS: Final = 4

log: Final = structlog.get_logger()


class _Logger:
    """Hands every line to the log's output, whatever its level."""

    def msg(self, text: str) -> None:
        """Write one line."""
        LOG_OUTPUT.write_line(text)

    log = debug = info = warn = warning = error = critical = fatal = exception = msg


def clean_texts(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Return *event* with clean texts, so that no text from outside can forge a line.

    A traceback keeps its lines, which are indented: no line of the log begins with a space.
    """
    for key, value in event.items():
        if key == "exception" and isinstance(value, str):
            event[key] = textwrap.indent(clean_text(value, keep="\n"), "    ")
        else:
            event[key] = clean_value(value)
    return event


class Redactor:
    """A structlog processor that replaces every secret in every value."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = [text for text in secrets if len(text) >= _MIN_SECRET_CHARACTERS]

    def __call__(
        self, _logger: object, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """Return *event* with every secret replaced."""
        for key, value in event.items():
            event[key] = self.hide(value)
        return event

    def hide(self, value: object) -> object:
        """Return *value* with every secret replaced, in lists too."""
        if isinstance(value, list | tuple):
            return [self.hide(part) for part in value]
        if not isinstance(value, str):
            return value
        for secret in self._secrets:
            value = value.replace(secret, _HIDDEN)
        return value


def _use_colors() -> bool:
    return (
        sys.stderr.isatty()
        and not os.environ.get("NO_COLOR")  # see no-color.org
        and os.environ.get("TERM") != "dumb"
    )


def set_up_logs(*, level: str, form: str, secrets: Iterable[str]) -> None:
    """Write the log to stderr as ``json`` or ``text``; ``auto`` is text on a terminal."""
    # Libraries log through the standard library; their messages are not part of this log.
    logging.basicConfig(level=logging.CRITICAL)
    as_json = form == "json" or (form == "auto" and not sys.stderr.isatty())
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=_use_colors())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            Redactor(secrets),
            clean_texts,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Logger(),
        cache_logger_on_first_use=False,
    )
