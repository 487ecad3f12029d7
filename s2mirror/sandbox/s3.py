"""The sandbox's object store: starts and controls the moto process that serves ``eodata``."""

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
    """An S3 server on loopback, without TLS; ``access_key`` and ``secret_key`` may read.

    Objects are stored through a pipe and not over HTTP, so publishing causes no requests.
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
        """Wait until the server is ready."""
        if not self._pipe.poll(_START_SECONDS):
            self.close()
            raise StoreUnavailable(
                f"the sandbox's S3 server was started and was not ready within {_START_SECONDS} s. "
                "Run `python -m s2mirror.sandbox.s3_server --help` to check that it can start"
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
        """Stop the server, which deletes all objects."""
        self._pipe.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def put(self, objects: Mapping[str, bytes]) -> None:
        """Store objects by key; existing ones are replaced."""
        self._ask("put", dict(objects))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; a key that does not exist is no error."""
        self._ask("delete", list(keys))

    def get(self, key: str) -> bytes | None:
        """Return an object's content, or None if it does not exist."""
        content: bytes | None = self._ask("get", key)
        return content

    def list_keys(self, prefix: str = "") -> list[str]:
        """Return all keys that begin with *prefix*, sorted."""
        found: list[str] = self._ask("keys", prefix)
        return found

    def revoke_key(self, access_key: str = "") -> None:
        """Delete a key pair, by default the current one, as if it had expired."""
        self._ask("revoke", access_key or self.access_key)

    def renew_key(self) -> None:
        """Create another key pair and store it in ``access_key`` and ``secret_key``."""
        self.access_key, self.secret_key = self._ask("renew", None)

    def _ask(self, command: str, argument: object) -> Any:  # noqa: ANN401 - depends on the command
        with self._lock:
            self._pipe.send((command, argument))
            outcome, answer = self._receive()
        if outcome == "failed":
            raise StoreUnavailable(
                f"the sandbox's S3 server failed at the command {command!r}: {answer}. "
                "Restart the sandbox"
            )
        return answer

    def _receive(self) -> Any:  # noqa: ANN401 - any value that the server sends
        try:
            return self._pipe.recv()
        except EOFError:
            raise StoreUnavailable(
                f"the sandbox's S3 server ended with exit code {self._process.wait()}; "
                "run `python -m s2mirror.sandbox.s3_server --help` to check that it can start"
            ) from None
