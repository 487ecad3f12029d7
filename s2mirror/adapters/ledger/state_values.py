"""Single values that outlast the process, by key: name, type and stored form of each."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Generic, TypeVar, get_type_hints

from s2mirror.adapters.ledger.connection import Connection
from s2mirror.adapters.ledger.records import (
    BackoffRecord,
    ClockBehindRecord,
    ClockFaultRecord,
    CycleRecord,
    ForceQueueRecord,
    HealthRecord,
    LayoutRecord,
    ProblemRecord,
    RunRecord,
    ThrottlingRecord,
    TroubleRecord,
)
from s2mirror.adapters.ledger.row_checksums import checked, insert, require_intact
from s2mirror.errors import LedgerError
from s2mirror.times import format_utc, parse_utc

SET: Final = f"""
{insert("state_value", {"name": ":name", "value": ":value"})}
ON CONFLICT (name) DO UPDATE SET value = excluded.value, checksums = excluded.checksums
"""
_GET: Final = f"SELECT name, value, {checked('state_value')} FROM state_value WHERE name = :name"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StateValue(Generic[T]):
    """The key of one value. *decode* raises ValueError or TypeError for damaged text."""

    name: str
    encode: Callable[[T], str]
    decode: Callable[[str], T]


class StateValues:
    """The state values of a ledger."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def get(self, key: StateValue[T]) -> T | None:
        """Return a value; None if it was never set. Raises LedgerError if it is damaged."""
        rows = self._connection.query(_GET, {"name": key.name})
        if not rows:
            return None
        require_intact(self._connection.path, "state_value", rows[0])
        try:
            return key.decode(rows[0]["value"])
        except (ValueError, TypeError, RecursionError) as error:
            raise LedgerError(
                f"ledger {self._connection.path}: the state value {key.name!r} cannot be read "
                f"({error}); another version of s2mirror wrote it. Install that version again"
            ) from error

    def set(self, key: StateValue[T], value: T) -> None:
        """Store a value in place of the one before."""
        self._connection.execute(SET, {"name": key.name, "value": key.encode(value)})


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRecord:
    """The store endpoint and key pair in use since a failover."""

    endpoint: str
    key: int
    since: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFaultRecord:
    """Why the daemon cannot use the configuration file, and since when."""

    at: datetime
    text: str
    """The first fault; empty if the file is in use."""
    at_reload: bool
    """Whether a reload was refused; else the daemon noticed that the file became faulty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """The sums of an area's last certificate of completeness."""

    checked_at: datetime
    published: int
    held: int
    missing: int
    complete: bool
    two_catalogs: bool
    """Whether OData was compared too, and not only the STAC catalog."""


