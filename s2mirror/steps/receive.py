"""Receive one file: resume it, hash while writing, verify, and try again."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from s2mirror.adapters.archive import Part, Stage
from s2mirror.checksum import COMPUTED, Hasher, new_hasher
from s2mirror.errors import FileLost, IntegrityError, MirrorError, StoreSlow, StoreUnavailable
from s2mirror.model import Digest, RemoteFile, VerifiedFile
from s2mirror.ports import ObjectStore
from s2mirror.steps.throttle import Throttle
from s2mirror.stop import StopFlag

_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class FileJob:
    """One file to receive. Without an announced digest, only its size is verified."""

    file: RemoteFile
    digest: Digest | None = None


@dataclass(slots=True, kw_only=True)
class Receiver:
    """Receives the files of one product. Any thread may use it."""

    store: ObjectStore
    stage: Stage
    tries: int
    on_bytes: Callable[[int], None]
    throttle: Throttle
    stop_receiving: StopFlag
    _received_bytes: int = 0
    _taken_at: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def receive(self, job: FileJob) -> VerifiedFile:
        """Return the verified file; :meth:`finish` completes it.

        A file whose digest is wrong is downloaded again, up to *tries* times; then IntegrityError.
        """
        found = Digest(algorithm="none", hexdigest="")
        for _ in range(self.tries):
            found = self._download(job)
            if job.digest in (None, found):
                file = job.file
                return VerifiedFile(
                    path=file.path, size_bytes=file.size_bytes, etag=file.etag, digest=found
                )
            self.stage.drop(job.file.path)
        raise IntegrityError(
            f"{job.file.path} has the {found.algorithm} digest {found.hexdigest} instead of "
            f"{job.digest.hexdigest if job.digest else 'any'} after {self.tries} downloads; "
            "the product will be tried again"
        )

    def finish(self, file: VerifiedFile) -> VerifiedFile:
        """Complete a verified file. This is disk work, for which no connection should wait."""
        try:
            if not self.stage.has(file.path):
                self.stage.finish(file.path, size_bytes=file.size_bytes)
        except MirrorError:
            self.stop_receiving.set()  # otherwise all other files would be downloaded first
            raise
        return file

    def take_received_bytes(self) -> int:
        """Return the bytes received from the store since the last call."""
        with self._lock:
            taken, self._received_bytes = self._received_bytes, 0
            self._taken_at = time.monotonic()
        return taken

    def uncounted_seconds(self) -> float:
        """Return the seconds since the last call of :meth:`take_received_bytes`."""
        return time.monotonic() - self._taken_at

    def _download(self, job: FileJob) -> Digest:
        """Download all bytes of a file, and return their digest."""
        self.stop_receiving.raise_if_set()
        algorithm = job.digest.algorithm if job.digest else COMPUTED
        try:
            return Digest(algorithm=algorithm, hexdigest=self._hashed(job.file, algorithm))
        except FileLost:
            # Every later try would read the same bytes from the disk, and fail.
            self.stage.drop(job.file.path)
            return Digest(algorithm=algorithm, hexdigest=self._hashed(job.file, algorithm))

    def _hashed(self, file: RemoteFile, algorithm: str) -> str:
        hasher = new_hasher(algorithm)
        if self.stage.has(file.path):
            self.stage.hash_into(file.path, hasher)
        else:
            with self.stage.part(file.path) as part:
                part.hash_into(hasher)
                self._receive_rest(file, part, hasher)
        return hasher.hexdigest()

    def _receive_rest(self, file: RemoteFile, part: Part, hasher: Hasher) -> None:
        """Receive the missing bytes, through short interruptions of the service."""
        failures = 0
        while True:
            start_byte = part.size_bytes
            wait_for_rate(self.store, self.stop_receiving)
            try:
                return self._read(file, part, hasher)
            except StoreUnavailable as error:
                moved_on = part.size_bytes > start_byte and not isinstance(error, StoreSlow)
                failures = 1 if moved_on else failures + 1
                if failures >= self.tries:
                    raise
                self.stop_receiving.wait(_PAUSE_SECONDS * failures)

    def _read(self, file: RemoteFile, part: Part, hasher: Hasher) -> None:
        with (
            self.throttle.connection(self.stop_receiving),
            closing(self.store.read(file, start_byte=part.size_bytes)) as chunks,
        ):
            for chunk in chunks:
                self.stop_receiving.raise_if_set()
                part.append(chunk)
                hasher.update(chunk)
                self._count(len(chunk))

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self._received_bytes += size_bytes
        self.on_bytes(size_bytes)
        self.throttle.take(size_bytes, self.stop_receiving)


def wait_for_rate(store: ObjectStore, stop_receiving: StopFlag) -> None:
    """Wait until the account's rate allows one more request. Raises Stopped."""
    stop_receiving.raise_if_set()
    while (seconds := store.wait_seconds()) > 0:
        stop_receiving.wait(seconds)
        stop_receiving.raise_if_set()
