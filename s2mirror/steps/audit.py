"""Check the five invariants over ledger and disk.

proven      every product folder verifies, file by file, against its manifest and its listing;
            of a partial product, every selected file
whole       nothing partial or unknown is in the tree
ledger      ledger and disk agree on every product
accounted   every catalog item in scope is known, and every failure has its reason
idempotent  no product in the tree is about to be downloaded again
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Final

from s2mirror.adapters.archive import Archive, ForeignEntry
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.errors import HostileInput, LedgerError
from s2mirror.layout import product_path
from s2mirror.lifecycle import HELD, IN_PROGRESS, TROUBLED, WAITING, State
from s2mirror.model import LedgerEntry, Product, VerifiedFile
from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.steps.check_product import ProductCheck, ProductChecker

_AHEAD: Final = 8
"""Products whose reads are submitted before the first of them is complete."""
_RECORD_EVERY: Final = 200
"""Products whose times of verification are recorded together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What was checked, and every fault found. Without faults all invariants hold."""

    products: int
    files: int
    size_bytes: int
    faults: tuple[Fault, ...]
    foreign: tuple[ForeignEntry, ...]
    """Entries that the mirror did not make and does not change; they are no faults."""


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What an audit has found so far."""

    products: int = 0
    files: int = 0
    size_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    foreign: list[ForeignEntry] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    """Products whose time of verification is not recorded yet."""


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
        self,
        *,
        read_bytes: bool = True,
        chosen: Callable[[LedgerEntry], bool] | None = None,
        on_file: Callable[[VerifiedFile], None] = lambda _: None,
    ) -> AuditReport:
        """Compare ledger and disk. Without *read_bytes*, only names and sizes are compared.

        With *chosen*, only these products are checked, and nothing else. *on_file* is called with
        each file once it was checked. Raises ArchiveError if the disk of the archive is not
        mounted: then nothing can be said about its products.
        """
        if (archive_id := self.ledger.state.get(ARCHIVE_ID)) is not None:
            self.archive.require(archive_id)
        tally = _Tally(faults=list(self._homeless()) if chosen is None else [])
        self._check_products(tally, chosen, on_file, read_bytes=read_bytes)
        if chosen is None:
            unknown, foreign = self._unknown_folders()
            tally.faults += [*unknown, *self._loose_ends(), *self.also()]
            tally.foreign += foreign
        return AuditReport(
            products=tally.products,
            files=tally.files,
            size_bytes=tally.size_bytes,
            faults=tuple(tally.faults),
            foreign=tuple(sorted(tally.foreign) if self.report_foreign else ()),
        )

    def _check_products(
        self,
        tally: _Tally,
        chosen: Callable[[LedgerEntry], bool] | None,
        on_file: Callable[[VerifiedFile], None],
        *,
        read_bytes: bool,
    ) -> None:
        """Check products, some at the same time, so that no core waits for the end of one."""
        checker = ProductChecker(archive=self.archive, workers=self.workers)
        running: deque[ProductCheck] = deque()
        try:
            for entry in self.ledger.products.in_tree():
                if chosen is None or chosen(entry):
                    files = self.ledger.file_lists.held(entry.product.id) or ()
                    running.append(checker.begin(entry, files, read_bytes=read_bytes))
                if len(running) >= (_AHEAD if read_bytes else 1):
                    self._end(running.popleft(), checker, tally, on_file, read_bytes=read_bytes)
            while running:
                self._end(running.popleft(), checker, tally, on_file, read_bytes=read_bytes)
        finally:
            for check in running:
                check.cancel()
            self._record_verified(tally)

    def _end(
        self,
        check: ProductCheck,
        checker: ProductChecker,
        tally: _Tally,
        on_file: Callable[[VerifiedFile], None],
        *,
        read_bytes: bool,
    ) -> None:
        """Wait for a check and take its result."""
        found = self._without_moves(check, checker, read_bytes=read_bytes)
        for file in check.files:
            on_file(file)
        tally.products += 1
        tally.files += len(check.files)
        tally.size_bytes += sum(file.size_bytes for file in check.files)
        tally.faults += found
        tally.foreign += [
            ForeignEntry(
                path=f"{check.entry.path}/{path}", detail="another program made it; it is no fault"
            )
            for path in check.sidecars
        ]
        if read_bytes and not found:
            tally.verified.append(check.entry.product.id)
            if len(tally.verified) >= _RECORD_EVERY:
                self._record_verified(tally)

    def _record_verified(self, tally: _Tally) -> None:
        if tally.verified:
            with suppress(LedgerError):  # a user who may only read can audit as well
                self.ledger.verifications.record(tally.verified, at=self.now())
            tally.verified.clear()

    def _without_moves(
        self, check: ProductCheck, checker: ProductChecker, *, read_bytes: bool
    ) -> list[Fault]:
        """Return the faults of a product, except those of a move that a running mirror makes."""
        found, entry = check.result(), check.entry
        while found and self.mirror_runs():
            leaving = self.ledger.removals.pending()
            now = self.ledger.products.get(entry.product.id)
            if now.product.id in leaving or now.path is None or now.state in IN_PROGRESS:
                return []
            if now == entry:
                break
            entry, files = now, self.ledger.file_lists.held(now.product.id) or ()
            found = checker.begin(now, files, read_bytes=read_bytes).result()
        return found

    def _homeless(self) -> Iterator[Fault]:
        """Yield held products without a folder in the ledger."""
        for entry in self.ledger.products.homeless():
            detail = f"it is {entry.state}, but the ledger has no folder for it"
            yield Fault(kind=FaultKind.FOLDER, product=entry.product.id, detail=detail)

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
            if known := self.ledger.products.find([PurePath(path).stem]):
                (entry,) = known.values()
                faults.append(self._unknown_folder(path, held=entry.state in HELD))
            else:
                detail = (
                    "the ledger knows no product of this name; the mirror does not change it. "
                    "`s2mirror adopt` takes it into the ledger, if it is one of CDSE's"
                )
                foreign.append(ForeignEntry(path=path, detail=detail))
        for error in unread:
            detail = f"it cannot be read: {error.strerror}; check its owner and mode"
            foreign.append(ForeignEntry(path=str(error.filename), detail=detail))
        return faults, foreign

    def _unknown_folder(self, path: str, *, held: bool) -> Fault:
        kind = FaultKind.COPY if held else FaultKind.UNKNOWN
        other = "the held product of this name has another folder" if held else "it is not held"
        return Fault(
            kind=kind,
            product=path,
            detail=f"this folder is in the tree, but {other}",
            file=str(self.archive.folder(path)),
        )

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
                yield Fault(kind=FaultKind.REASON, product=entry.product.id, detail=detail)
        for entry in self.ledger.products.in_state(*IN_PROGRESS):
            if not self.mirror_runs():
                detail = f"it is {entry.state}, but no mirror runs; the next start resumes it"
                yield Fault(kind=FaultKind.INTERRUPTED, product=entry.product.id, detail=detail)
        for entry in self.ledger.products.in_state(*WAITING):
            path = self._path_of(entry.product) if entry.path is None else ""
            if path and self.archive.holds(path):
                detail = f"it is {entry.state}, but {path} exists already"
                yield Fault(kind=FaultKind.WAITING, product=entry.product.id, detail=detail)

    def _path_of(self, product: Product) -> str:
        """Return the path that a product will have; "" if it can have none."""
        with suppress(HostileInput):
            return product_path(self.template, product)
        return ""
