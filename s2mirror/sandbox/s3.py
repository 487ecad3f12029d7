"""The sandbox's object store: a handle on the moto process that serves ``eodata``."""

import subprocess
import sys
from collections.abc import Iterable, Mapping
from multiprocessing import Pipe
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

from s2mirror.errors import StoreUnavailable

BUCKET: Final = "eodata"
_START_SECONDS: Final = 90
_STOP_SECONDS: Final = 30


class ObjectStore:
    """An S3 server on loopback, without TLS; ``access_key`` and ``secret_key`` may read it.

    Its objects are set from here, not over HTTP, so that publishing costs no requests.
    """

    def __init__(self) -> None:
        self._pipe, theirs = Pipe()
        self._lock = Lock()
        command = [sys.executable, "-m", "s2mirror.sandbox.s3_server"]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [*command, "--pipe-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self.port = 0
        self.access_key = ""
        self.secret_key = ""

    def __enter__(self) -> Self:
        """Wait until the server answers."""
        if not self._pipe.poll(_START_SECONDS):
            self.close()
            raise StoreUnavailable(
                f"started the sandbox's S3 server; no sign of life within {_START_SECONDS} s. "
                "Run `python -m s2mirror.sandbox.s3_server --help` to see whether it can start"
            )
        self.port, self.access_key, self.secret_key = self._receive()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the server; all objects are gone."""
        self._pipe.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Add objects by key, or replace them."""
        self._ask("put", dict(objects))

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; a key that is not there is no error."""
        self._ask("delete", list(keys))

    def get(self, key: str) -> bytes | None:
        """Return an object's content, or None if there is none."""
        content: bytes | None = self._ask("get", key)
        return content

    def list_keys(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with *prefix*, sorted."""
        found: list[str] = self._ask("keys", prefix)
        return found

    def revoke_key(self, access_key: str = "") -> None:
        """Make a key pair, the current one if none is named, unknown as an expired one is."""
        self._ask("revoke", access_key or self.access_key)

    def renew_key(self) -> None:
        """Make one more key pair and hold it in ``access_key`` and ``secret_key``."""
        self.access_key, self.secret_key = self._ask("renew", None)

    def _ask(self, command: str, argument: object) -> Any:  # noqa: ANN401 - each command's own
        with self._lock:
            self._pipe.send((command, argument))
            outcome, answer = self._receive()
        if outcome == "failed":
            raise StoreUnavailable(
                f"asked the sandbox's S3 server to {command}; it said {answer}. "
                "Start the sandbox anew"
            )
        return answer

    def _receive(self) -> Any:  # noqa: ANN401 - whatever the server sends
        try:
            return self._pipe.recv()
        except EOFError:
            raise StoreUnavailable(
                f"the sandbox's S3 server ended with exit code {self._process.wait()}; "
                "run `python -m s2mirror.sandbox.s3_server --help` to see whether it can start"
            ) from None
