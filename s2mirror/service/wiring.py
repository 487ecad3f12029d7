"""Builds the mirror from the settings. The only module that imports every part."""

import random
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from s2mirror.adapters.archive import Archive, StaticCatalog
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.lock import NamedLocks
from s2mirror.area import WatchArea, check_area_names
from s2mirror.clock import ServiceDates
from s2mirror.config import Settings
from s2mirror.model import Rejected
from s2mirror.planning.retry import RetryPolicy
from s2mirror.planning.searches import Search, SweepPolicy
from s2mirror.ports import ObjectStore, Progress
from s2mirror.service.ledger_file import (
    ensure_identity,
    open_local_ledger,
    refuse_to_forget,
    share_new_files,
)
from s2mirror.service.options import new_claimer, new_throttle, watch_area
from s2mirror.service.unexpected import UnexpectedErrors
from s2mirror.steps.audit import Auditor
from s2mirror.steps.connections import Connections, Throttle
from s2mirror.steps.enqueue import Claimer, Enqueuer
from s2mirror.steps.export import Exporter
from s2mirror.steps.fetch import Fetcher
from s2mirror.steps.file_selection import SelectionPolicy
from s2mirror.steps.local_catalog import LocalCatalogUpdater
from s2mirror.steps.poll import Poller
from s2mirror.steps.rescope import searches_for
from s2mirror.steps.withdraw import Withdrawer
from s2mirror.stop import StopFlag

if TYPE_CHECKING:
    from s2mirror.adapters.stac_catalog import StacApiCatalog
    from s2mirror.service.store_backoff import BackoffStore