def _problems(value: object) -> tuple[ProblemRecord, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is not a list")
    return tuple(_problem(each) for each in value)


def _problem(value: object) -> ProblemRecord:
    if not isinstance(value, list) or len(value) != len(fields(ProblemRecord)):
        raise TypeError(f"{value!r} is no problem")
    source, text = map(_exactly(str), value[:2])
    return ProblemRecord(source=source, text=text, since=_instant(value[2]))


def _instant(value: object) -> datetime:
    return parse_utc(_exactly(str)(value))


def _exactly(kind: type[T]) -> Callable[[object], T]:
    """Return a check that a parsed value is exactly of *kind*: true is not 1, and 1 is not 1.0."""

    def check(value: object) -> T:
        """Return *value* if it is exactly of *kind*. Raises TypeError."""
        if type(value) is not kind:
            raise TypeError(f"{value!r} is not of type {kind.__name__}")
        return value

    return check


_CHECKS: Final[Mapping[Any, Callable[[object], Any]]] = {
    str: _exactly(str),
    int: _exactly(int),
    bool: _exactly(bool),
    datetime: _instant,
    tuple[ProblemRecord, ...]: _problems,
}


def _text(name: str) -> StateValue[str]:
    return StateValue(name, str, str)


def _time(name: str) -> StateValue[datetime]:
    return StateValue(name, format_utc, parse_utc)


def _record(name: str, kind: type[T]) -> StateValue[T]:
    """Return the key of a dataclass of *kind*, stored as a JSON object."""
    checks = {field: _CHECKS[hint] for field, hint in get_type_hints(kind).items()}

    def encode(record: T) -> str:
        """Return the JSON of a record."""
        values = {field.name: getattr(record, field.name) for field in fields(record)}  # type: ignore[arg-type]  # a dataclass
        return json.dumps(values, default=_plain)

    def decode(text: str) -> T:
        """Return the record in a JSON text. Raises ValueError or TypeError."""
        found = _mapping(text)
        if found.keys() != checks.keys():
            raise ValueError(f"it has the fields {', '.join(found)}")
        return kind(**{field: check(found[field]) for field, check in checks.items()})

    return StateValue(name, encode, decode)


def _plain(value: datetime | ProblemRecord) -> object:
    """Return what JSON has for a value inside a record."""
    if isinstance(value, ProblemRecord):
        return [value.source, value.text, value.since]
    return format_utc(value)


def _by_name(name: str, check: Callable[[object], T]) -> StateValue[Mapping[str, T]]:
    """Return the key of a mapping from text to values that pass *check*."""

    def decode(text: str) -> Mapping[str, T]:
        """Return the mapping in a JSON text. Raises ValueError or TypeError."""
        return {key: check(value) for key, value in _mapping(text).items()}

    def encode(values: Mapping[str, T]) -> str:
        """Return the JSON of a mapping."""
        return json.dumps(values, sort_keys=True)

    return StateValue(name, encode, decode)


def _mapping(text: str) -> dict[str, object]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"{text[:40]!r} is not a JSON object")
    return found


