"""Channels to the operators: pings to a monitor, and messages through Apprise.

Apprise has a plugin per service, and none of them limits a response. It therefore runs in a process
of its own, with limits on time and memory, and nothing of it stays in the daemon.
"""

import json
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from requests import RequestException, Response, Session

from s2mirror.bounded_http import HttpLimits, bound
from s2mirror.clean_text import clean_text
from s2mirror.errors import AlertError

_WORKER: Final = Path(__file__).with_name("apprise_worker.py")
_MAX_BYTES: Final = 64 * 1024
_SHOWN: Final = 200
_NOT_COUNTED: Final = "OK ("
"""For old clients, healthchecks.io sends status 200 also for pings that it does not count."""


class Signal(StrEnum):
    """What a ping says, as the end of its URL in the convention of healthchecks.io."""

    START = "/start"
    SUCCESS = ""
    FAIL = "/fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """A monitor that raises an alarm when pings stop."""

    url: str
    timeout_seconds: float
    ca_file: Path | None

    def ping(self, signal: Signal, text: str) -> None:
        """Send one ping with *text* as its body. Raises AlertError; no text of it has the URL."""
        limits = HttpLimits(
            max_bytes=_MAX_BYTES,
            timeout_seconds=self.timeout_seconds,
            deadline_seconds=self.timeout_seconds,
            ca_file=self.ca_file,
        )
        try:
            with Session() as session:
                bound(session, limits)
                response = session.post(f"{self.url.rstrip('/')}{signal}", data=text.encode())
        except RequestException as error:
            raise AlertError(self._hidden(f"sending a ping failed: {error}")) from error
        self._check(response)

    def _check(self, response: Response) -> None:
        said = clean_text(response.text[:_SHOWN]).strip()
        if not response.ok or said.startswith(_NOT_COUNTED):
            raise AlertError(
                self._hidden(
                    f"sending a ping failed: the monitor responded {response.status_code} {said}; "
                    "compare alerts.ping_url with the address that the monitor shows"
                )
            )

    def _hidden(self, text: str) -> str:
        """Return *text* without the path of the URL: who knows it can send pings."""
        path = urlsplit(self.url).path.rstrip("/")
        return text.replace(path, "/********") if path else text


def apprise_command() -> list[str]:
    """Return the command that sends one message through Apprise; it reads an `apprise_request`."""
    return [sys.executable, "-I", str(_WORKER)]


def apprise_request(
    url: str, *, title: str, body: str, severity: str, ca_file: Path | None
) -> bytes:
    """Return the standard input of the command that sends one message."""
    request = {"url": url, "title": title, "body": body, "severity": severity}
    return json.dumps(request | {"ca_file": str(ca_file or "")}).encode()