def utc_now() -> datetime:
    """Return the current time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Settings, ledger, archive and areas, and the steps that work on them."""

    settings: Settings
    ledger: Ledger
    archive: Archive
    areas: tuple[WatchArea, ...]
    searches: tuple[Search, ...]
    claimer: Claimer
    throttle: Throttle
    """Shared by every connection of the process."""
    static_catalog: StaticCatalog | None
    """The local catalog's files; None if it is not enabled."""
    unexpected: UnexpectedErrors = field(default_factory=UnexpectedErrors)
    """Shared by every worker of the process."""
    locks: NamedLocks = field(default_factory=NamedLocks)
    """One thread at a time polls a search, prunes or enqueues."""
    service_dates: ServiceDates = field(default_factory=ServiceDates)
    """The time as the services state it that have answered this process."""
    now: Callable[[], datetime] = utc_now
    jitter: Callable[[], float] = random.random
    """A random number in [0, 1), which spreads the waits between attempts."""

    def searches_of(self, names: Sequence[str]) -> tuple[Search, ...]:
        """Return the searches of the named areas, or all. Raises UsageError for an unknown name."""
        if not names:
            return self.searches
        known = {area.name: area for area in self.areas}
        check_area_names(names, known)
        return searches_for([known[name] for name in dict.fromkeys(names)], self.ledger)

    def require_archive(self) -> None:
        """Raise ArchiveError unless the archive that belongs to this ledger is mounted."""
        ensure_identity(self.ledger, self.archive)

    @property
    def area_names(self) -> list[str]:
        """The names of all configured areas."""
        return [area.name for area in self.areas]

    def unusable(self) -> list[Rejected]:
        """Return the items of the latest sweeps that are not usable as products."""
        return self.ledger.cursors.rejected(since=self._latest_sweeps_from)

    def skipped(self) -> dict[str, int]:
        """Return the number of items of the latest sweeps that are not mirrored, by the reason."""
        return self.ledger.cursors.skipped(since=self._latest_sweeps_from)

    @property
    def _latest_sweeps_from(self) -> datetime:
        catalog = self.settings.catalog
        return self.now() - catalog.sweep_all_every - catalog.sweep_recent_every

    @property
    def selection_policy(self) -> SelectionPolicy:
        """The files that each area's configuration selects."""
        return SelectionPolicy.of_areas(self.areas)

    @property
    def template(self) -> str:
        """The template of the paths in the archive."""
        return self.settings.archive.template

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often and after which waits a product is tried again."""
        download = self.settings.download
        return RetryPolicy(
            max_attempts=download.max_attempts,
            first_wait=download.backoff,
            longest_wait=download.backoff_cap,
            quarantine_wait=download.quarantine_retry,
        )

    def stac_catalog(self) -> "StacApiCatalog":
        """Return a client of the STAC catalog."""
        from s2mirror.service import clients  # noqa: PLC0415 - see there

        return clients.stac_catalog(self.settings, self.service_dates)

    def ask_for_the_time(self) -> None:
        """Ask the STAC catalog for one response, whose date :attr:`service_dates` notes.

        Raises CatalogError.
        """
        from s2mirror.service import clients  # noqa: PLC0415 - see there

        clients.stac_catalog(self.settings, self.service_dates, tries=1).server_time()

    def poller(self) -> Poller:
        """Return the poll step."""
        catalog = self.settings.catalog
        return Poller(
            catalog=self.stac_catalog(),
            ledger=self.ledger,
            overlap=catalog.overlap,
            sweeps=SweepPolicy(
                recent_window=catalog.sweep_recent,
                recent_every=catalog.sweep_recent_every,
                full_every=catalog.sweep_all_every,
            ),
            now=self.now,
        )

    def store(self, stop: StopFlag) -> "BackoffStore":
        """Return a client of the S3 store. Raises CredentialError if a key is missing."""
        from s2mirror.service import clients, store_backoff  # noqa: PLC0415 - see there

        around = store_backoff.Surroundings(now=self.now, jitter=self.jitter, stop=stop)
        return clients.open_store(self.settings, self.ledger, self.service_dates, around)

    def fetcher(self, store: ObjectStore, connections: Connections, progress: Progress) -> Fetcher:
        """Return the fetch step."""
        return Fetcher(
            store=store,
            ledger=self.ledger,
            archive=self.archive,
            connections=connections,
            progress=progress,
            throttle=self.throttle,
            selection_policy=self.selection_policy,
            template=self.template,
            tries_per_file=self.settings.download.tries_per_file,
            now=self.now,
        )

    def withdrawer(self) -> Withdrawer:
        """Return the withdraw step."""
        from s2mirror.service import clients  # noqa: PLC0415 - see there

        feed = clients.deletion_feed(self.settings, self.service_dates)
        return Withdrawer(
            feed=feed, catalog=self.stac_catalog(), ledger=self.ledger, archive=self.archive
        )

    def enqueuer(self, *, at: Archive | None = None) -> Enqueuer:
        """Return the enqueue step; *at* is where to read the free space, if not in the archive."""
        capacity_probe = replace(self.claimer.capacity_probe, archive=at or self.archive)
        return Enqueuer(
            ledger=self.ledger,
            archive=self.archive,
            capacity_probe=capacity_probe,
            fair_queue=self.claimer.fair_queue,
            supersede=self.settings.supersede.policy,
            retry_policy=self.retry_policy,
        )

    def auditor(self, workers: Executor, *, mirror_runs: Callable[[], bool]) -> Auditor:
        """Return the audit step."""
        return Auditor(
            ledger=self.ledger,
            archive=self.archive,
            template=self.template,
            workers=workers,
            mirror_runs=mirror_runs,
            report_foreign=self.settings.archive.foreign == "report",
            now=self.now,
            also=partial(self.local_catalog_updater().faults, mirror_runs=mirror_runs),
        )

    def exporter(self) -> Exporter:
        """Return the export step."""
        return Exporter(
            ledger=self.ledger,
            archive=self.archive,
            bucket=self.settings.store.bucket,
            catalog_url=self.settings.catalog.url,
        )

    def local_catalog_updater(
        self, static_catalog: StaticCatalog | None = None
    ) -> LocalCatalogUpdater:
        """Return the local catalog step, for the mirror's own catalog or another."""
        return LocalCatalogUpdater(
            ledger=self.ledger,
            archive=self.archive,
            static_catalog=static_catalog or self.static_catalog,
            bucket=self.settings.store.bucket,
            catalog_url=self.settings.catalog.url,
        )


def open_mirror(settings: Settings, *, create: bool) -> Mirror:
    """Open ledger and archive.

    With *create*, ledger and archive are created if missing, and the archive's identity is recorded
    in the ledger; without, the ledger must exist and the archive is not read. Raises LedgerError or
    ArchiveError.
    """
    if create:
        refuse_to_forget(settings.ledger.path, Archive(settings.archive.root))
    if create and settings.archive.group_readable:
        share_new_files()
    mirror = mirror_on(open_local_ledger(settings.ledger.path, create=create), settings)
    if create:
        ensure_identity(mirror.ledger, mirror.archive)
    return mirror


def mirror_on(ledger: Ledger, settings: Settings) -> Mirror:
    """Return the mirror of *settings* on an open ledger."""
    areas = tuple(watch_area(area, settings) for area in settings.area)
    archive = Archive(settings.archive.root)
    return Mirror(
        settings=settings,
        ledger=ledger,
        archive=archive,
        areas=areas,
        searches=searches_for(areas, ledger),
        static_catalog=_static_catalog(settings),
        claimer=new_claimer(settings, ledger, archive, areas),
        throttle=new_throttle(settings, ledger),
    )


def _static_catalog(settings: Settings) -> StaticCatalog | None:
    options, root = settings.local_catalog, settings.archive.root
    if not options.enabled:
        return None
    folder = options.folder_in(root)
    return StaticCatalog(folder, archive_root=root if folder.is_relative_to(root) else None)
