"""Sends one message through Apprise, in a process of its own.

The mirror starts this file as a program; it imports nothing but the standard library and Apprise.
Standard input: one JSON document; the URL in it is a secret. Exit code: 0 if the message was
delivered, else 1, with the reason on standard output, in which every part of the URL is hidden.
"""

import json
import logging
import os
import re
import resource
import sys
from typing import Final

_MEMORY_BYTES: Final = 1 << 30
_CPU_SECONDS: Final = 30
_HIDDEN: Final = "********"
_MIN_PART_CHARACTERS: Final = 4
_TYPES: Final = {"ok": "success", "notice": "info", "warning": "warning", "failure": "failure"}


class _Collector(logging.Handler):
    """Keeps what Apprise logs, for the reason of a failure."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.texts.append(record.getMessage())


def main() -> int:
    """Send the message on standard input; return the exit code."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
    request = json.load(sys.stdin)
    if request["ca_file"]:
        os.environ["REQUESTS_CA_BUNDLE"] = request["ca_file"]
    said = _Collector()
    logging.getLogger("apprise").addHandler(said)
    reason = _send(request, said)
    if reason:
        sys.stdout.write(hidden(reason, request["url"]) + "\n")
    return 1 if reason else 0


def _send(request: dict[str, str], said: _Collector) -> str:
    """Send a message; return why that failed, or an empty text."""
    import apprise  # noqa: PLC0415 - after the limits are set

    # Apprise follows redirects to any host; a message goes only where it was addressed.
    asset = apprise.AppriseAsset(app_id="s2mirror", http_redirects=False, async_mode=False)
    sender = apprise.Apprise(asset=asset)
    if not sender.add(request["url"]):
        return "Apprise does not know this kind of URL, or it is incomplete"
    kind = apprise.NotifyType(_TYPES[request["severity"]])
    if sender.notify(title=request["title"], body=request["body"], notify_type=kind):
        return ""
    return "; ".join(said.texts) or "the service did not accept the message"


def hidden(text: str, url: str) -> str:
    """Return *text* with every part of *url* but its scheme hidden."""
    parts = re.split(r"[:/@?&=#]+", url.partition("://")[2])
    for part in sorted({url, *parts}, key=len, reverse=True):
        if len(part) >= _MIN_PART_CHARACTERS:
            text = text.replace(part, _HIDDEN)
    return " ".join(text.split())


if __name__ == "__main__":
    sys.exit(main())
