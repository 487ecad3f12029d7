"""Verify the files of a product that is on disk, where they are or while they are copied.

A file that cannot be read or does not match is a fault of its product. An error while the archive
is written is none, and ends the adoption.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import IO, Final

from s2mirror.adapters.archive import (
    NO_HARD_LINKS,
    Archive,
    ProductSource,
    Stage,
    Tree,
    explained,
)
from s2mirror.checksum import new_hasher
from s2mirror.errors import ArchiveError, IntegrityError, MirrorError, PathRefused, UsageError
from s2mirror.model import Digest, VerifiedFile
from s2mirror.steps.source_contents import WantedFile, readable
from s2mirror.stop import StopFlag

_READ_BYTES: Final = 1024 * 1024
_JOB_BYTES: Final = 16 * 1024**2
"""Small files are hashed together, so that no time is lost between threads."""
Place = Callable[[ProductSource, WantedFile], str]
"""Puts one file where it should be, and returns the hex digest of its bytes there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The files of a product that match its manifest, and those that do not."""

    files: tuple[VerifiedFile, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVerifier:
    """Verifies the files of products, several at once."""

    workers: Executor
    stop: StopFlag
    on_bytes: Callable[[int], None]

    def verify(self, source: ProductSource, wanted: list[WantedFile], place: Place) -> Verified:
        """Put each file in its place and hash it, with all threads at once."""
        jobs = [
            self.workers.submit(self._verify_some, source, some, place) for some in _in_jobs(wanted)
        ]
        try:
            results = [result for job in jobs for result in job.result()]
        except BaseException:
            for job in jobs:
                job.cancel()
            raise
        return Verified(
            files=tuple(found for found in results if isinstance(found, VerifiedFile)),
            damaged=tuple(found for found in results if isinstance(found, str)),
        )

    def _verify_some(
        self, source: ProductSource, some: list[WantedFile], place: Place
    ) -> list[VerifiedFile | str]:
        return [self._verify_file(source, wanted, place) for wanted in some]

    def _verify_file(
        self, source: ProductSource, wanted: WantedFile, place: Place
    ) -> VerifiedFile | str:
        """Return a file if it matches; otherwise why it does not."""
        self.stop.raise_if_set()
        path, size_bytes, digest = wanted
        try:
            found = Digest(algorithm=wanted.algorithm, hexdigest=place(source, wanted))
        except (IntegrityError, PathRefused) as error:
            return f"{path}: {error}"
        self.on_bytes(size_bytes)
        if digest not in (None, found):
            return f"{path} has another digest than in its manifest"
        return VerifiedFile(path=path, size_bytes=size_bytes, etag="", digest=found)


def _in_jobs(wanted: list[WantedFile]) -> Iterator[list[WantedFile]]:
    """Yield files in jobs of about equal size, large files first."""
    some: list[WantedFile] = []
    size_bytes = 0
    for file in sorted(wanted, key=lambda file: -file.size_bytes):
        some.append(file)
        size_bytes += file.size_bytes
        if size_bytes >= _JOB_BYTES:
            yield some
            some, size_bytes = [], 0
    if some:
        yield some


def read_in_place(source: ProductSource, wanted: WantedFile) -> str:
    """Hash a file where it is."""
    hasher = new_hasher(wanted.algorithm)
    for chunk in _chunks(source, wanted):
        hasher.update(chunk)
    return hasher.hexdigest()


def copying_into(stage: Stage) -> Place:
    """Return how to copy files to staging. A good file in staging is not copied again."""

    def place(source: ProductSource, wanted: WantedFile) -> str:
        """Copy one file, and hash what is written."""
        path, size_bytes, digest = wanted
        if digest and stage.has(path):
            staged = new_hasher(wanted.algorithm)
            stage.hash_into(path, staged)
            if staged.hexdigest() == digest.hexdigest:
                return digest.hexdigest
        stage.drop(path)
        hasher = new_hasher(wanted.algorithm)
        with stage.part(path) as part:
            for chunk in _chunks(source, wanted):
                part.append(chunk)
                hasher.update(chunk)
        stage.finish(path, size_bytes=size_bytes)
        return hasher.hexdigest()

    return place


def linking_into(stage: Stage, *, or_copy: bool) -> Place:
    """Return how to link files to staging; with *or_copy*, to copy where no link is possible."""
    copy = copying_into(stage)

    def place(source: ProductSource, wanted: WantedFile) -> str:
        """Link one file, and hash what was linked."""
        path = wanted.path
        stage.drop(path)
        with readable(path):
            file = source.open(path)
        with closing(file):
            try:
                stage.link(path, file)
            except OSError as error:
                if error.errno not in NO_HARD_LINKS or not or_copy:
                    raise _not_linked(path, error) from error
                return copy(source, wanted)
            hasher = new_hasher(wanted.algorithm)
            with readable(path):
                for chunk in _read(file, wanted):
                    hasher.update(chunk)
        return hasher.hexdigest()

    return place


def _not_linked(path: str, error: OSError) -> MirrorError:
    """Return the error for a hard link that the system refuses."""
    if error.errno in NO_HARD_LINKS:
        return UsageError(
            f"{path} cannot be linked into the archive: {error.strerror}. A hard link needs source "
            "and archive on one file system that has hard links, and a file of this user; use "
            "--copy or --move"
        )
    return ArchiveError(f"linking {path} into the archive: {error}; read the system log")


def remove_source(archive: Archive, path: str, files: Iterable[VerifiedFile], source: Path) -> int:
    """Remove the files of a moved product from where it was; return how many stay.

    A file is removed only if it is the held file itself, by its inode, or has the same bytes, and
    if the archive has that file with its size. Other files stay, and so do their folders. Raises
    PathRefused if the source is the folder in the archive, by another name: then nothing moves.
    """
    tree, held = Tree(source.parent), archive.folder(path)
    _require_another_folder(tree.status(source), archive.tree.status(held), held)
    stays = 0
    with explained(f"removing {source}, which was moved"):
        for file in files:
            status = tree.status(source / file.path)
            if status is None:
                continue
            own = archive.tree.status(held / file.path)
            same = own is not None and (own.st_dev, own.st_ino) == (status.st_dev, status.st_ino)
            if (
                own is not None
                and own.st_size == file.size_bytes
                and (
                    same
                    or tree.file_digest(source / file.path, file.digest.algorithm)
                    == file.digest.hexdigest
                )
            ):
                tree.remove_file(source / file.path)
            else:
                stays += 1
        for folder, names in [*tree.walk(source)]:
            stays += len(names)
            tree.remove_empty_folder(folder)
    return stays


def _require_another_folder(
    source: stat_result | None, own: stat_result | None, held: Path
) -> None:
    """Raise PathRefused if both are one folder.

    A bind mount or a network mount gives it a second name. Only the number is compared, as a
    network file system may be another device under each name.
    """
    if source is not None and own is not None and source.st_ino == own.st_ino:
        raise PathRefused(f"it is the same folder as {held} in the archive, by another name")


def _chunks(source: ProductSource, wanted: WantedFile) -> Iterator[bytes]:
    with readable(wanted.path), source.open(wanted.path) as file:
        yield from _read(file, wanted)


def _read(file: IO[bytes], wanted: WantedFile) -> Iterator[bytes]:
    """Yield the bytes of a file. Raises IntegrityError if there are more or fewer than stated."""
    left = wanted.size_bytes
    while chunk := file.read(_READ_BYTES):
        left -= len(chunk)
        if left < 0:
            break
        yield chunk
    if left:
        raise IntegrityError(f"it does not have the {wanted.size_bytes} B that its manifest states")
