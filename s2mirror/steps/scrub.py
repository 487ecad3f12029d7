"""Verify the archive a share at a time, and repair what is damaged.

The products whose verification is the oldest are read first. The scrub is in no hurry: it reads at
a limited rate, asks after each piece whether it should stop, and continues with the same product
the next time. What it owes is kept in the ledger, so that a stop or a crash loses no share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.adapters.ledger.verifications import ScrubProgress
from s2mirror.lifecycle import HELD
from s2mirror.model import LedgerEntry, VerifiedFile
from s2mirror.planning.faults import Fault
from s2mirror.planning.scrub import is_mass_damage, owed_bytes
from s2mirror.steps.check_product import ProductChecker
from s2mirror.steps.repair import Repairer

_NEW_RUN_AFTER: Final = timedelta(hours=6)
_TRY_AGAIN_AFTER: Final = timedelta(hours=6)
"""A damaged product that could not be repaired is read again after this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubbed:
    """What became of one product."""

    product_id: str
    faults: tuple[Fault, ...] = ()
    repaired: bool = False
    kept: str = ""
    """Why a damaged product stays as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrubber:
    """Verifies products, one after the other."""

    ledger: Ledger
    archive: Archive
    checker: ProductChecker
    repairer: Repairer
    every: timedelta
    now: Callable[[], datetime]

    def begin(self) -> ScrubProgress:
        """Return the progress, with what is owed since the last time; record it."""
        now, known = self.now(), self.ledger.verifications.progress()
        if known is None:
            found = ScrubProgress(at=now)
        else:
            owed = owed_bytes(
                known.owed_bytes,
                self._held_bytes(),
                passed=now - known.at,
                every=self.every,
            )
            found = replace(known, at=now, owed_bytes=owed)
            if now - known.at > _NEW_RUN_AFTER:
                found = replace(found, products=0, damaged=0)
        self.ledger.verifications.set_progress(found)
        return found

    def scrub_one(self) -> Scrubbed | None:
        """Verify the next product that is due; return None if there is none.

        Raises Stopped, and ArchiveError if the disk is not mounted.
        """
        progress = self.begin()
        product_id = None if progress.stopped else self._next(progress)
        if product_id is None:
            return None
        self._require_disk()
        entry = self.ledger.products.get(product_id)
        files = self.ledger.file_lists.held(product_id) or ()
        check = self.checker.begin(entry, files, read_bytes=True)
        try:
            faults = check.result()
        finally:
            check.cancel()
        size_bytes = sum(file.size_bytes for file in files)
        progress = replace(
            progress, owed_bytes=progress.owed_bytes - size_bytes, products=progress.products + 1
        )
        if not faults:
            self.ledger.verifications.record([product_id], at=self.now())
            self.ledger.verifications.set_progress(progress)
            return Scrubbed(product_id=product_id)
        self._require_disk()
        if self._has_changed(entry, files):
            return Scrubbed(product_id=product_id)
        return self._damaged(product_id, faults, replace(progress, damaged=progress.damaged + 1))

    def _damaged(self, product_id: str, faults: list[Fault], progress: ScrubProgress) -> Scrubbed:
        """Record the damage; repair it unless so much is damaged that the disk may be failing."""
        detail = faults[0].detail
        self.ledger.verifications.note_damage(product_id, detail, at=self.now())
        self.ledger.events.add(
            "product.damaged", at=self.now(), product_id=product_id, detail=detail
        )
        if is_mass_damage(progress.products, progress.damaged):
            stopped = (
                f"{progress.damaged} of the {progress.products} products that the scrub read last "
                "are damaged: the disk may be failing; nothing more is read or repaired"
            )
            self.ledger.verifications.set_progress(replace(progress, stopped=stopped))
            self.ledger.events.add("scrub.stopped", at=self.now(), detail=stopped)
            return Scrubbed(product_id=product_id, faults=tuple(faults), kept=stopped)
        self.ledger.verifications.set_progress(progress)
        kept = self.repairer.repair(faults).kept.get(product_id, "")
        repaired = not any(d.product_id == product_id for d in self.ledger.verifications.damages())
        return Scrubbed(
            product_id=product_id, faults=tuple(faults), repaired=repaired and not kept, kept=kept
        )

    def _next(self, progress: ScrubProgress) -> str | None:
        now = self.now()
        return self.ledger.verifications.oldest(
            before=now if progress.owed_bytes > 0 else now - self.every,
            now=now,
            tried_after=now - _TRY_AGAIN_AFTER,
        )

    def _has_changed(self, entry: LedgerEntry, files: Sequence[VerifiedFile]) -> bool:
        """Return whether the mirror moves or replaces the product, or has replaced it meanwhile."""
        product_id = entry.product.id
        now = self.ledger.products.get(product_id)
        if now.state not in HELD or now.path != entry.path:
            return True
        same = list(self.ledger.file_lists.held(product_id) or ()) == list(files)
        return not same or product_id in self.ledger.removals.pending()

    def _require_disk(self) -> None:
        if (archive_id := self.ledger.state.get(ARCHIVE_ID)) is not None:
            self.archive.require(archive_id)

    def _held_bytes(self) -> int:
        counts = self.ledger.products.counts()
        return sum(counts.get(state, (0, 0))[1] for state in HELD)
