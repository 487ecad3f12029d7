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
from dataclasses import dataclass
from pathlib import Path

from s2mirror import manifest
from s2mirror.adapters.archive import Archive, file_bytes, file_digest
from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import FileLost, MirrorError
from s2mirror.layout import product_path
from s2mirror.lifecycle import IN_PROGRESS, TROUBLED, WAITING, State
from s2mirror.manifest import parse_manifest, required_folders
from s2mirror.model import LedgerEntry, VerifiedFile
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Auditor:
    """Checks the invariants. Reads only."""

    ledger: Ledger
    archive: Archive
    template: str
    workers: Executor
    """Reads and hashes files in parallel."""
    mirror_runs: Callable[[], bool]
    """Whether a mirror runs: then it may be moving products at this time."""
    also: Callable[[], Iterable[Fault]] = tuple
    """Further checks."""

    def audit(
        self, *, read_bytes: bool = True, on_file: Callable[[VerifiedFile], None] = lambda _: None
    ) -> AuditReport:
        """Compare ledger and disk. Without *read_bytes*, only sizes are compared.

        *on_file* is called with each file once it was checked.
        """
        faults = list(self._homeless())
        products = files = size_bytes = 0
        for entry in self.ledger.products.in_tree():
            products += 1
            verified = self.ledger.file_lists.held(entry.product.id) or ()
            faults += self._faults_of(entry, verified, read_bytes=read_bytes, on_file=on_file)
            files += len(verified)
            size_bytes += sum(file.size_bytes for file in verified)
        faults += self._unknown_folders()
        faults += self._loose_ends()
        faults += self.also()
        return AuditReport(
            products=products, files=files, size_bytes=size_bytes, faults=tuple(faults)
        )

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
        if not self.archive.holds(entry.path or ""):
            detail = f"the ledger says {entry.state}, but {entry.path} does not exist"
            yield Fault(invariant="ledger", product=name, detail=detail)
            return
        details = list(self._manifest_faults(entry, verified))
        checks = [self.workers.submit(self._file_fault, entry, f, read_bytes) for f in verified]
        for file, check in zip(verified, checks, strict=True):
            if detail := check.result():
                details.append(detail)
            on_file(file)
        folder = self.archive.folder(entry.path or "")
        needed = sorted(required_folders(file.path for file in verified))
        details += [f"the folder {n} is missing" for n in needed if not (folder / n).is_dir()]
        yield from (Fault(invariant="proven", product=name, detail=d) for d in details)

    def _file_fault(self, entry: LedgerEntry, file: VerifiedFile, read_bytes: bool) -> str:  # noqa: FBT001 - passed through an executor
        """Return the fault of one file, or an empty text."""
        path = self.archive.folder(entry.path or "") / file.path
        try:
            return _difference(path, file, read_bytes=read_bytes)
        except FileLost as error:
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
            promised = parse_manifest(path.read_bytes())
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

    def _unknown_folders(self) -> Iterator[Fault]:
        for path in self.archive.product_paths():
            if not self._is_known(path):
                detail = "this folder is in the tree, but no held product of the ledger has it"
                yield Fault(invariant="whole", product=path, detail=detail)

    def _is_known(self, path: str) -> bool:
        """Return whether the ledger knows a folder, or a running mirror is moving it."""
        stands = self.ledger.products.stands
        if stands(path) or not self.mirror_runs():
            return stands(path)
        return not self.archive.holds(path) or path in self._being_published() or stands(path)

    def _being_published(self) -> set[str]:
        entries = self.ledger.products.in_state(State.VERIFIED)
        return {product_path(self.template, entry.product) for entry in entries}

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
            if entry.path is None and self.archive.holds(
                path := product_path(self.template, entry.product)
            ):
                detail = f"it is {entry.state}, but {path} exists already"
                yield Fault(invariant="idempotent", product=entry.product.id, detail=detail)


def _difference(path: Path, file: VerifiedFile, *, read_bytes: bool) -> str:
    """Return how a file differs from its file list, or an empty text. Raises FileLost."""
    size_bytes = file_bytes(path)
    if size_bytes is None:
        return f"{file.path} is missing"
    if size_bytes != file.size_bytes:
        return f"{file.path} has {size_bytes} B instead of {file.size_bytes} B"
    if not read_bytes:
        return ""
    found = file_digest(path, file.digest.algorithm)
    if found == file.digest.hexdigest:
        return ""
    wanted = f"{file.digest.algorithm} {file.digest.hexdigest}"
    return f"{file.path} hashes to {found} instead of {wanted}"
