"""Write the change feed: one JSON line per change of the archive, for consumers elsewhere.

The ledger notes each change of a product. This step compares what the feed last said of the
product with what the ledger says now, and turns the difference into a line. Lines are numbered and
stored in the ledger in the transaction that settles the notes; only then are they written to the
file. So a crash repeats a line with the same number, and leaves none out.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from s2mirror.adapters.archive import ChangeFeed
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.change_feed import Announced, FeedLine
from s2mirror.adapters.ledger.changes import Change, ChangeKind
from s2mirror.model import ArchivedProduct, LedgerEntry
from s2mirror.stop import StopFlag

CONSUMER: Final = "change_feed"
AT_ONCE: Final = 50
_KINDS: Final = frozenset(
    {
        ChangeKind.PUBLISHED,
        ChangeKind.REPLACED,
        ChangeKind.REPAIRED,
        ChangeKind.MOVED,
        ChangeKind.REMOVED,
    }
)
_RESTORED: Final = "restore"
"""The event of a product that was taken from the trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFeedWriter:
    """Writes the lines of changes that the feed does not have yet."""

    ledger: Ledger
    feed: ChangeFeed | None
    """None if no feed is configured."""
    now: Callable[[], datetime]

    def begin(self) -> None:
        """Note every product as changed if the feed is new, or does not belong to this ledger."""
        if self.feed is None:
            self.ledger.changes.unsubscribe(CONSUMER)
            return
        is_new = self.ledger.changes.subscribe(CONSUMER, _KINDS)
        if not self._belongs(self.feed):
            said = announced_by(self.feed.changes())
            self.ledger.feed.restart(self.feed.last_number(), said)
            is_new = True
        if is_new:
            self.ledger.feed.note_all(CONSUMER, now=self.now())

    def _belongs(self, feed: ChangeFeed) -> bool:
        """Return whether the file ends where the ledger says.

        It ends later if the ledger is an older copy, or new, and earlier if files were removed.
        """
        known, written = self.ledger.feed.last_number, feed.last_number()
        waiting = self.ledger.feed.waiting(1)
        return (waiting[0].number - 1 if waiting else known) <= written <= known

    def catch_up(self, limit: int = AT_ONCE) -> int:
        """Write the lines of the oldest changes, at most *limit*; return how many were settled."""
        if self.feed is None:
            return 0
        self._write(self.feed)
        changes = self.ledger.changes.pending(CONSUMER, limit)
        if changes:
            with self.ledger.connection.atomic():
                self._queue(changes)
                self.ledger.changes.settle(CONSUMER, changes)
            self._write(self.feed)
        return len(changes)

    def catch_up_all(self, stop: StopFlag) -> None:
        """Write the lines of all changes."""
        while not stop.is_set() and self.catch_up():
            pass

    def _write(self, feed: ChangeFeed) -> None:
        while lines := self.ledger.feed.waiting(AT_ONCE):
            feed.append(lines)
            self.ledger.feed.written(lines[-1].number)

    def _queue(self, changes: Sequence[Change]) -> None:
        """Store a line for each product whose changes the feed has to tell."""
        kinds: dict[str, list[Change]] = {}
        for change in changes:
            kinds.setdefault(change.product_id, []).append(change)
        held = self.ledger.archived_products.find(kinds)
        gone = self.ledger.products.find(kinds.keys() - held.keys())
        said = self.ledger.feed.announced(kinds)
        for product_id, noted in kinds.items():
            line = _line(said.get(product_id), held.get(product_id), {n.kind for n in noted})
            if line is None:
                continue
            if entry := gone.get(product_id):
                line |= _removal(entry)
            elif line["kind"] == "published" and self._was_restored(product_id):
                line["kind"] = "restored"
            number = self.ledger.feed.last_number + 1
            head = {"number": number, "at": noted[-1].at, "id": product_id}
            text = json.dumps(head | line, separators=(",", ":"))
            self.ledger.feed.queue(FeedLine(number, text), product_id, _announced(line))

    def _was_restored(self, product_id: str) -> bool:
        events = [step.event for step in self.ledger.products.history(product_id)]
        return _RESTORED in events[-2:]


def _line(
    said: Announced | None, held: ArchivedProduct | None, kinds: AbstractSet[str]
) -> dict[str, Any] | None:
    """Return what is new of a product; None if the feed has said it already."""
    if held is None:
        return {"kind": "removed", "path": None, "old_path": said.path} if said else None
    line: dict[str, Any] = {
        "kind": "published",
        "path": held.path,
        "old_path": said.path if said else None,
        "size_bytes": sum(file.size_bytes for file in held.files),
        "files": [
            [file.path, file.size_bytes, f"{file.digest.algorithm}:{file.digest.hexdigest}"]
            for file in held.files
        ],
    }
    if said is None:
        return line
    if said == _announced(line) and kinds <= {ChangeKind.PUBLISHED, ChangeKind.MOVED}:
        return None
    return line | {"kind": _kind_of_change(said, _announced(line), kinds)}


def _kind_of_change(said: Announced, now: Announced | None, kinds: AbstractSet[str]) -> str:
    """Return the kind of a change of a product that the feed has.

    A product with the same files as before was repaired: its reader may have the damaged ones.
    """
    if now is None or said.fingerprint != now.fingerprint or ChangeKind.REPLACED in kinds:
        return "replaced"
    return "moved" if said.path != now.path else "repaired"


def _removal(entry: LedgerEntry) -> dict[str, str]:
    """Return why a product is not held any more."""
    return {"state": entry.state.value, "reason": entry.reason}


def _announced(line: Mapping[str, Any]) -> Announced | None:
    """Return what a line says of its product; None if it is not held."""
    path = line["path"]
    return None if path is None else Announced(path, fingerprint(line["files"]))


def fingerprint(files: Sequence[Sequence[Any]]) -> str:
    """Return a text that differs for different lists of files."""
    text = json.dumps(sorted(map(list, files)), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def announced_by(lines: Iterable[Mapping[str, Any]]) -> dict[str, Announced]:
    """Return what the lines of a feed say of each held product, when all are read."""
    said: dict[str, Announced] = {}
    for line in lines:
        said.pop(line["id"], None)
        if found := _announced(line):
            said[line["id"]] = found
    return said
