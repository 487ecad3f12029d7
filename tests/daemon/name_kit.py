"""A local name server, and commands of the mirror that use only that one."""

import os
import random
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import pytest
from kit import Kit

PORT = 53
SERVER_FAILURE, NO_SUCH_NAME = 2, 3
_HEADER_BYTES, _TYPE_AND_CLASS_BYTES = 12, 4
_IPV4 = b"\x00\x01"
_LOOPBACK = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04\x7f\x00\x00\x01"
"""A response: the requested name is 127.0.0.1, for 0 s."""


class NameServer:
    """Refuses every name until ``knows`` is set; then resolves each to 127.0.0.1."""

    def __init__(self, refusal: int | None) -> None:
        """Respond with the code *refusal*, or not at all if it is None."""
        self._refusal = refusal
        self.knows = False
        self.asked = threading.Event()

    def __enter__(self) -> Self:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.address = ".".join(["127", *(str(random.randint(1, 254)) for _ in range(3))])  # noqa: S311 - any will do
        self._socket.bind((self.address, PORT))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", (self.address, PORT))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(512)
            if not query:
                return
            if self.knows or self._refusal is not None:
                self._socket.sendto(self._answer(query), sender)
            self.asked.set()

    def _answer(self, query: bytes) -> bytes:
        end = query.index(b"\x00", _HEADER_BYTES) + 1 + _TYPE_AND_CLASS_BYTES
        question = query[_HEADER_BYTES:end]
        kind = question[-_TYPE_AND_CLASS_BYTES:][:2]
        code = 0 if self.knows else self._refusal or 0
        found = _LOOPBACK if self.knows and kind == _IPV4 else b""
        counts = b"\x00\x01" + (b"\x00\x01" if found else b"\x00\x00") + bytes(4)
        return query[:2] + b"\x81" + bytes([0x80 | code]) + counts + question + found


@dataclass
class NamingKit(Kit):
    """A kit whose commands resolve names only by the name server."""

    names: NameServer = field(default_factory=lambda: NameServer(None))
    catalog_host: str = "localhost"
    tries: int = 2

    def toml(self) -> str:
        text = super().toml().replace("tries = 2", f"tries = {self.tries}")
        for url in (self.sandbox.stac_url, self.sandbox.odata_url):
            text = text.replace(url, url.replace("localhost", self.catalog_host))
        return text

    def command(self, *arguments: str) -> list[str]:
        """Return a command in a separate mount namespace, where /etc names only that server."""
        files = {
            "hosts": "",
            "nsswitch.conf": "hosts: files dns\n",
            "resolv.conf": f"nameserver {self.names.address}\noptions timeout:1 attempts:1\n",
        }
        steps = []
        for name, text in files.items():
            own = self.folder / name
            own.write_text(text, encoding="utf-8")
            steps.append(f"mount --bind {own} /etc/{name}")
        script = " && ".join([*steps, 'exec "$@"'])
        return ["unshare", "--mount", "sh", "-c", script, "sh", *super().command(*arguments)]


def require_namespaces() -> None:
    """Skip the test if this user may not create a mount namespace."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        pytest.skip("this user may not make a mount namespace")
