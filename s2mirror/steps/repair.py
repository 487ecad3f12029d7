"""Repair damaged products: only their bad files are downloaded, and put in place of the bad ones.

A product whose folder is sound but for some files is repaired in its place, and is in the tree all
the time. A product without a folder, or without a list of its files, is downloaded again: the files
that are left are verified and used.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import PurePath
from typing import Final

from s2mirror.adapters.archive import Archive, Mender, read_content
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.changes import ChangeKind
from s2mirror.errors import (
    ArchiveError,
    HostileInput,
    IntegrityError,
    LedgerError,
    MirrorError,
    PathRefused,
    Stopped,
)
from s2mirror.lifecycle import HELD, Event
from s2mirror.manifest import NAME, required_folders
from s2mirror.model import LedgerEntry, Listing, Transition, VerifiedFile
from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.ports import ObjectStore
from s2mirror.steps.check_product import ProductChecker
from s2mirror.steps.connections import Connections, Priority, Throttle
from s2mirror.steps.receive import FileJob, Receiver, wait_for_rate
from s2mirror.stop import StopFlag

_IN_PLACE: Final = frozenset({FaultKind.FILE, FaultKind.STRAY, FaultKind.SUBFOLDER})
_WHOLE: Final = frozenset({FaultKind.FILE_LIST, FaultKind.MANIFEST, FaultKind.FOLDER})
REPAIRABLE: Final = _IN_PLACE | _WHOLE
"""Faults of products that this step repairs."""
_KEPT: Final = "damaged, and kept because "


@dataclass(slots=True, kw_only=True)
class Repairs:
    """What became of the damaged products."""

    repaired: list[str] = field(default_factory=list)
    """Products whose files all match again."""
    queued: list[str] = field(default_factory=list)
    """Products that are downloaded again."""
    removed: list[str] = field(default_factory=list)
    """Folders of second copies, which are in the trash."""
    kept: dict[str, str] = field(default_factory=dict)
    """Why the others stay as they are, by product id."""


@dataclass(frozen=True, slots=True)
class OpenStore:
    """The store, and the connections over which every request to it runs."""

    client: ObjectStore
    connections: Connections


class _Lacking(MirrorError):
    """The store does not have what a repair needs."""


@dataclass(slots=True, kw_only=True)
class Repairer:
    """Repairs damaged products of which the store still has the files."""

    ledger: Ledger
    archive: Archive
    checker: ProductChecker
    open_store: Callable[[], OpenStore]
    """Raises CredentialError if a key is missing."""
    throttle: Throttle
    tries_per_file: int
    now: Callable[[], datetime]
    stop: StopFlag = field(default_factory=StopFlag)
    _store: OpenStore | None = None
    _store_error: MirrorError | None = None
    """The error that every further request would have, too."""

    def repair(self, faults: Iterable[Fault]) -> Repairs:
        """Repair the products with *faults*. Raises Stopped.

        A product whose files the store no longer has, and every product while the store cannot be
        asked, stays in the tree with its good files.
        """
        done, damaged = Repairs(), dict[str, list[Fault]]()
        for fault in faults:
            if fault.kind in REPAIRABLE:
                damaged.setdefault(fault.product, []).append(fault)
            elif fault.kind is FaultKind.COPY:
                self._remove_copy(fault, done)
        for product_id, found in damaged.items():
            held = self.ledger.products.get(product_id)
            if held.state in HELD:
                self._repair_one(held, found, done)
        return done

    def _repair_one(self, held: LedgerEntry, faults: Sequence[Fault], done: Repairs) -> None:
        self.stop.raise_if_set()
        product_id = held.product.id
        self.ledger.verifications.note_damage(product_id, _text(faults), at=self.now())
        try:
            if {fault.kind for fault in faults} <= _IN_PLACE:
                self._mend(held, faults)
                done.repaired.append(product_id)
            else:
                self._queue(held, _text(faults))
                done.queued.append(product_id)
        except Stopped:
            raise
        except _Lacking as error:
            done.kept[product_id] = self._keep(held, f"{_KEPT}{error}: {_text(faults)}")
        except (PathRefused, HostileInput) as error:
            done.kept[product_id] = str(error)
        except (LedgerError, ArchiveError):
            raise
        except MirrorError as error:
            done.kept[product_id] = (
                f"the store could not be asked whether it still has this product: {error}"
            )

    def _keep(self, held: LedgerEntry, why: str) -> str:
        """Record why a damaged product stays as it is; return the reason."""
        self._set_reason(held, why)
        self.ledger.verifications.note_damage(held.product.id, why, at=self.now())
        return why

    def _set_reason(self, held: LedgerEntry, reason: str) -> None:
        self.ledger.products.retry_later(
            held, reason=reason, attempts=held.attempts, next_attempt_at=held.next_attempt_at
        )

    def _mend(self, held: LedgerEntry, faults: Sequence[Fault]) -> None:
        """Repair a product in its place, and record it once all of its files match."""
        product_id, path = held.product.id, held.path or ""
        files = self.ledger.file_lists.held(product_id) or ()
        bad = sorted({fault.file for fault in faults if fault.kind is FaultKind.FILE})
        if bad:
            self._fetch(held, [file for file in files if file.path in bad])
        mender = Mender(self.archive)
        content = read_content(self.archive.tree, self.archive.own_folder(product_id, path))
        # The faults may be of a version that was replaced meanwhile: nothing that belongs to the
        # product is a stray.
        strays = {fault.file for fault in faults if fault.kind is FaultKind.STRAY}
        strays -= {file.path for file in files}
        in_place_of_files = [p for p in bad if p in content.odd or p in content.folders]
        mender.set_aside(product_id, path, sorted({*strays, *in_place_of_files}), now=self.now())
        if not mender.put_files(
            product_id, path, bad, is_current=partial(self._is_current, held, files)
        ):
            raise _Lacking("it is about to be replaced")
        mender.make_folders(product_id, path, sorted(required_folders(f.path for f in files)))
        left = self.checker.begin(held, files, read_bytes=True).result()
        if left:
            raise _Lacking(f"it is still damaged after the repair ({_text(left)})")
        self._record_repaired(held, _text(faults))
        mender.discard_stage(product_id)

    def _record_repaired(self, held: LedgerEntry, detail: str) -> None:
        product_id, now = held.product.id, self.now()
        with self.ledger.connection.atomic():
            self.ledger.verifications.record([product_id], at=now)
            self.ledger.changes.note([product_id], ChangeKind.REPAIRED, now=now)
            self.ledger.events.add("product.repaired", at=now, product_id=product_id, detail=detail)
            if held.reason.startswith(_KEPT):
                self._set_reason(held, "")

    def _is_current(self, held: LedgerEntry, files: Sequence[VerifiedFile]) -> bool:
        """Return whether the product is still the one that was checked, with the same files."""
        now = self.ledger.products.get(held.product.id)
        known = self.ledger.file_lists.held(held.product.id) or ()
        return now.state in HELD and now.path == held.path and list(known) == list(files)

    def _fetch(self, held: LedgerEntry, files: Sequence[VerifiedFile]) -> None:
        """Download files into the staging of repairs, and verify them by their known digests."""
        product_id = held.product.id
        listed = {file.path: file for file in self._listing(held.product.s3_prefix).files}
        _require([file.path for file in files], listed)
        other = [file.path for file in files if listed[file.path].size_bytes != file.size_bytes]
        if other:
            raise _Lacking(f"the store has another version of {other[0]}")
        store = self._opened()
        with self.stop.child() as stop_receiving:
            receiver = Receiver(
                product_id=product_id,
                store=store.client,
                stage=Mender(self.archive).stage(product_id),
                tries=self.tries_per_file,
                on_bytes=lambda _: None,
                throttle=self.throttle,
                stop_receiving=stop_receiving,
            )
            jobs = [FileJob(listed[file.path], file.digest) for file in files]
            self._receive(store, receiver, jobs)

    def _receive(self, store: OpenStore, receiver: Receiver, jobs: Sequence[FileJob]) -> None:
        futures = [
            store.connections.submit(Priority.FILE, partial(receiver.receive, job)) for job in jobs
        ]
        try:
            for future in futures:
                receiver.finish(future.result())
        except IntegrityError as error:
            raise _Lacking(f"the store has other bytes ({error})") from error
        finally:
            receiver.stop_receiving.set()
            for future in futures:
                with suppress(Exception):
                    future.cancel() or future.result()
            if size_bytes := receiver.take_received_bytes():
                self.ledger.add_transfer_of(receiver.product_id, size_bytes, now=self.now())

    def _queue(self, held: LedgerEntry, detail: str) -> None:
        """Move a product out of the tree, and have it downloaded again.

        Its files are in quarantine then, from where the fetch step verifies them.
        """
        product_id, now = held.product.id, self.now()
        listed = {file.path: file for file in self._listing(held.product.s3_prefix).files}
        files = self.ledger.file_lists.held(product_id) or ()
        _require([NAME, *(file.path for file in files)], listed)
        if held.path is not None:
            self.archive.quarantine_archived(product_id, held.path)
        corrupt = Transition(event=Event.CORRUPT, reason=detail)
        self.ledger.products.advance(held, corrupt, now=now)
        requeue = Transition(event=Event.REQUEUE, reason="to be repaired", attempts=0)
        self.ledger.products.advance(self.ledger.products.get(product_id), requeue, now=now)

    def _remove_copy(self, fault: Fault, done: Repairs) -> None:
        """Move a second copy of a product to the trash, if every byte of the held one matches."""
        product_id = PurePath(fault.product).stem
        held = self.ledger.products.get(product_id)
        if held.state not in HELD or held.path in (None, fault.product):
            return
        files = self.ledger.file_lists.held(product_id) or ()
        if left := self.checker.begin(held, files, read_bytes=True).result():
            done.kept[fault.product] = f"kept because the held one is damaged: {_text(left)}"
            return
        try:
            self.archive.discard(product_id, fault.product, now=self.now())
        except (PathRefused, HostileInput) as error:
            done.kept[fault.product] = str(error)
        else:
            done.removed.append(fault.product)

    def _opened(self) -> OpenStore:
        self._store = self._store or self.open_store()
        return self._store

    def _listing(self, s3_prefix: str) -> Listing:
        """Ask the store. After an error that every request would have, it is not asked again."""
        if self._store_error is not None:
            raise self._store_error
        try:
            store = self._opened()
            wait_for_rate(store.client, self.stop)
            ask = partial(store.client.list_product, s3_prefix)
            return store.connections.submit(Priority.AHEAD, ask).result()
        except MirrorError as error:
            if error.pauses_everything:
                self._store_error = error
            raise


def _require(paths: Sequence[str], listed: Iterable[str]) -> None:
    """Raise unless the store has every path."""
    found = set(listed)
    if not found:
        raise _Lacking("the store no longer has this product")
    if lost := sorted(set(paths) - found):
        raise _Lacking(f"the store no longer has {len(lost)} of its files, such as {lost[0]}")


def _text(faults: Sequence[Fault]) -> str:
    """Return the first fault in words, and how many more there are."""
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{faults[0].detail}{more}"
