"""The facts by which a mirror is judged: plain values from the ledger and the disk.

Every field has the value of a mirror in order, so that a test names only what is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from s2mirror.planning.scrub import ScrubFacts
from s2mirror.planning.silence import SilenceFacts
from s2mirror.planning.store_backoff import Backoff


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A text of what is wrong, and since when."""

    text: str
    since: datetime | None = None
    source: str = ""
    """The job, area or search that has the trouble; empty for the whole mirror."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """The last report of the daemon."""

    began_at: datetime
    reported_at: datetime
    paused: timedelta = timedelta()
    """How long no daemon ran before this one began."""
    troubles: tuple[Trouble, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFacts:
    """The last cycle that a ``sync`` command has completed."""

    began_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFacts:
    """One search, and when it was last listed completely."""

    name: str
    interval: timedelta
    listed_at: datetime | None = None
    error: str = ""
    error_at: datetime | None = None
    odata_at: datetime | None = None
    """When OData last listed it in place of the STAC catalog."""
    swept_at: datetime | None = None
    """When the last sweep of the whole period was complete; None before the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFacts:
    """The products that could be downloaded now, but for the waits that a busy store causes."""

    products: int
    since: datetime
    """When the one that has waited longest was enqueued; now if there is none."""
    reason: str = ""
    """Why the last attempt of one of them ended."""
    tried_since: datetime | None = None
    """When the one was enqueued that has waited longest since it was tried."""
    blameless: bool = False
    """Whether an attempt ended for a reason that is not its product's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """One processing entry, and the products for which it fails or waits."""

    entry: str
    failing: int = 0
    given_up: int = 0
    most_failures: int = 0
    """The largest number of failed attempts for one product."""
    ever_done: bool = True
    since: datetime | None = None
    """When the first of these products began to fail."""
    reason: str = ""
    waiting: int = 0
    running: int = 0
    waiting_since: datetime | None = None
    """Since when the next run waits; None if none does."""
    ended_at: datetime | None = None
    """When the last run ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForceFacts:
    """What FORCE's queue says."""

    trouble: Trouble | None = None
    """Why the queue cannot be used."""
    failed: int = 0
    failed_id: str = ""
    """The product that has failed for the longest time."""
    failed_since: datetime | None = None
    bad_lines: int = 0
    first_bad: int = 0
    """The number of the first bad line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductFacts:
    """The products of one state that a person must look at."""

    products: int = 0
    since: datetime | None = None
    reason: str = ""
    newest_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFacts:
    """The last certificate of completeness of an area."""

    checked_at: datetime
    missing: int
    complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFacts:
    """The free space of the archive's disk."""

    free_bytes: int
    reserve_bytes: int
    read_only: bool = False
    too_large: int = 0
    """How many waiting products, of those that were looked at, need more than is free."""
    inodes_left: bool = True
    """Whether the files and folders of one more product can be created."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """Whether the ledger is safe."""

    wanted: bool = False
    """Whether the daemon makes backups."""
    made_at: datetime | None = None
    """When the last backup was made and verified."""
    damage: str = ""
    """What the last check of the whole ledger found."""
    damaged_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """A key pair that expires soon or has expired."""

    number: int
    text: str
    days: int
    """Days until its last day; negative after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything by which a mirror is judged, at one time."""

    now: datetime
    ledger_problem: str = ""
    backups: BackupFacts = BackupFacts()
    archive_problem: str = ""
    elsewhere: int = 0
    """How many held products are at paths of an earlier layout."""
    disk: DiskFacts | None = None
    clock_doubt: str = ""
    running_pid: int | None = None
    """The process that has the instance lock; None if there is none."""
    daemon: DaemonFacts | None = None
    cycle: CycleFacts | None = None
    cycle_trouble: Trouble | None = None
    """Why the last ``sync`` command ended early, or could not reach the store."""
    good_at: datetime | None = None
    """When everything was last listed and nothing was wrong."""
    max_age: timedelta | None = None
    """The largest age of the last good cycle that a person allows; None for the default."""
    searches: tuple[SearchFacts, ...] = ()
    sweep_every: timedelta = timedelta(days=7)
    deletions: Trouble | None = None
    """Why CDSE's feed of deleted products cannot be read."""
    deletions_kept: bool = True
    """Whether a product that is deleted upstream is kept here."""
    queue: QueueFacts | None = None
    """None if no product waits that disk, quota and timetable permit."""
    progress_at: datetime | None = None
    """When bytes were last received from the store; None if never."""
    processing: tuple[ProcessFacts, ...] = ()
    force: ForceFacts = ForceFacts()
    previews: Trouble | None = None
    failed_previews: ProductFacts = ProductFacts()
    """Those of the last week."""
    failed: ProductFacts = ProductFacts()
    quarantined: ProductFacts = ProductFacts()
    unusable: ProductFacts = ProductFacts()
    """Items of the STAC catalog that could not become products."""
    certificates: Mapping[str, CertificateFacts] = field(default_factory=dict)
    """The last certificate of each configured area that has one."""
    failover: Trouble | None = None
    """Why the preferred endpoint and key pair are not in use."""
    throttled: str = ""
    scrub: ScrubFacts = field(default_factory=ScrubFacts)
    silence: SilenceFacts = field(default_factory=SilenceFacts)
    backoff: Backoff | None = None
    """Whether the store asks for fewer requests; None if it never did."""
    quota: str = ""
    keys: tuple[KeyFacts, ...] = ()
    key_pairs: int = 1
    refused_configuration: Trouble | None = None
    brake: Trouble | None = None
    prune_short: Trouble | None = None
    """Why a prune could not free enough for a limit of size."""
    alerts: tuple[Trouble, ...] = ()
    """Channels of alerts that deliver nothing, by name."""

    @property
    def by_cron(self) -> bool:
        """Whether the last work was a ``sync`` command, not the daemon."""
        if self.cycle is None:
            return self.daemon is None and self.cycle_trouble is not None
        return self.daemon is None or self.cycle.ended_at > self.daemon.reported_at
