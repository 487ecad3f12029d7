"""The values of the mirror: frozen, with units in their names and aware UTC times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from s2mirror.lifecycle import Event, State
from s2mirror.radiometry import UNKNOWN_RADIOMETRY, Radiometry
from s2mirror.selection import WHOLE, Selection


class _Timed:
    """Refuses naive datetimes in any field of a frozen value."""

    __slots__ = ()

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:  # type: ignore[attr-defined]  # of subclasses
            value = getattr(self, name)
            if isinstance(value, datetime) and value.utcoffset() is None:
                raise ValueError(f"{name} must be UTC-aware, got {value!r}")


PINNED: Final = "(pinned)"
"""The area of products that a person pinned: they are kept whatever areas and retention say.
No configured area can have this name."""
DROPPED: Final = "(dropped)"
"""The area of held products that a person dropped, until they are removed."""
BY_REQUEST: Final = "dropped by request"
"""The reason in the history of such products."""


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
    """As the catalog states it; the S3 listing is authoritative."""
    s3_prefix: str
    """Key prefix inside the bucket, ending in ``.SAFE/``; always taken from the item."""
    datatake_id: str
    datastrip_id: str
    revision: str
    """The catalog's checksum of ``manifest.safe``; it changes with the bytes. May be empty."""
    footprint_wkb: bytes
    """WGS 84 footprint, longitudes within ±180, split at the antimeridian."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A catalog item that could not become a product, and why."""

    id: str
    collection: str
    reason: str
    skipped: bool = False
    """Whether it is of a kind that is not mirrored, which is no fault."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a catalog listing."""

    products: tuple[Product, ...]
    rejected: tuple[Rejected, ...]
    properties: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The properties of each item, by product id, as the catalog returned them."""

    @property
    def item_count(self) -> int:
        """The number of items of the page, usable or not."""
        return len(self.products) + len(self.rejected)

    def joined(self, other: "Page") -> "Page":
        """Return the products and unusable items of both pages."""
        return Page(
            products=self.products + other.products,
            rejected=self.rejected + other.rejected,
            properties={**self.properties, **other.properties},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogQuery(_Timed):
    """A query to the catalog; a bound that is None is not sent."""

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
    """The expected hash of a file's bytes. ``hexdigest`` is lower case."""

    algorithm: str
    """A hashlib name: ``sha3_256`` or ``md5``."""
    hexdigest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedFile:
    """One file of a product, as it was verified after its download."""

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
    """The folder, relative to the archive root; None while there is none."""
    areas: tuple[str, ...]
    selection: Selection = WHOLE
    """Which files the folder has: all, or the selected ones."""
    verified_at: datetime | None = None
    """When every byte in the folder was last verified; None without a folder."""


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
    """An event of a product, and the values that change with it."""

    event: Event
    reason: str = ""
    attempts: int | None = None
    """Failed attempts so far; None leaves the count."""
    next_attempt_at: datetime | None = None
    """The earliest time of the next attempt; None means at once."""
    path: str | None = None
    """The new folder, relative to the archive root; None leaves it."""
    size_bytes: int | None = None
    """The true size of the product, once it is known; None leaves it."""


class SweepKind(StrEnum):
    """Which part of the catalog a sweep lists again."""

    FULL = "full"
    """The whole configured period. The first one is the backfill."""
    RECENT = "recent"
    """The sensing times of the last weeks, in which late items are likely."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepState(_Timed):
    """The progress of the sweeps of one kind for one search."""

    kind: SweepKind
    under_way: bool
    reached: datetime | None
    """The present sweep has listed everything sensed after this time; None: nothing yet."""
    completed_at: datetime | None
    """When a sweep of this kind was last complete; None if never."""
    found_late: int
    """Products that only sweeps have found, since the first full one was complete."""


class SupersedePolicy(StrEnum):
    """What happens to an older version of an image when a newer one is held."""

    ALL = "all"
    """All versions are kept."""
    NEWEST = "newest"
    """The older version is removed at once."""
    REPLACE_AFTER_GRACE = "replace-after-grace"
    """The older version is removed after a period of grace."""


class DeletedPolicy(StrEnum):
    """What happens to a held product that was deleted upstream."""

    KEEP = "keep"
    """The product is kept; the ledger records the deletion."""
    TOMBSTONE = "tombstone"
    """The product is moved to the trash; a small file in its place states why."""
    TRASH = "trash"
    """The product is moved to the trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion(_Timed):
    """One entry of CDSE's feed of deleted products."""

    product_id: str
    deleted_at: datetime
    cause: str
    """Such as ``Duplicated product`` or ``Corrupted product``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedProduct(_Timed):
    """A held product, with everything that the ledger knows about it."""

    product: Product
    state: State
    path: str
    """Its folder, relative to the archive root."""
    properties: Mapping[str, Any]
    """The catalog's properties; empty if they were not stored."""
    files: tuple[VerifiedFile, ...]
    fetched_at: datetime | None
    """Start of its download."""
    verified_at: datetime | None
    """The time when every byte was verified."""
    previews: tuple[tuple[str, str], ...] = ()
    """Name and path, relative to the archive root, of each of its previews."""
    radiometry: Radiometry = UNKNOWN_RADIOMETRY


@dataclass(slots=True, kw_only=True)
class ItemSummary:
    """A held product in few values, as there may be many. Do not change it."""

    id: str
    path: str
    """Its folder, relative to the archive root."""
    s3_prefix: str
    footprint_wkb: bytes
    properties: Mapping[str, Any]
    """The catalog's properties; empty if they were not stored."""
    product: Product | None
    """The ledger's values, if the catalog's properties were not stored."""
    paths: Sequence[str]
    """Its files, relative to its folder."""
    fetched_at: datetime | None
    """Start of its download."""
    verified_at: datetime | None
    """The time when every byte was verified."""
