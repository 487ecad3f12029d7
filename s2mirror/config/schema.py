"""Every option of the mirror, as frozen values. ``example.toml`` explains each option."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationInfo, field_validator

from s2mirror.config import fields
from s2mirror.config.alerts import AlertSettings
from s2mirror.config.areas import Area
from s2mirror.config.credentials import Secrets
from s2mirror.config.fields import Section
from s2mirror.config.local_catalog import ChangeFeedSettings, LocalCatalogSettings
from s2mirror.config.previews import PreviewSettings, TokenSettings
from s2mirror.config.processing import Entries, Processing
from s2mirror.config.retention import PruneSettings, Retention, retention_of
from s2mirror.config.scrub import ScrubSettings
from s2mirror.config.timetable import TimetableHours, Zone
from s2mirror.config.units import GIB, duration_text
from s2mirror.config.web import WebSettings
from s2mirror.layout import check_template
from s2mirror.model import DeletedPolicy, SupersedePolicy
from s2mirror.timetable import Timetable

_CDSE = "dataspace.copernicus.eu"
_SECOND_CLOUDS = {f"https://eodata.{_CDSE}": (f"https://eodata.ams.{_CDSE}",)}
"""CDSE's store has two clouds; the second host name always resolves to the same one of them."""


class ArchiveSettings(Section):
    """Where products are stored on disk."""

    root: fields.OwnFolder = Field(
        description='the folder of the archive, such as "/srv/sentinel-2"'
    )
    layout: fields.Layout = "cdse"
    reserve_bytes: fields.SizeBytes = Field(default=20 * GIB, alias="reserve")
    """Disk space to keep free; downloads that would need it wait."""
    foreign: Annotated[str, fields.choice("report", "ignore")] = "report"
    """Whether audits and the log name entries of the archive that the mirror did not make."""
    group_readable: fields.Flag = False
    """Whether new files are readable by the group, whatever the process's umask is."""

    @property
    def template(self) -> str:
        """The layout as a template for :func:`s2mirror.layout.product_path`."""
        return check_template(self.layout)


class LedgerSettings(Section):
    """Where the ledger is stored."""

    path: fields.AnyPath = Field(default=Path("s2mirror.sqlite"), validate_default=True)
    history_keep: fields.PositiveDuration = timedelta(days=365)
    """How long the history of removed products is kept; the products themselves stay known."""
    product_records: bool = True
    """Whether each product has a record in the archive, from which a lost ledger is made again."""
    backups: Annotated[int, fields.whole(0, 1000)] = 7
    """How many daily backups are kept; 0 for none."""
    backup_folder: fields.AnyPath | None = None
    """The folder of the backups; None for ``.s2mirror/backups`` in the archive."""


class CatalogSettings(Section):
    """How the STAC catalog is polled."""

    url: fields.Url = f"https://stac.{_CDSE}/v1/"
    timeout: fields.PositiveDuration = timedelta(seconds=60)
    page_size: Annotated[int, fields.whole(1, 1000)] = 200
    max_pages: Annotated[int, fields.whole(1)] = 2000
    requests_per_second: Annotated[float, fields.number(0.1, 1000)] = 4.0
    """To each host of a catalog, by all threads and processes that use the ledger."""
    interval: fields.PositiveDuration = timedelta(minutes=15)
    jitter: fields.Duration = timedelta(minutes=1)
    overlap: fields.Duration = timedelta(hours=48)
    sweep_recent: fields.PositiveDuration = timedelta(days=30)
    sweep_recent_every: fields.PositiveDuration = timedelta(days=1)
    sweep_all_every: fields.PositiveDuration = timedelta(days=7)
    tries: Annotated[int, fields.whole(1, 100)] = 6
    odata_after: fields.DurationOrNever = timedelta(hours=6)
    """After this time without a listing of the STAC catalog, polls list by OData meanwhile."""
    silent_after: fields.DurationOrNever = timedelta(hours=36)
    """After a due pass of which nothing was published; None: no finding."""
    compare_every: fields.DurationOrNever = timedelta(days=30)
    """How often the daemon compares both catalogs, at night; None for never."""


class StoreSettings(Section):
    """How the S3 store is read."""

    endpoint: fields.Url = f"https://eodata.{_CDSE}"
    fallback_endpoints: tuple[fields.Url, ...] | None = None
    """Used, in this order, while the endpoint cannot be reached; None for CDSE's second cloud."""
    prefer_again: fields.PositiveDuration = timedelta(minutes=15)
    key_expires: fields.Day = None
    """The last day on which the key pair is valid; None for no warning."""
    key_2_expires: fields.Day = None
    bucket: fields.Text = "eodata"
    region: fields.Text = "default"
    connections: Annotated[int, fields.whole(1, 64)] = 4
    connect_timeout: fields.PositiveDuration = timedelta(seconds=10)
    read_timeout: fields.PositiveDuration = timedelta(seconds=60)
    min_rate_bytes_per_second: fields.SizeBytes = Field(default=10_000, alias="min_rate")
    min_rate_period: fields.PositiveDuration = timedelta(seconds=60)
    """A connection below ``min_rate`` for this long is closed; its file continues on another
    one."""
    requests_per_minute: Annotated[int, fields.whole(1)] = 2000
    busy_wait: fields.PositiveDuration = timedelta(seconds=1)
    """After the first refusal of a store that asks for fewer requests; doubles with each one."""
    busy_wait_cap: fields.PositiveDuration = timedelta(minutes=5)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every endpoint, the preferred one first."""
        more = self.fallback_endpoints
        more = _SECOND_CLOUDS.get(self.endpoint, ()) if more is None else more
        return tuple(dict.fromkeys((self.endpoint, *more)))


class EndpointSettings(Section):
    """The endpoints of the other services."""

    token_url: fields.Url = (
        f"https://identity.{_CDSE}/auth/realms/CDSE/protocol/openid-connect/token"
    )
    process_url: fields.Url = f"https://sh.{_CDSE}/process/v1"
    odata_url: fields.Url = f"https://catalogue.{_CDSE}/odata/v1/"


class NetworkSettings(Section):
    """Options of all connections."""

    ca_file: fields.ExistingFile = None
    """Certificates of a private authority, PEM; None for the system's own."""


