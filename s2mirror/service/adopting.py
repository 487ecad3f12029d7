"""Adoption of products on disk: find them, look them up, verify, publish and record them.

Products go through in batches: one request to the STAC catalog, all cores for the files, and one
transaction of the ledger per batch. A crash between any two steps costs a repetition: a move
removes the source only after the ledger has the product, and a note of what is to be removed.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any, Final

from s2mirror.adapters.archive import (
    FoundProduct,
    Mender,
    Unadopted,
)
from s2mirror.adapters.ledger import Taken
from s2mirror.errors import ArchiveError, MirrorError, OutsideError
from s2mirror.lifecycle import IN_PROGRESS, Event, State
from s2mirror.model import PINNED, LedgerEntry, Transition
from s2mirror.naming import parse_name
from s2mirror.planning.scope import Scope
from s2mirror.service.adopt_candidates import AdoptRequest, AdoptResult, candidates_of
from s2mirror.service.logs import log
from s2mirror.service.wiring import Mirror
from s2mirror.steps.adopt import Candidate, Prepared, ProductAdopter
from s2mirror.steps.adopted_files import FileVerifier, remove_source
from s2mirror.stop import StopFlag

_BATCH: Final = 50
"""Products of one request to the STAC catalog, and of one transaction."""
_AHEAD: Final = 2
"""Batches that are verified at the same time, so that no core waits for the last file of one."""


def adopt(mirror: Mirror, request: AdoptRequest, stop: StopFlag) -> AdoptResult:
    """Take products on disk into the archive and the ledger. Call it with the instance lock held.

    Raises UsageError if a given path does not exist, Stopped, and the errors of the archive.
    """
    result = AdoptResult()
    if not request.options.dry_run:
        _finish_moves(mirror, result)
    candidates = candidates_of(
        request, result, marker_suffix=mirror.settings.processing.marker_suffix
    )
    request.on_found(len(candidates))
    with ExitStack() as stack:
        cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
        hashers = stack.enter_context(ThreadPoolExecutor(cores, thread_name_prefix="hash"))
        products = stack.enter_context(ThreadPoolExecutor(cores, thread_name_prefix="adopt"))
        adoption = _Adoption(mirror, request, result, stop, hashers)
        pending: deque[list[Future[Prepared | Unadopted]]] = deque()
        for batch in adoption.batches(candidates):
            pending.append([products.submit(adoption.adopter.prepare, one) for one in batch])
            if len(pending) == _AHEAD:
                adoption.record(future.result() for future in pending.popleft())
        while pending:
            adoption.record(future.result() for future in pending.popleft())
    log.info("products.adopted", products=len(result.adopted), size_bytes=result.size_bytes)
    return result


class _Adoption:
    """One adoption: its parts, and what has been recorded."""

    def __init__(
        self,
        mirror: Mirror,
        request: AdoptRequest,
        result: AdoptResult,
        stop: StopFlag,
        hashers: ThreadPoolExecutor,
    ) -> None:
        self._mirror = mirror
        self._request = request
        self._result = result
        self._stop = stop
        self._asks = not request.offline
        self.adopter = ProductAdopter(
            archive=mirror.archive,
            verifier=FileVerifier(workers=hashers, stop=stop, on_bytes=request.on_bytes),
            options=request.options,
            template=mirror.template,
            scope=Scope(mirror.areas),
            selections={area.name: area.selection for area in mirror.areas},
        )

    def batches(self, candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
        """Yield the candidates that are not held, with what ledger and catalog know of them."""
        rest = iter(candidates)
        while batch := list(islice(rest, _BATCH)):
            self._stop.raise_if_set()
            known = self._mirror.ledger.products.find(one.found.product_id for one in batch)
            free = [one for one in batch if not self._is_held(one, known)]
            listed = self._listed([one for one in free if one.found.product_id not in known])
            yield [
                replace(
                    one,
                    entry=known.get(one.found.product_id),
                    **listed.get(one.found.product_id, {}),
                )
                for one in free
            ]

    def _is_held(self, candidate: Candidate, known: Mapping[str, LedgerEntry]) -> bool:
        """Return whether a product is in the archive, or being downloaded; note where."""
        entry, path = known.get(candidate.found.product_id), str(candidate.found.path)
        if entry is not None and entry.path is not None:
            self._result.held[path] = entry.path
        elif entry is not None and entry.state in IN_PROGRESS:
            reason = "it is being downloaded; the next start of the mirror continues that"
            self._result.refused.append(Unadopted(path=path, reason=reason))
        else:
            return False
        return True

    def _listed(self, unknown: Sequence[Candidate]) -> dict[str, dict[str, Any]]:
        """Return product and properties by id, as the STAC catalog has them."""
        found: dict[str, dict[str, Any]] = {}
        names = sorted((_collection(one.found), one.found.product_id) for one in unknown)
        for collection, group in groupby(names, key=lambda name: name[0]):
            if not self._asks:
                break
            try:
                page = self._mirror.stac_catalog().find(collection, [name for _, name in group])
            except OutsideError as error:
                self._asks = False
                self._result.notes.append(
                    f"{error} The products' own metadata are used instead; the next sweep replaces "
                    "them by the catalog's"
                )
                break
            for product in page.products:
                properties = page.properties.get(product.id, {})
                found[product.id] = {"listed": product, "properties": properties}
        return found

    def record(self, prepared: Iterable[Prepared | Unadopted]) -> None:
        """Record a batch in one transaction, and then remove the sources of moved products."""
        ready: list[Prepared] = []
        for one in prepared:
            if isinstance(one, Unadopted):
                self._result.refused.append(one)
            else:
                ready.append(one)
        if not self._request.options.dry_run:
            for one in ready:
                self._set_aside(one)
            # Files that were not copied may be new: one call for a batch, where a call for each
            # file would take as long as the hashing.
            os.sync()
            with self._mirror.ledger.connection.atomic():
                for one in ready:
                    self._take(one)
        for one in ready:
            self._note(one)
            if one.stage_folder and not self._request.options.dry_run:
                self._mirror.archive.reuse(one.adopted.product.id, one.adopted.path)
            if one.adopted.moved_from and not (self._request.options.dry_run or one.incomplete):
                _end_move(self._mirror, one.adopted.product.id, one.source, self._result)

    def _set_aside(self, one: Prepared) -> None:
        """Move the strays out of a folder that a download will complete: it would drop them."""
        if one.stage_folder and one.strays:
            product_id, path = one.adopted.product.id, one.adopted.path
            mender, now = Mender(self._mirror.archive), self._mirror.now()
            moved = mender.set_aside(product_id, path, one.strays, now=now)
            self._result.notes.append(
                f"{one.source}: {len(moved)} files that no Sentinel-2 product has are in the "
                f"archive's .s2mirror/strays folder now, such as {one.strays[0]}"
            )

    def _take(self, one: Prepared) -> None:
        ledger, now, product = self._mirror.ledger, self._mirror.now(), one.adopted.product
        if one.incomplete:
            return self._queue(one)
        taken = ledger.adoption.take(one.adopted, now=now)
        if taken is not Taken.ADOPTED:
            raise ArchiveError(
                f"{product.id} could not be recorded, as another program has changed it ({taken}); "
                "run the command again"
            )
        entry = ledger.products.get(product.id)
        if entry.product.revision != product.revision and product.revision:
            # The next listing then shows the republished version, and only its new files are read.
            own = replace(entry.product, revision=product.revision)
            ledger.products.revise(own, entry.state)
        return None

    def _queue(self, one: Prepared) -> None:
        """Queue an incomplete product; its good files are staged."""
        ledger, now, product = self._mirror.ledger, self._mirror.now(), one.adopted.product
        areas = {product.id: one.adopted.areas}
        ledger.products.record([product], areas, priorities={}, now=now)
        ledger.items.keep({product.id: one.adopted.properties} if one.adopted.properties else {})
        entry = ledger.products.get(product.id)
        if entry.state is not State.QUEUED:
            event = Event.ENQUEUE if entry.state is State.DISCOVERED else Event.REQUEUE
            transition = Transition(event=event, reason=one.incomplete, attempts=0)
            ledger.products.advance(entry, transition, now=now)

    def _note(self, one: Prepared) -> None:
        """Add a product to the result."""
        result, product_id = self._result, one.adopted.product.id
        if one.incomplete:
            result.queued[product_id] = one.incomplete
            return
        result.adopted[product_id] = one.adopted.path
        result.files += len(one.adopted.files)
        result.size_bytes += sum(file.size_bytes for file in one.adopted.files)
        if one.adopted.processed:
            result.processed.append(product_id)
        if PINNED in one.adopted.areas:
            result.pinned.append(product_id)
        if one.strays:
            result.notes.append(
                f"{one.source}: {len(one.strays)} files that no Sentinel-2 product has were not "
                f"adopted, such as {one.strays[0]}"
            )
        if one.republished:
            result.notes.append(
                f"{product_id}: the catalog lists another manifest; the next sync downloads the "
                "files that differ"
            )


def _collection(found: FoundProduct) -> str:
    name = parse_name(found.product_id)
    return f"sentinel-2-{name.level.lower()}" if name else ""


def _finish_moves(mirror: Mirror, result: AdoptResult) -> None:
    """Remove the sources of products that an interrupted adoption has recorded."""
    for product_id, source in mirror.ledger.adoption.moved_sources().items():
        _end_move(mirror, product_id, Path(source), result)


def _end_move(mirror: Mirror, product_id: str, source: Path, result: AdoptResult) -> None:
    """Remove the files of a moved product where it was; note what is left there."""
    entry = mirror.ledger.products.find([product_id]).get(product_id)
    files = mirror.ledger.file_lists.held(product_id)
    try:
        if entry and entry.path and files:
            left = remove_source(mirror.archive, entry.path, files, source)
            if left:
                result.notes.append(f"{source}: {left} files are left, as they were not adopted")
    except MirrorError as error:
        result.notes.append(f"{source} could not be removed: {error}")
    mirror.ledger.adoption.end_move(product_id)
