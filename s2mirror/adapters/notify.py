"""Tell systemd how the service does: the sd_notify protocol over its datagram socket."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

_PATIENCE_SECONDS: Final = 1.0
"""A full socket must not hold up a stop."""


class Notifier:
    """Sends ``READY=1`` and the like to the socket that systemd named; silent without one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the NUL byte of Linux's abstract sockets, see sd_notify(3).
        self._address = "\0" + address[1:] if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        self.watchdog_seconds = int(microseconds) / 1e6 if microseconds.isdigit() else None
        """How often systemd wants to hear of us at least; None if it does not."""

    def ready(self, status: str) -> None:
        """Say that the service does its work."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._send("STOPPING=1")

    def alive(self, status: str) -> None:
        """Feed the watchdog; call it only when the work really goes on."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
        # sd_notify(3): whether it was heard is nobody's concern but the manager's.
        with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
            channel.settimeout(_PATIENCE_SECONDS)
            channel.connect(self._address)
            channel.sendall(text.encode())