class DownloadSettings(Section):
    """How products are downloaded and retried."""

    parallel_products: Annotated[int, fields.whole(1, 64)] = 2
    tries_per_file: Annotated[int, fields.whole(1, 100)] = 3
    max_attempts: Annotated[int, fields.whole(1, 1000)] = 10
    """Attempts per product before it counts as failed."""
    backoff: fields.PositiveDuration = timedelta(minutes=1)
    backoff_cap: fields.PositiveDuration = timedelta(hours=6)
    quarantine_retry: fields.DurationOrNever = timedelta(days=7)
    """After this time in quarantine, a product is tried again."""
    timetable: tuple[TimetableHours, ...] = ()
    """Hours with a limited rate; the first entry that matches applies."""
    time_zone: Zone = ZoneInfo("UTC")

    @property
    def hours(self) -> Timetable:
        """The timetable with its time zone."""
        return Timetable(hours=self.timetable, zone=self.time_zone)

    @field_validator("backoff_cap")
    @classmethod
    def _not_below_the_first(cls, cap: timedelta, info: ValidationInfo) -> timedelta:
        first = info.data.get("backoff")
        if first is not None and cap < first:
            texts = duration_text(first), duration_text(cap)
            raise ValueError("expected at least download.backoff, {}; got {}".format(*texts))
        return cap


class QuotaSettings(Section):
    """The account's download quota per 30 days, and the part reserved for new images."""

    per_30_days: fields.SizeOrUnlimited = 12 * 10**12
    """None: no limit."""
    reserve_percent: fields.Percent = 10.0
    """This part is reserved for products sensed within *fresh*."""
    fresh: fields.PositiveDuration = timedelta(days=7)


class SupersedeSettings(Section):
    """What happens to an older version when a newer one of the same image is held."""

    policy: Annotated[SupersedePolicy, fields.choice(*SupersedePolicy)] = (
        SupersedePolicy.REPLACE_AFTER_GRACE
    )
    grace: fields.Duration = timedelta(days=30)


class DeletedSettings(Section):
    """What happens to a held product that was deleted upstream."""

    policy: Annotated[DeletedPolicy, fields.choice(*DeletedPolicy)] = DeletedPolicy.KEEP
    interval: fields.PositiveDuration = timedelta(days=1)


class LogSettings(Section):
    """How the mirror logs."""

    level: Annotated[str, fields.choice("debug", "info", "warning", "error")] = "info"
    format: Annotated[str, fields.choice("auto", "json", "text")] = "auto"


class MetricsSettings(Section):
    """Where metrics are written."""

    textfile: fields.PromFile = None
    """A file for node_exporter's textfile collector; None for no file."""


def _section() -> Any:  # noqa: ANN401 - stands for a field of any section's type
    """Return a field with an empty table as its default."""
    return Field(default_factory=dict, validate_default=True)


class Settings(Section):
    """The whole configuration: the TOML file, and the secrets."""

    archive: ArchiveSettings = _section()
    ledger: LedgerSettings = _section()
    catalog: CatalogSettings = _section()
    store: StoreSettings = _section()
    endpoints: EndpointSettings = _section()
    network: NetworkSettings = _section()
    download: DownloadSettings = _section()
    quota: QuotaSettings = _section()
    process: Entries = ()
    processing: Processing = _section()
    supersede: SupersedeSettings = _section()
    deleted: DeletedSettings = _section()
    prune: PruneSettings = _section()
    scrub: ScrubSettings = _section()
    local_catalog: LocalCatalogSettings = _section()
    change_feed: ChangeFeedSettings = _section()
    preview: PreviewSettings = _section()
    tokens: TokenSettings = _section()
    web: WebSettings = _section()
    log: LogSettings = _section()
    alerts: AlertSettings = _section()
    metrics: MetricsSettings = _section()
    area: Annotated[tuple[Area, ...], Field(min_length=1, validate_default=True)] = ()
    secrets: Secrets = Secrets()

    @field_validator("processing")
    @classmethod
    def _with_usable_paths(cls, found: Processing, info: ValidationInfo) -> Processing:
        if archive := info.data.get("archive"):
            found.check_root(archive.root)
        return found

    @field_validator("local_catalog")
    @classmethod
    def _apart_from_products(
        cls, found: LocalCatalogSettings, info: ValidationInfo
    ) -> LocalCatalogSettings:
        if archive := info.data.get("archive"):
            found.folder_in(archive.root)
        return found

    def poll_interval(self, area: Area) -> timedelta:
        """Return how often *area* is polled."""
        return area.interval or self.catalog.interval

    def retention(self, area: Area) -> Retention:
        """Return the retention rules of *area*: its own, else those of ``[prune]``."""
        return retention_of(area, self.prune)
