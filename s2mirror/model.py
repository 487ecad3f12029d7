"""The words of the mirror: frozen values, units in their names, times UTC-aware."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from s2mirror.lifecycle import Event, State
from s2mirror.selection import WHOLE, Selection


class _Timed:
    """Refuses naive datetimes in any field of a frozen value."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:  # type: ignore[attr-defined]  # of subclasses
            value = getattr(self, name)
            if isinstance(value, datetime) and value.utcoffset() is None:
                raise ValueError(f"{name} must be UTC-aware, got {value!r}")


ASKED_FOR: Final = "(asked for)"
"""The area of what a person wants although no area does. No area can be named so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(_Timed):
    """One Sentinel-2 ``.SAFE`` as the catalog describes it."""

    id: str
    """Product name without ``.SAFE``."""
    collection: str
    """``sentinel-2-l1c`` or ``sentinel-2-l2a``."""
    platform: str
    """``sentinel-2a``, ``sentinel-2b``, …"""
    tile: str
    """MGRS tile without the leading ``T``, for example ``32TMT``."""
    baseline: str
    """Processing baseline as ``NN.NN``, for example ``05.12``."""
    relative_orbit: int
    sensed_at: datetime
    """Start of the datatake, the third field of the name."""
    published_at: datetime
    """When CDSE listed it. The poll cursor runs on this, not on ``sensed_at``."""
    generated_at: datetime
    """End of ESA's processing; ranks two products of one baseline."""
    cloud_cover_percent: float | None
    size_bytes: int | None
    """What the catalog says; the S3 listing has the last word."""
    s3_prefix: str
    """Key prefix inside the bucket, ending in ``.SAFE/``; always taken from the item."""
    datatake_id: str
    datastrip_id: str
    revision: str
    """The catalog's checksum of ``manifest.safe``; another one is other bytes. May be empty."""
    footprint_wkb: bytes
    """WGS 84 footprint, longitudes within ±180, split at the antimeridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A catalog item that could not become a product, and why."""

    id: str
    collection: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a catalog listing."""

    products: tuple[Product, ...]
    rejected: tuple[Rejected, ...]
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What each item says beyond that, by product id, as the catalog wrote it."""

    @property
    def item_count(self) -> int:
        """How many items the page held, usable or not."""
        return len(self.products) + len(self.rejected)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogQuery(_Timed):
    """What to ask the catalog for; a bound that is None is not sent."""

    collection: str
    geometry_geojson: str
    """A valid GeoJSON geometry without overlapping parts."""
    published_from: datetime | None
    sensed_from: datetime | None
    sensed_until: datetime | None
    max_cloud_cover_percent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One object of a product in the store."""

    path: str
    """Relative to the product folder, checked to stay inside it."""
    key: str
    size_bytes: int
    etag: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """All objects below a product's prefix. ``folders`` come from zero-byte folder keys."""

    files: tuple[RemoteFile, ...]
    folders: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Sum of all file sizes."""
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What a file's bytes must hash to. ``hexdigest`` is lower case."""

    algorithm: str
    """A hashlib name: ``sha3_256`` or ``md5``."""
    hexdigest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedFile:
    """One file of a product as it was proven when fetched."""

    path: str
    size_bytes: int
    etag: str
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry(_Timed):
    """A product's row in the ledger."""

    product: Product
    state: State
    reason: str
    attempts: int
    next_attempt_at: datetime
    changed_at: datetime
    path: str | None
    """Where the folder stands, relative to the archive root; None while it does not."""
    areas: tuple[str, ...]
    selection: Selection = WHOLE
    """What of it stands in the folder: all, or what was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry(_Timed):
    """One transition in a product's history."""

    at: datetime
    event: str
    from_state: str
    to_state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition(_Timed):
    """What is to become of a product."""

    event: Event
    reason: str = ""
    attempts: int | None = None
    """Failed attempts so far; None leaves the count."""
    next_attempt_at: datetime | None = None
    """Not before then; None means at once."""
    path: str | None = None
    """Where the folder stands now, relative to the archive root; None leaves it."""
    size_bytes: int | None = None
    """What the product really has, once that is known; None leaves it."""


class SweepKind(StrEnum):
    """How much of the catalog a sweep lists anew."""

    FULL = "full"
    """The whole configured period. The first one is the backfill."""
    RECENT = "recent"
    """What was sensed in the last weeks: late arrivals are likely there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepState(_Timed):
    """How far the sweeps of one kind have come for one search."""

    kind: SweepKind
    under_way: bool
    reached: datetime | None
    """Everything sensed after this has been listed by the sweep under way; None: nothing yet."""
    completed_at: datetime | None
    """When a sweep of this kind was last complete; None if never."""
    found_late: int
    """Products that only sweeps have found, since the first full one was complete."""


class SupersedePolicy(StrEnum):
    """What becomes of an older version of an image when a newer one is held."""

    ALL = "all"
    """Every version stays."""
    NEWEST = "newest"
    """The older one goes at once."""
    REPLACE_AFTER_GRACE = "replace-after-grace"
    """The older one goes some time later."""


class DeletedPolicy(StrEnum):
    """What becomes of a held product that was deleted upstream."""

    KEEP = "keep"
    """It stays; the ledger knows that upstream has it no more."""
    TOMBSTONE = "tombstone"
    """It goes to the trash, and a small file in its place says why."""
    TRASH = "trash"
    """It goes to the trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion(_Timed):
    """One entry of CDSE's feed of deleted products."""

    product_id: str
    deleted_at: datetime
    cause: str
    """Such as ``Duplicated product`` or ``Corrupted product``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedProduct(_Timed):
    """A product that stands in the archive, with all that is known of it."""

    product: Product
    state: State
    path: str
    """Its folder, relative to the archive root."""
    properties: Mapping[str, Any]
    """What the catalog says of it; empty if that was not kept."""
    files: tuple[VerifiedFile, ...]
    fetched_at: datetime | None
    """When its download began."""
    verified_at: datetime | None
    """When every byte of it was proven."""
    previews: tuple[tuple[str, str], ...] = ()
    """Name and path of each image that was drawn of it, relative to the archive root."""


@dataclass(slots=True, kw_only=True)
class ItemSummary:
    """A product that stands in the archive, in short: there may be many. Not to be changed."""

    id: str
    path: str
    """Its folder, relative to the archive root."""
    s3_prefix: str
    footprint_wkb: bytes
    properties: Mapping[str, Any]
    """What the catalog says of it; empty if that was not kept."""
    product: Product | None
    """What the ledger knows of it, where that was not kept."""
    paths: Sequence[str]
    """Its files, relative to its folder."""
    fetched_at: datetime | None
    """When its download began."""
    verified_at: datetime | None
    """When every byte of it was proven."""