ARCHIVE_ID: Final = _text("archive_id")
"""The identity of the archive to which the ledger belongs."""
AREA_PRIORITIES: Final = _by_name("areas.priorities", _exactly(int))
"""The priority of each area when the queue was last ordered."""
BRAKE: Final = _record("prune.brake", TroubleRecord)
"""Why the brake stopped the last prune."""
CLOCK_AHEAD_UNTIL: Final = _time("clock.ahead_until")
"""When a service last confirmed this machine's clock after it had been ahead."""
CLOCK_BEHIND: Final = _record("clock.behind", ClockBehindRecord)
"""How far the clock was behind, and until when."""
CLOCK_CONFIRMED_AT: Final = _time("clock.confirmed_at")
"""When a service last agreed with this machine's clock, by that clock."""
CLOCK_DOUBT: Final = _text("clock.doubt")
"""Why the clock may not decide on removals, by the last check; empty: it may."""
CLOCK_FAULT: Final = _record("clock.fault", ClockFaultRecord)
"""How wrong the clock has been since a service last confirmed it."""
CONFIGURATION_FAULT: Final = _record("configuration.fault", ConfigurationFaultRecord)
"""Why the configuration file is not the one in use, by the last reload or change of the file."""
CYCLE_TROUBLE: Final = _record("cycle.trouble", TroubleRecord)
"""Why the last ``sync`` command ended early, or could not reach the store."""
DAEMON_RUN: Final = _record("daemon.run", RunRecord)
"""The last start of the daemon."""
DELETIONS_READ_AT: Final = _time("deletions.read_at")
"""When CDSE's feed of deleted products was last read."""
DELETIONS_READ_UNTIL: Final = _time("deletions.read_until")
"""The deletion time up to which that feed has been read."""
DELETIONS_TROUBLE: Final = _record("deletions.trouble", TroubleRecord)
"""Why the feed of deleted products could not be read the last time."""
FINDINGS: Final = _by_name("findings", _exactly(str))
"""The text of each finding when findings were last recorded, by its code and subject."""
FORCE_FAILED: Final = _by_name("force_queue.failed", _exactly(str))
"""Since when FORCE's queue says that a product failed, by its id."""
FORCE_QUEUE: Final = _record("force_queue.last", ForceQueueRecord)
"""The last exchange by FORCE's queue."""
GEOPARQUET_WRITTEN_AT: Final = _time("local_catalog.geoparquet_written_at")
"""When the local catalog's GeoParquet files were last written."""
GOOD_CYCLE_AT: Final = _time("cycle.good_at")
"""When everything was last listed and nothing was wrong."""
HEALTH: Final = _record("health", HealthRecord)
"""What the daemon reported last."""
KEY_WARNINGS: Final = _by_name("store.key_warnings", _exactly(str))
"""The last warning logged of each key pair, by its number."""
LAST_CYCLE: Final = _record("cycle.last", CycleRecord)
"""The last cycle of all areas that a ``sync`` command has completed."""
LAYOUT: Final = _record("archive.layout", LayoutRecord)
"""How many held products were at paths of another layout than the configured one."""
LEDGER_BACKUP_AT: Final = _time("ledger.backup_at")
"""When the ledger was last copied, and the copy verified."""
LEDGER_DAMAGE: Final = _record("ledger.damage", TroubleRecord)
"""The damage that the last check of the whole ledger found; the text is empty for none."""
LOCAL_CATALOG_FOLDER: Final = _text("local_catalog.folder")
"""The local catalog to which the pending changes belong, relative to the archive; empty: none."""
PREVIEWS_BACKOFF_UNTIL: Final = _time("preview.backoff_until")
"""Before then, the service that renders previews is not asked."""
PREVIEWS_TROUBLE: Final = _record("preview.trouble", TroubleRecord)
"""Why no previews could be made the last time."""
PROCESSING_IN_USE: Final = _text("processing.in_use")
"""The rules of the processing entries by which products were planned last."""
PREVIEW_RULES: Final = _text("preview.rules")
"""The preview rules by which held products were last queued."""
PRUNE_SHORT: Final = _record("prune.short", TroubleRecord)
"""Why the last prune could not free enough for a limit of size."""
PRUNE_CONFIRMED_AT: Final = _time("prune.confirmed_at")
"""When a person last confirmed a prune: the brake does not count earlier removals."""
SEARCHES_IN_USE: Final = _by_name("searches.in_use", _exactly(int))
"""The searches of the mirror that worked last, and the interval of each in seconds."""
SEARCH_GEOMETRIES: Final = _by_name("searches.geometries", _exactly(str))
"""The clusters and search geometries of groups of areas with many vertices, by fingerprint."""
STORE_BACKOFF: Final = _record("store.backoff", BackoffRecord)
"""Whether the store refuses requests because the account sends too many."""
STORE_TARGET: Final = _record("store.target", TargetRecord)
"""The store endpoint in use; absent before the first failover."""
THROTTLING: Final = _record("account.throttled", ThrottlingRecord)
"""Whether the account was throttled at the last check."""
VIRTUAL_CLOCKS: Final = _by_name("fair_queue.clocks", _exactly(float))
"""The virtual clock of each flow of the fair queue."""


def area_fingerprint_key(area: str) -> StateValue[str]:
    """Return the key of the fingerprint of an area's filters, as last applied."""
    return _text(f"area.{area}.fingerprint")


def certificate_key(area: str) -> StateValue[CertificateRecord]:
    """Return the key of an area's last certificate."""
    return _record(f"certificate.{area}", CertificateRecord)


def odata_listed_key(search: str) -> StateValue[datetime]:
    """Return the key of the time at which OData last listed a search, in place of STAC."""
    return _time(f"odata.listed.{search}")


def catalog_away_key(search: str) -> StateValue[datetime]:
    """Return the key of the time of a search's first failed poll since its last listing."""
    return _time(f"catalog.away.{search}")


def area_preview_key(rule: str) -> StateValue[datetime]:
    """Return the key of the time at which an area's scheduled preview was last made."""
    return _time(f"preview.scheduled.{rule}")
