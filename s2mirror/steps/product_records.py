"""Keep a record of each product beside the archive, from which a lost ledger can be made again.

The ledger notes every change in the transaction that makes it; this step writes the records of
changed products, files before rows: a note is deleted after its record is durable. So a crash costs
a repetition, and no other step waits for the records.
"""

from dataclasses import dataclass
from typing import Final

from s2mirror.adapters.archive import RecordFiles
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.product_records import KINDS, RECORDS
from s2mirror.product_record import pack
from s2mirror.stop import StopFlag

AT_ONCE: Final = 200
"""Records that are written together: their folders are synced once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordKeeper:
    """Writes the records of changed products."""

    ledger: Ledger
    files: RecordFiles
    enabled: bool = True

    def begin(self) -> None:
        """Have changes noted, and note every product if its record may be missing."""
        if not self.enabled:
            self.ledger.changes.unsubscribe(RECORDS)
        elif self.ledger.changes.subscribe(RECORDS, KINDS) or not self.files.exist:
            self.ledger.product_records.note_all()

    def catch_up(self, limit: int = AT_ONCE) -> int:
        """Write the records of the oldest changes, at most *limit*; return how many changes."""
        changes = self.ledger.changes.pending(RECORDS, limit)
        if changes:
            ids = {change.product_id for change in changes}
            records = self.ledger.product_records.of(ids)
            self.files.write({name: pack(record) for name, record in records.items()})
            self.ledger.changes.settle(RECORDS, changes)
        return len(changes)

    def catch_up_all(self, stop: StopFlag) -> int:
        """Write the records of all changes; return how many changes."""
        done = 0
        while not stop.is_set() and (count := self.catch_up()):
            done += count
        return done
