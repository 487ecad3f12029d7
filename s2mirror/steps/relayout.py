"""Move held products to the paths of the configured layout.

A change of ``archive.layout`` moves nothing by itself: a product stays where it was published. This
step moves one product after the other. The move is noted first, then the folder is renamed, then
the path is recorded; after a crash, :func:`settle_moves` records the move or drops its note, and
another run continues with the rest.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import HostileInput, PathRefused
from s2mirror.layout import product_path
from s2mirror.lifecycle import HELD
from s2mirror.model import LedgerEntry
from s2mirror.stop import StopFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """A held product whose path is not the one of the layout."""

    entry: LedgerEntry
    path: str
    """The path of the layout; "" if the layout has none for it."""
    refusal: str = ""
    """Why it cannot be moved there; empty if it can."""


@dataclass(slots=True, kw_only=True)
class Relayout:
    """What was moved, or would be, and what could not be."""

    moved: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Old and new path by product id."""
    refused: dict[str, str] = field(default_factory=dict)
    """Reasons by product id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocator:
    """Moves products to the paths of a template. Nothing else may move products meanwhile."""

    ledger: Ledger
    archive: Archive
    template: str
    marker_suffix: str

    def count(self) -> int:
        """Return how many held products have another path than the template's."""
        return sum(1 for _ in self._elsewhere())

    def _elsewhere(self) -> Iterator[Relocation]:
        """Yield these products, without a look at the disk."""
        for entry in self.ledger.products.held():
            try:
                path = product_path(self.template, entry.product)
            except HostileInput as error:
                yield Relocation(entry=entry, path="", refusal=str(error))
            else:
                if path != entry.path:
                    yield Relocation(entry=entry, path=path)

    def pending(self) -> Iterator[Relocation]:
        """Yield every held product that has another path than the template's."""
        for found in self._elsewhere():
            why = found.refusal or self._refusal(found.entry, found.path)
            yield replace(found, refusal=why)

    def _refusal(self, entry: LedgerEntry, path: str) -> str:
        """Return why a product cannot be moved to *path*; empty if it can."""
        tree, source = self.archive.tree, self.archive.folder(entry.path or "")
        try:
            self.archive.own_folder(entry.product.id, entry.path or "")
            if not tree.is_folder(source):
                return f"{source} does not exist; run `s2mirror audit --repair`"
            if tree.exists(target := self.archive.folder(path)):
                return f"{target} exists already; move it elsewhere"
        except (PathRefused, HostileInput) as error:
            return str(error)
        return ""

    def plan(self) -> Relayout:
        """Return what :meth:`relayout` would do."""
        done = Relayout()
        for found in self.pending():
            _note(done, found)
        return done

    def relayout(self, stop: StopFlag, *, now: datetime) -> Relayout:
        """Move the products that can be moved, until *stop* is set.

        Raises ArchiveError if a folder cannot be renamed: the next ones could not be, either.
        """
        done = Relayout()
        for found in self.pending():
            if stop.is_set():
                break
            if not found.refusal:
                self._move(found, now)
            _note(done, found)
        return done

    def _move(self, found: Relocation, now: datetime) -> None:
        entry, old = found.entry, self.archive.folder(found.entry.path or "")
        self.ledger.moves.begin(entry.product.id, found.path)
        self.archive.move_in_tree(old, self.archive.folder(found.path))
        self._finish(entry, found.path, now)

    def _finish(self, entry: LedgerEntry, path: str, now: datetime) -> None:
        """Move what belongs to a moved folder, and record the move."""
        self._move_marker(entry.path or "", path)
        self.archive.remove_empty_folders(self.archive.folder(entry.path or "").parent)
        self.ledger.moves.record(entry, path, now=now)

    def _move_marker(self, old: str, new: str) -> None:
        """Move a processed marker, unless something is in its place."""
        if self.archive.has_processed_marker(old, self.marker_suffix):
            source, target = (self.archive.folder(path + self.marker_suffix) for path in (old, new))
            with suppress(PathRefused):  # the folder has moved already
                self.archive.move_in_tree(source, target)

    def settle_moves(self, *, now: datetime) -> int:
        """Record the moves that a crash interrupted after the rename; return their number."""
        moves = self.ledger.moves.pending()
        for product_id, path in moves.items():
            entry = self.ledger.products.get(product_id)
            if self._was_renamed(entry, path):
                self._finish(entry, path, now)
            else:
                self.ledger.moves.end(product_id)
        return len(moves)

    def _was_renamed(self, entry: LedgerEntry, path: str) -> bool:
        with suppress(HostileInput, PathRefused):
            self.archive.own_folder(entry.product.id, path)
            is_gone = entry.path not in (None, path) and self.archive.lacks(entry.path or "")
            return entry.state in HELD and is_gone and self.archive.holds(path)
        return False


def _note(done: Relayout, found: Relocation) -> None:
    product_id = found.entry.product.id
    if found.refusal:
        done.refused[product_id] = found.refusal
    else:
        done.moved[product_id] = (found.entry.path or "", found.path)
