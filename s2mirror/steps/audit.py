"""Look whether the mirror keeps what it promises: five invariants, over ledger and disk.

proven      every product folder verifies, file by file, against its manifest and its listing;
            of one that is partial by choice, every file that was chosen
whole       nothing partial or unknown stands in the tree
ledger      ledger and disk say the same of every product
accounted   every catalog item in scope is known, and every failure has its reason
idempotent  nothing that stands in the tree is about to be fetched again
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
    """One broken promise."""

    invariant: str
    product: str
    """Id of the product, or path of a folder that no product has."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was looked at, and every fault found. No fault means that all invariants hold."""

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
    """Reads and hashes files side by side."""
    mirror_runs: Callable[[], bool]
    """Whether another process may be at work: then products may be in its hands."""
    also: Callable[[], Iterable[Fault]] = tuple
    """What else is to be looked at."""

    def audit(
        self, *, read_bytes: bool = True, heard: Callable[[VerifiedFile], None] = lambda _: None
    ) -> AuditReport:
        """Check what ledger and disk say. Without *read_bytes*, sizes are the only proof.

        *heard* is told of each file once it was checked.
        """
        faults = list(self._homeless())
        products = files = size_bytes = 0
        for entry in self.ledger.products.in_tree():
            products += 1
            proof = self.ledger.file_lists.held(entry.product.id) or ()
            faults += self._faults_of(entry, proof, read_bytes=read_bytes, heard=heard)
            files += len(proof)
            size_bytes += sum(file.size_bytes for file in proof)
        faults += self._unknown_folders()
        faults += self._loose_ends()
        faults += self.also()
        return AuditReport(
            products=products, files=files, size_bytes=size_bytes, faults=tuple(faults)
        )

    def _faults_of(
        self,
        entry: LedgerEntry,
        proof: Sequence[VerifiedFile],
        *,
        read_bytes: bool,
        heard: Callable[[VerifiedFile], None],
    ) -> list[Fault]:
        """Return what is wrong with a product, and not just in the hands of a mirror at work."""
        found = list(self._look_at(entry, proof, read_bytes=read_bytes, heard=heard))
        while found and self.mirror_runs():
            leaving = self.ledger.removals.pending()
            now = self.ledger.products.get(entry.product.id)
            if now.product.id in leaving or now.path is None or now.state in IN_PROGRESS:
                return []
            if now == entry:
                break
            entry, proof = now, self.ledger.file_lists.held(now.product.id) or ()
            found = list(self._look_at(now, proof, read_bytes=read_bytes, heard=lambda _: None))
        return found

    def _look_at(
        self,
        entry: LedgerEntry,
        proof: Sequence[VerifiedFile],
        *,
        read_bytes: bool,
        heard: Callable[[VerifiedFile], None],
    ) -> Iterator[Fault]:
        name = entry.product.id
        if not self.archive.holds(entry.path or ""):
            detail = f"the ledger says {entry.state}, but {entry.path} is not there"
            yield Fault(invariant="ledger", product=name, detail=detail)
            return
        details = list(self._manifest_faults(entry, proof))
        checks = [self.workers.submit(self._file_fault, entry, f, read_bytes) for f in proof]
        for file, check in zip(proof, checks, strict=True):
            if detail := check.result():
                details.append(detail)
            heard(file)
        folder = self.archive.folder(entry.path or "")
        needed = sorted(required_folders(file.path for file in proof))
        details += [f"the folder {n} is missing" for n in needed if not (folder / n).is_dir()]
        yield from (Fault(invariant="proven", product=name, detail=d) for d in details)

    def _file_fault(self, entry: LedgerEntry, file: VerifiedFile, read_bytes: bool) -> str:  # noqa: FBT001 - passed through an executor
        """Return what is wrong with one file, or an empty text."""
        path = self.archive.folder(entry.path or "") / file.path
        try:
            return _difference(path, file, read_bytes=read_bytes)
        except FileLost as error:
            return str(error)

    def _manifest_faults(self, entry: LedgerEntry, proof: Sequence[VerifiedFile]) -> Iterator[str]:
        """Yield what the product's own manifest promises and the ledger's proof does not say."""
        proven = {file.path: file.digest for file in proof}
        if not proven:
            yield "the ledger has no proof of it; `s2mirror audit --repair` fetches what is missing"
            return
        try:
            path = self.archive.folder(entry.path or "") / manifest.NAME
            promised = parse_manifest(path.read_bytes())
        except (MirrorError, OSError) as error:
            yield f"{manifest.NAME} cannot be read: {error}"
            return
        for found in required(entry.selection, promised, proven).values():
            if proven.get(found.path) != found.digest:
                yield f"{found.path} was proven with another digest than its manifest promises"

    def _homeless(self) -> Iterator[Fault]:
        """Yield products that count as held, but of which the ledger knows no folder."""
        for entry in self.ledger.products.homeless():
            detail = f"it is {entry.state}, but the ledger knows no folder of it"
            yield Fault(invariant="ledger", product=entry.product.id, detail=detail)

    def _unknown_folders(self) -> Iterator[Fault]:
        for path in self.archive.product_paths():
            if not self._is_known(path):
                detail = "this folder stands in the tree, but the ledger holds no such product"
                yield Fault(invariant="whole", product=path, detail=detail)

    def _is_known(self, path: str) -> bool:
        """Tell whether the ledger knows of a folder, or a mirror at work just moves it."""
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
                detail = f"it is {entry.state}, but no mirror runs; the next start mends it"
                yield Fault(invariant="accounted", product=entry.product.id, detail=detail)
        for entry in self.ledger.products.in_state(*WAITING):
            if entry.path is None and self.archive.holds(
                path := product_path(self.template, entry.product)
            ):
                detail = f"it waits to be fetched, but {path} is there already"
                yield Fault(invariant="idempotent", product=entry.product.id, detail=detail)


def _difference(path: Path, file: VerifiedFile, *, read_bytes: bool) -> str:
    """Return how a file on disk is not what was proven, or an empty text. Raises FileLost."""
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
