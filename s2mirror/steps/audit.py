"""Check the five invariants over ledger and disk.

proven      every product folder verifies, file by file, against its manifest and its listing;
            of a partial product, every selected file
whole       nothing partial or unknown is in the tree
ledger      ledger and disk agree on every product
accounted   every catalog item in scope is known, and every failure has its reason
idempotent  no product in the tree is about to be downloaded again
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath

from s2mirror import manifest
from s2mirror.adapters.archive import Archive, ForeignEntry, Tree
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.errors import FileLost, HostileInput, LedgerError, MirrorError, PathRefused
from s2mirror.layout import product_path
from s2mirror.lifecycle import IN_PROGRESS, TROUBLED, WAITING, State
from s2mirror.manifest import parse_manifest, required_folders
from s2mirror.model import LedgerEntry, Product, VerifiedFile
from s2mirror.steps.file_selection import required


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One violation of an invariant."""

    invariant: str
    product: str
    """ID of the product, or path of a folder that belongs to no product."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was checked, and every fault found. Without faults all invariants hold."""

    products: int
    files: int
    size_bytes: int
    faults: tuple[Fault, ...]
    foreign: tuple[ForeignEntry, ...]
    """Entries that the mirror did not make and does not change; they are no faults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Checks the invariants. It changes nothing but the times of verification in the ledger."""

    ledger: Ledger
    archive: Archive
    template: str
    workers: Executor
    """Reads and hashes files in parallel."""
    mirror_runs: Callable[[], bool]
    """Whether a mirror runs: it may be moving products meanwhile."""
    report_foreign: bool
    """Whether foreign products in the tree are reported."""
    now: Callable[[], datetime]
    also: Callable[[], Iterable[Fault]] = tuple
    """Further checks."""

    def audit(
        self, *, read_bytes: bool = True, on_file: Callable[[VerifiedFile], None] = lambda _: None
    ) -> AuditReport:
        """Compare ledger and disk. Without *read_bytes*, only sizes are compared.

        *on_file* is called with each file once it was checked. Raises ArchiveError if the disk of
        the archive is not mounted: then nothing can be said about its products.
        """
        if (archive_id := self.ledger.state.get(ARCHIVE_ID)) is not None:
            self.archive.require(archive_id)
        faults = list(self._homeless())
        products = files = size_bytes = 0
        for entry in self.ledger.products.in_tree():
            products += 1
            verified = self.ledger.file_lists.held(entry.product.id) or ()
            found = self._faults_of(entry, verified, read_bytes=read_bytes, on_file=on_file)
            faults += found
            if read_bytes and not found:
                self._record_verified(entry.product.id)
            files += len(verified)
            size_bytes += sum(file.size_bytes for file in verified)
        unknown, foreign = self._unknown_folders()
        faults += unknown
        faults += self._loose_ends()
        faults += self.also()
        return AuditReport(
            products=products,
            files=files,
            size_bytes=size_bytes,
            faults=tuple(faults),
            foreign=tuple(foreign),
        )

    def _record_verified(self, product_id: str) -> None:
        with suppress(LedgerError):  # a user who may only read can audit as well
            self.ledger.verifications.record([product_id], at=self.now())

    def _faults_of(
        self,
        entry: LedgerEntry,
        verified: Sequence[VerifiedFile],
        *,
        read_bytes: bool,
        on_file: Callable[[VerifiedFile], None],
    ) -> list[Fault]:
        """Return the faults of a product, except those of a move that a running mirror makes."""
        found = list(self._check_product(entry, verified, read_bytes=read_bytes, on_file=on_file))
        while found and self.mirror_runs():
            leaving = self.ledger.removals.pending()
            now = self.ledger.products.get(entry.product.id)
            if now.product.id in leaving or now.path is None or now.state in IN_PROGRESS:
                return []
            if now == entry:
                break
            entry, verified = now, self.ledger.file_lists.held(now.product.id) or ()
            found = list(
                self._check_product(now, verified, read_bytes=read_bytes, on_file=lambda _: None)
            )
        return found

    def _check_product(
        self,
        entry: LedgerEntry,
        verified: Sequence[VerifiedFile],
        *,
        read_bytes: bool,
        on_file: Callable[[VerifiedFile], None],
    ) -> Iterator[Fault]:
        name = entry.product.id
        if detail := self._folder_fault(entry):
            yield Fault(invariant="ledger", product=name, detail=detail)
            return
        details = list(self._manifest_faults(entry, verified))
        checks = [self.workers.submit(self._file_fault, entry, f, read_bytes) for f in verified]
        for file, check in zip(verified, checks, strict=True):
            if detail := check.result():
                details.append(detail)
            on_file(file)
        folder = self.archive.folder(entry.path or "")
        for needed in sorted(required_folders(file.path for file in verified)):
            if self.archive.tree.lacks(folder / needed):
                details.append(f"the folder {needed} is missing")
            elif refusal := self.archive.tree.refusal(folder / needed):
                details.append(refusal)
        yield from (Fault(invariant="proven", product=name, detail=d) for d in details)

    def _folder_fault(self, entry: LedgerEntry) -> str:
        """Return why a product cannot be checked in its folder, or an empty text."""
        path = entry.path or ""
        try:
            folder = self.archive.own_folder(entry.product.id, path)
        except (HostileInput, PathRefused) as error:
            return str(error)
        if self.archive.lacks(path):
            return f"the ledger says {entry.state}, but {path} does not exist"
        return self.archive.tree.refusal(folder)

    def _file_fault(self, entry: LedgerEntry, file: VerifiedFile, read_bytes: bool) -> str:  # noqa: FBT001 - passed through an executor
        """Return the fault of one file, or an empty text."""
        path = self.archive.folder(entry.path or "") / file.path
        try:
            return _difference(self.archive.tree, path, file, read_bytes=read_bytes)
        except (FileLost, PathRefused) as error:
            return str(error)

    def _manifest_faults(
        self, entry: LedgerEntry, verified: Sequence[VerifiedFile]
    ) -> Iterator[str]:
        """Yield the differences between the product's manifest and its file list."""
        digests = {file.path: file.digest for file in verified}
        if not digests:
            yield "the ledger has no file list; `s2mirror audit --repair` downloads missing files"
            return
        try:
            path = self.archive.folder(entry.path or "") / manifest.NAME
            promised = parse_manifest(self.archive.tree.read_bytes(path))
        except (MirrorError, OSError) as error:
            yield f"{manifest.NAME} cannot be read: {error}"
            return
        for found in required(entry.selection, promised, digests).values():
            if digests.get(found.path) != found.digest:
                yield f"{found.path} has another digest in its file list than in its manifest"

    def _homeless(self) -> Iterator[Fault]:
        """Yield held products without a folder in the ledger."""
        for entry in self.ledger.products.homeless():
            detail = f"it is {entry.state}, but the ledger has no folder for it"
            yield Fault(invariant="ledger", product=entry.product.id, detail=detail)

    def _unknown_folders(self) -> tuple[list[Fault], list[ForeignEntry]]:
        """Return the folders of known products that are not held, and foreign entries.

        Other programs put products of their own into the tree, such as Sen2Cor's output beside its
        input: of those, the ledger does not even know the name.
        """
        unread: list[OSError] = []
        faults, foreign = [], self.archive.foreign_entries()
        for path in self.archive.product_paths(on_error=unread.append):
            if self._is_known(path):
                continue
            if self.ledger.products.known([PurePath(path).stem]):
                detail = "this folder is in the tree, but no held product of the ledger has it"
                faults.append(Fault(invariant="whole", product=path, detail=detail))
            else:
                detail = "the ledger knows no product of this name; the mirror does not change it"
                foreign.append(ForeignEntry(path=path, detail=detail))
        for error in unread:
            detail = f"it cannot be read: {error.strerror}; check its owner and mode"
            foreign.append(ForeignEntry(path=str(error.filename), detail=detail))
        return faults, sorted(foreign) if self.report_foreign else []

    def _is_known(self, path: str) -> bool:
        """Return whether the ledger knows a folder, or a running mirror is moving it."""
        has_folder = self.ledger.products.has_folder
        if has_folder(path) or not self.mirror_runs():
            return has_folder(path)
        return not self.archive.holds(path) or path in self._being_published() or has_folder(path)

    def _being_published(self) -> set[str]:
        entries = self.ledger.products.in_state(State.VERIFIED)
        return {self._path_of(entry.product) for entry in entries}

    def _loose_ends(self) -> Iterator[Fault]:
        for entry in self.ledger.products.in_state(*TROUBLED):
            if not entry.reason:
                detail = f"it is {entry.state} without a reason"
                yield Fault(invariant="accounted", product=entry.product.id, detail=detail)
        for entry in self.ledger.products.in_state(*IN_PROGRESS):
            if not self.mirror_runs():
                detail = f"it is {entry.state}, but no mirror runs; the next start resumes it"
                yield Fault(invariant="accounted", product=entry.product.id, detail=detail)
        for entry in self.ledger.products.in_state(*WAITING):
            path = self._path_of(entry.product) if entry.path is None else ""
            if path and self.archive.holds(path):
                detail = f"it is {entry.state}, but {path} exists already"
                yield Fault(invariant="idempotent", product=entry.product.id, detail=detail)

    def _path_of(self, product: Product) -> str:
        """Return the path that a product will have; "" if it can have none."""
        with suppress(HostileInput):
            return product_path(self.template, product)
        return ""


def _difference(tree: Tree, path: Path, file: VerifiedFile, *, read_bytes: bool) -> str:
    """Return how a file differs from its file list, or an empty text. Raises FileLost."""
    size_bytes = tree.file_bytes(path)
    if size_bytes is None:
        return f"{file.path} is missing"
    if size_bytes != file.size_bytes:
        return f"{file.path} has {size_bytes} B instead of {file.size_bytes} B"
    if not read_bytes:
        return ""
    found = tree.file_digest(path, file.digest.algorithm)
    if found == file.digest.hexdigest:
        return ""
    wanted = f"{file.digest.algorithm} {file.digest.hexdigest}"
    return f"{file.path} hashes to {found} instead of {wanted}"
