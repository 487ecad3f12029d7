"""Compare one product's folder with the ledger: names, sizes, and on request every byte."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from s2mirror import manifest
from s2mirror.adapters.archive import Archive, FolderContent, hash_files, read_content
from s2mirror.errors import FileLost, HostileInput, MirrorError, PathRefused
from s2mirror.manifest import parse_manifest, required_folders
from s2mirror.model import LedgerEntry, VerifiedFile
from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.steps.file_selection import required

_BATCH_BYTES: Final = 8 * 1024 * 1024
_BATCH_FILES: Final = 64
_SIDECARS: Final = re.compile(
    r"(.*/)?([^/]+\.aux\.xml|\.DS_Store|\._[^/]*|Thumbs\.db|desktop\.ini|@eaDir/.*)"
)
"""What GDAL and operating systems leave beside files, also within products; it is no fault."""


@dataclass(slots=True, kw_only=True)
class ProductCheck:
    """A check that is under way: its bytes are being read."""

    entry: LedgerEntry
    files: Sequence[VerifiedFile]
    faults: list[Fault] = field(default_factory=list)
    """What is known to be wrong already."""
    sidecars: list[str] = field(default_factory=list)
    """Files of other programs within the product, which are no fault."""
    running: list[Future[list[Fault]]] = field(default_factory=list)

    def result(self) -> list[Fault]:
        """Wait until all bytes are read, and return every fault."""
        while self.running:
            self.faults += self.running.pop(0).result()
        return self.faults

    def cancel(self) -> None:
        """Start no further read."""
        for future in self.running:
            future.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductChecker:
    """Checks products in the tree. Any thread may use it."""

    archive: Archive
    workers: Executor
    """Reads and hashes files in parallel."""
    on_piece: Callable[[int], None] | None = None
    """Called with the size of each piece that is read; it may wait, or raise."""

    def begin(
        self, entry: LedgerEntry, files: Sequence[VerifiedFile], *, read_bytes: bool
    ) -> ProductCheck:
        """Compare names and sizes, and begin to read the bytes.

        Raises ArchiveError if the disk cannot be read.
        """
        check = ProductCheck(entry=entry, files=files)
        content = self._content(check)
        if content is None:
            return check
        if not files:
            detail = "the ledger has no list of its files"
            check.faults.append(self._fault(check, FaultKind.FILE_LIST, detail))
            return check
        check.faults += self._differences(check, content)
        if read_bytes:
            readable = [f for f in files if content.files.get(f.path) == f.size_bytes]
            check.faults += self._manifest_faults(check)
            check.running += [
                self.workers.submit(self._wrong_bytes, check, batch) for batch in _batches(readable)
            ]
        return check

    def _content(self, check: ProductCheck) -> FolderContent | None:
        """Return what is in the product's folder; without one, note the fault."""
        path = check.entry.path or ""
        try:
            folder = self.archive.own_folder(check.entry.product.id, path)
            return read_content(self.archive.tree, folder)
        except (HostileInput, PathRefused) as error:
            check.faults.append(self._fault(check, FaultKind.REFUSED, str(error)))
        except FileLost:
            if self.archive.lacks(path):
                kind = FaultKind.FOLDER
                detail = f"the ledger says {check.entry.state}, but {path} does not exist"
            else:
                kind, detail = FaultKind.REFUSED, f"{folder} is not a folder that can be read"
            check.faults.append(self._fault(check, kind, detail))
        return None

    def _differences(self, check: ProductCheck, content: FolderContent) -> Iterator[Fault]:
        """Yield the differences in names and sizes."""
        fault = partial(self._fault, check)
        listed = set()
        for file in check.files:
            listed.add(file.path)
            size_bytes = content.files.get(file.path)
            if size_bytes is None:
                detail = content.odd.get(file.path, f"{file.path} is missing")
                yield fault(FaultKind.FILE, detail, file.path)
            elif size_bytes != file.size_bytes:
                detail = f"{file.path} has {size_bytes} B instead of {file.size_bytes} B"
                yield fault(FaultKind.FILE, detail, file.path)
        for path in sorted((content.files.keys() | content.odd.keys()) - listed):
            if _SIDECARS.fullmatch(path):
                check.sidecars.append(path)
            else:
                detail = f"{path} is within the product, but in no list of its files"
                yield fault(FaultKind.STRAY, detail, path)
        for path in sorted(required_folders(listed) - content.folders):
            yield fault(FaultKind.SUBFOLDER, f"the folder {path} is missing", path)

    def _manifest_faults(self, check: ProductCheck) -> Iterator[Fault]:
        """Yield the differences between the product's manifest and the list of its files."""
        digests = {file.path: file.digest for file in check.files}
        try:
            path = self.archive.folder(check.entry.path or "") / manifest.NAME
            promised = parse_manifest(self.archive.tree.read_bytes(path))
        except (MirrorError, OSError) as error:
            detail = f"{manifest.NAME} cannot be read: {error}"
            yield self._fault(check, FaultKind.FILE, detail, manifest.NAME)
            return
        for found in required(check.entry.selection, promised, digests).values():
            if digests.get(found.path) != found.digest:
                detail = f"{found.path} has another digest in its file list than in its manifest"
                yield self._fault(check, FaultKind.MANIFEST, detail)

    def _wrong_bytes(self, check: ProductCheck, files: Sequence[VerifiedFile]) -> list[Fault]:
        folder = self.archive.folder(check.entry.path or "")
        wanted = [(file.path, file.digest.algorithm) for file in files]
        found = hash_files(self.archive.tree, folder, wanted, self.on_piece)
        try:
            pairs = list(zip(files, found, strict=True))
        except (FileLost, PathRefused) as error:
            return [self._fault(check, FaultKind.FOLDER, str(error))]
        return [
            self._fault(check, FaultKind.FILE, _difference(file, digest), file.path)
            for file, digest in pairs
            if digest != file.digest.hexdigest
        ]

    @staticmethod
    def _fault(check: ProductCheck, kind: FaultKind, detail: str, file: str = "") -> Fault:
        return Fault(kind=kind, product=check.entry.product.id, detail=detail, file=file)


def _difference(file: VerifiedFile, found: str | FileLost) -> str:
    if isinstance(found, FileLost):
        return str(found)
    wanted = f"{file.digest.algorithm} {file.digest.hexdigest}"
    return f"{file.path} hashes to {found} instead of {wanted}"


def _batches(files: Sequence[VerifiedFile]) -> Iterator[list[VerifiedFile]]:
    """Yield the files in groups: small files together, the largest first."""
    batch: list[VerifiedFile] = []
    size_bytes = 0
    for file in sorted(files, key=lambda f: f.size_bytes, reverse=True):
        batch.append(file)
        size_bytes += file.size_bytes
        if size_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch
