"""Reports to systemd: the sd_notify protocol over its datagram socket.

Texts are cleaned: a newline in a reason from outside must not become a command to systemd.
"""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from s2mirror.clean_text import clean_text

_TIMEOUT_SECONDS: Final = 1.0
"""A full socket must not delay a stop for longer."""


class Notifier:
    """Sends ``READY=1`` and the like to the socket in NOTIFY_SOCKET; does nothing without one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ means the NUL byte of Linux's abstract sockets, see sd_notify(3).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdigit() else None
        """The longest time between two notifications of the watchdog; None without a watchdog."""

    def ready(self, status: str) -> None:
        """Report that the service is ready."""
        self._send(f"READY=1\nSTATUS={clean_text(status)}")

    def reloading(self) -> None:
        """Report that the configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Report that the service is stopping."""
        self._send("STOPPING=1")

    def alive(self, status: str) -> None:
        """Notify the watchdog; call this only while the work makes progress."""
        self._send(f"WATCHDOG=1\nSTATUS={clean_text(status)}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        # sd_notify(3): a service ignores errors of its notifications.
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
            channel.settimeout(_TIMEOUT_SECONDS)
            channel.connect(self._address)
            channel.sendall(text.encode())
