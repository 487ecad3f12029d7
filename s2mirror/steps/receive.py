"""Receive one file into staging: resume, hash while writing, verify, and try again."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

from s2mirror import manifest
from s2mirror.adapters.archive import Part, Stage
from s2mirror.checksum import COMPUTED, Hasher, new_hasher, stac_digest
from s2mirror.errors import FileLost, IntegrityError, MirrorError, StoreSlow, StoreUnavailable
from s2mirror.manifest import ManifestObject
from s2mirror.model import Digest, LedgerEntry, Listing, RemoteFile, VerifiedFile
from s2mirror.ports import ObjectStore
from s2mirror.steps.connections import Throttle
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

    product_id: str
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


TRUSTED_AFTER_ATTEMPTS: Final = 3
Versions = Mapping[str, tuple[str, int]]
"""ETag and size in bytes by path."""


def drop_stale(stage: Stage, known: Versions, listing: Listing) -> None:
    """Drop staged files of other versions than the listed one.

    *known* has the version of each file. A complete file of unknown origin is kept at first, as its
    digest may verify it; see :func:`drop_unverifiable`. An incomplete manifest is dropped: after a
    power cut it may contain anything, and it has no digest.
    """
    selected = {file.path: (file.etag, file.size_bytes) for file in listing.files}
    for path, size_bytes in stage.files().items():
        _, wanted_bytes = selected.get(path, ("", -1))
        if size_bytes != wanted_bytes or known.get(path, selected[path]) != selected[path]:
            stage.drop(path)
    for path, size_bytes in stage.partial_files().items():
        if (
            path not in selected
            or known.get(path) != selected[path]
            or size_bytes > selected[path][1]
        ):
            stage.drop(path)
    if manifest.NAME not in known or manifest.NAME in stage.partial_files():
        stage.drop(manifest.NAME)


def accounted(stage: Stage, known: Versions, listing: Listing) -> Listing:
    """Return *listing* without the complete staged files of unknown origin.

    It may be stored before the first byte arrives: files staged from now on are of these versions.
    """
    unknown = set(stage.files()) - set(known)
    return replace(listing, files=tuple(f for f in listing.files if f.path not in unknown))


def drop_unverifiable(
    stage: Stage, known: Versions, promised: Mapping[str, ManifestObject]
) -> None:
    """Drop files without a digest: complete ones of unknown origin, and all incomplete ones."""
    for path in stage.files():
        if path not in known and path not in promised and path != manifest.NAME:
            stage.drop(path)
    for path in stage.partial_files():
        if path not in promised:
            stage.drop(path)


def check_announced(document: bytes, entry: LedgerEntry) -> None:
    """Raise StoreUnavailable if the catalog lists another manifest than the store has.

    Then the store may still have the version before a republication. After some attempts the
    store's manifest is accepted, as the catalog's checksum may be wrong.
    """
    announced = stac_digest(entry.product.revision)
    if (
        announced is None
        or announced.algorithm != "md5"
        or entry.attempts >= TRUSTED_AFTER_ATTEMPTS
    ):
        return
    hasher = new_hasher(announced.algorithm)
    hasher.update(document)
    if hasher.hexdigest() != announced.hexdigest:
        raise StoreUnavailable(
            f"catalog and store disagree: the catalog lists {manifest.NAME} with the MD5 digest "
            f"{announced.hexdigest}, the store's has {hasher.hexdigest()}; the mirror tries again "
            f"and accepts the store's after {TRUSTED_AFTER_ATTEMPTS} attempts"
        )


def check_promises(promised: Mapping[str, ManifestObject], listing: Listing) -> None:
    """Raise unless the store has every file of the manifest, with the same size."""
    sizes = {file.path: file.size_bytes for file in listing.files}
    if missing := sorted(set(promised) - set(sizes)):
        raise StoreUnavailable(
            f"the store lacks {len(missing)} of the {len(promised)} objects of {manifest.NAME}, "
            f"{missing[0]} first: the catalog is ahead of the store; will be tried again"
        )
    for path, found in promised.items():
        if sizes[path] != found.size_bytes:
            raise IntegrityError(
                f"{path} has {sizes[path]} B in the store, {found.size_bytes} B in "
                f"{manifest.NAME}; the product is damaged at its source"
            )
