"""Download one product into staging and verify every byte of it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from s2mirror import manifest
from s2mirror.adapters.archive import Archive, Stage
from s2mirror.adapters.ledger import Ledger
from s2mirror.errors import IntegrityError, Stopped, StoreUnavailable
from s2mirror.layout import product_path
from s2mirror.lifecycle import Event
from s2mirror.manifest import parse_manifest, required_folders
from s2mirror.model import (
    LedgerEntry,
    Listing,
    Product,
    Transition,
    VerifiedFile,
)
from s2mirror.planning.downloads import fetch_order
from s2mirror.ports import ObjectStore, Progress
from s2mirror.radiometry import MAX_BYTES, Radiometry, metadata_path, parse_radiometry
from s2mirror.steps.connections import Connections, Priority, Throttle
from s2mirror.steps.file_selection import SelectedFiles, SelectionPolicy
from s2mirror.steps.receive import (
    FileJob,
    Receiver,
    Versions,
    accounted,
    check_announced,
    check_promises,
    drop_stale,
    drop_unverifiable,
    wait_for_rate,
)
from s2mirror.steps.verified_files import drop_damaged
from s2mirror.stop import StopFlag

DISK_THREADS: Final = 4
"""Files of a product that are synced at the same time, so that they share file system commits."""
BOOK_SECONDS: Final = 1.0
"""Interval of counting received bytes in the ledger: a kill loses no more than that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Downloads claimed products. Any number of threads may use it at the same time."""

    store: ObjectStore
    ledger: Ledger
    archive: Archive
    connections: Connections
    progress: Progress
    throttle: Throttle
    selection_policy: SelectionPolicy
    template: str
    tries_per_file: int
    now: Callable[[], datetime]

    def fetch(self, entry: LedgerEntry, stop: StopFlag) -> None:
        """Download every file of a claimed product into staging, verify it, and record VERIFY.

        Continues where an earlier attempt stopped. Raises the MirrorError that ended the attempt;
        the caller decides on the product's next state.
        """
        product = entry.product
        selected = SelectedFiles(
            self.selection_policy.of(entry, self.ledger.selections.asked(product.id)),
            self._list(product, stop),
        )
        listing = selected.listing
        stage = self.archive.stage(product.id)
        known = self._known_versions(entry)
        drop_stale(stage, known, listing)
        self.ledger.file_lists.put_listing(product.id, accounted(stage, known, listing))
        staged_bytes = stage.size_bytes()
        self.ledger.begin_transfer(product.id, staged_bytes)
        self.progress.began(product.id, size_bytes=listing.size_bytes, staged_bytes=staged_bytes)
        with stop.child() as stop_receiving:
            verified = self._fetch_all(
                entry, selected, self._receiver(product, stage, stop_receiving), known
            )
        stage.make_folders(required_folders(file.path for file in listing.files))
        stage.make_folders(listing.folders)
        stage.sync()
        self.ledger.file_lists.put_staged(
            product.id,
            verified,
            selection=selected.selection,
            whole_bytes=selected.whole.size_bytes,
            radiometry=_radiometry(stage, verified),
        )
        transition = Transition(event=Event.VERIFY, attempts=0, size_bytes=listing.size_bytes)
        self.ledger.products.advance(entry, transition, now=self.now())

    def _list(self, product: Product, stop: StopFlag) -> Listing:
        def ask() -> Listing:
            """List the product as soon as the rate limit allows it."""
            wait_for_rate(self.store, stop)
            return self.store.list_product(product.s3_prefix)

        listing = self.connections.submit(Priority.AHEAD, ask).result()
        if not any(file.path == manifest.NAME for file in listing.files):
            raise StoreUnavailable(
                f"{product.s3_prefix} has {len(listing.files)} objects but no {manifest.NAME}: "
                "the catalog is ahead of the store; will be tried again"
            )
        return listing

    def _known_versions(self, entry: LedgerEntry) -> Versions:
        """Collect the existing files of a product in staging; return their versions.

        A product that is in the tree while more or newer files are downloaded stays there; its
        files are linked into staging, so that no unchanged file is downloaded again.
        """
        product_id = entry.product.id
        staged = self.ledger.file_lists.staged_versions(product_id)
        if entry.path is not None:
            begun = self.archive.stage(product_id).partial_files()
            verified = self.ledger.file_lists.held_versions(product_id)
            held = {path: version for path, version in verified.items() if path not in begun}
            lent = self.archive.stage_held_files(product_id, entry.path, held)
            return {**staged, **{path: held[path] for path in lent}}
        if self.archive.reuse(product_id, product_path(self.template, entry.product)):
            held_files = self.ledger.file_lists.held(product_id) or ()
            drop_damaged(self.archive.tree, self.archive.stage(product_id), held_files)
        return staged or self.ledger.file_lists.held_versions(product_id)

    def _receiver(self, product: Product, stage: Stage, stop_receiving: StopFlag) -> Receiver:
        return Receiver(
            product_id=product.id,
            store=self.store,
            stage=stage,
            tries=self.tries_per_file,
            on_bytes=lambda size_bytes: self.progress.received(product.id, size_bytes),
            throttle=self.throttle,
            stop_receiving=stop_receiving,
        )

    def _fetch_all(
        self, entry: LedgerEntry, selected: SelectedFiles, receiver: Receiver, known: Versions
    ) -> Sequence[VerifiedFile]:
        """Download the manifest, then all other files; return the verified files."""
        listing = selected.listing
        first = next(file for file in listing.files if file.path == manifest.NAME)
        head = self._run([FileJob(first)], receiver, Priority.AHEAD)
        document = receiver.stage.read_bytes(manifest.NAME)
        try:
            promised = selected.required(parse_manifest(document))
            check_announced(document, entry)
            check_promises(promised, listing)
        except IntegrityError:
            receiver.stage.drop(manifest.NAME)  # no digest verifies it: it may be the wrong file
            raise
        drop_unverifiable(receiver.stage, known, promised)
        self.ledger.file_lists.put_listing(entry.product.id, listing)
        jobs = [
            FileJob(file, promised[file.path].digest if file.path in promised else None)
            for file in fetch_order(listing.files)
            if file.path != manifest.NAME
        ]
        return head + self._run(jobs, receiver, Priority.FILE)

    def _run(
        self, jobs: Sequence[FileJob], receiver: Receiver, priority: Priority
    ) -> list[VerifiedFile]:
        """Receive files over the shared connections, and finish each one on arrival.

        The first error ends the others too.
        """
        arrived: SimpleQueue[Future[VerifiedFile]] = SimpleQueue()
        futures = [
            self.connections.submit(priority, partial(receiver.receive, job)) for job in jobs
        ]
        for future in futures:
            future.add_done_callback(arrived.put)
        finished: list[Future[VerifiedFile]] = []
        with ThreadPoolExecutor(DISK_THREADS, thread_name_prefix="disk") as disk:
            try:
                for _ in jobs:
                    file = self._next(arrived, receiver)
                    finished.append(disk.submit(receiver.finish, file))
                return [future.result() for future in finished]
            except Exception as error:
                receiver.stop_receiving.set()
                if (cause := _cause(error, [*futures, *finished])) is error:
                    raise  # with its own cause
                raise cause from error
            finally:
                self._count(receiver)

    def _next(self, arrived: SimpleQueue[Future[VerifiedFile]], receiver: Receiver) -> VerifiedFile:
        """Return the next file that arrives; meanwhile count the received bytes in the ledger."""
        while True:
            if receiver.uncounted_seconds() >= BOOK_SECONDS:
                self._count(receiver)
            with suppress(Empty):
                return arrived.get(timeout=BOOK_SECONDS).result()

    def _count(self, receiver: Receiver) -> None:
        if size_bytes := receiver.take_received_bytes():
            self.ledger.add_transfer_of(receiver.product_id, size_bytes, now=self.now())


def _radiometry(stage: Stage, files: Sequence[VerifiedFile]) -> Radiometry:
    """Read from the product's own metadata how its images convert to reflectances."""
    sizes = {file.path: file.size_bytes for file in files}
    path = metadata_path(sizes)
    if not path or sizes[path] > MAX_BYTES:
        return Radiometry(
            doubt=f"the product's metadata {'is too large' if path else 'is missing'}"
        )
    return parse_radiometry(stage.read_bytes(path))


def _cause(first: Exception, futures: Sequence[Future[VerifiedFile]]) -> BaseException:
    """Wait for all files to end, and return the error that caused the others."""
    found = [future.exception() for future in futures if not future.cancel()]
    causes = (error for error in found if error is not None and not isinstance(error, Stopped))
    return next(causes, first)
