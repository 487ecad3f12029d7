"""Why a product is here or not: what the ledger knows, what the catalogs list, and every rule."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from s2mirror.errors import MirrorError, OutsideError, UsageError
from s2mirror.geometry import pack
from s2mirror.lifecycle import GONE, HELD, TROUBLED
from s2mirror.model import PINNED, LedgerEntry, Product
from s2mirror.naming import ProductName, parse_name, plain_id, unmirrored_kind
from s2mirror.planning.filters import Mismatch
from s2mirror.planning.scope import Scope
from s2mirror.ports import FindingCatalog
from s2mirror.service.pruning import known_time, pruner
from s2mirror.service.wiring import Mirror
from s2mirror.tiles import normal_tile, tile_polygon

LISTED, NOT_LISTED, NOT_ASKED = "listed", "not listed", "not asked"


@dataclass(slots=True, kw_only=True)
class Explanation:
    """Everything that is known about one product."""

    id: str
    entry: LedgerEntry | None = None
    """The ledger's; None if the ledger does not know the product."""
    kept: str = ""
    """Of a held product: why no rule removes it now."""
    removal: str = ""
    """Of a held product: which rule removes it at the next prune, and why."""
    catalogs: dict[str, str] = field(default_factory=dict)
    """By catalog: listed, not listed, not asked, unusable with the reason, or the error."""
    areas: Mapping[str, tuple[Mismatch, ...]] = field(default_factory=dict)
    """By area: the filters that the product does not pass; empty if the area wants it."""
    unknown: list[str] = field(default_factory=list)
    """What could not be looked at."""
    exit_code: int = 0

    @property
    def wanting(self) -> list[str]:
        """The configured areas that want the product."""
        return [name for name, mismatches in self.areas.items() if not mismatches]

    @property
    def remedy(self) -> str:
        """The command that brings the product; empty if it is here or on its way."""
        if self.entry is None:
            return f"s2mirror fetch {self.id}" if LISTED in self.catalogs.values() else ""
        if self.entry.state in GONE:
            return f"s2mirror restore {self.id}"
        if self.entry.state in TROUBLED:
            return f"s2mirror requeue {self.id}"
        if self.entry.state not in HELD and not (self.wanting or PINNED in self.entry.areas):
            return f"s2mirror fetch {self.id}"
        return ""


def explain(mirror: Mirror, text: str) -> Explanation:
    """Explain why a product is here or not. Asks the catalogs only if the ledger does not know it.

    Raises UsageError for text that is no product's name.
    """
    product_id = plain_id(text)
    entry = mirror.ledger.products.find([product_id]).get(product_id)
    if entry is not None:
        return _known(mirror, entry)
    if kind := unmirrored_kind(product_id):
        raise UsageError(f"{product_id}: {kind}")
    name = parse_name(product_id)
    if name is None:
        raise UsageError(f"{product_id!r} is not the name of a Sentinel-2 product in SAFE format")
    return _unknown(mirror, product_id, name)


def _known(mirror: Mirror, entry: LedgerEntry) -> Explanation:
    found = Explanation(id=entry.product.id, entry=entry)
    found.areas = Scope(mirror.areas).mismatches(entry.product)
    if entry.state in HELD:
        try:
            found.kept, found.removal = _retention(mirror, entry.product.id)
        except MirrorError as error:
            found.unknown.append(f"which rule keeps or removes it: {error}")
            found.exit_code = error.exit_code
    return found


def _retention(mirror: Mirror, product_id: str) -> tuple[str, str]:
    """Return why a held product is kept, and which rule removes it; one of them is empty."""
    plan = pruner(mirror).plan(known_time(mirror), list_kept=True)
    for removal in plan.removals:
        if removal.entry.product.id == product_id:
            stopped = f"; not now: {plan.clock_doubt or plan.brake}" if plan.stopped else ""
            return "", f"{removal.rule}: {removal.reason}{stopped}"
    return plan.kept.get(product_id, ""), ""


def _unknown(mirror: Mirror, product_id: str, name: ProductName) -> Explanation:
    """Explain a product by its item, or, without one, by its name alone."""
    found = Explanation(id=product_id)
    found.catalogs = {"stac": NOT_ASKED, "odata": NOT_ASKED}
    collection = f"sentinel-2-{name.level.lower()}"
    product, errors = None, []
    for catalog, client in _clients(mirror):
        try:
            product, found.catalogs[catalog] = _look_up(client(), collection, product_id)
        except OutsideError as error:
            errors.append(error)
            found.catalogs[catalog] = str(error)
        if product is not None:
            break
    if product is None:
        found.unknown += ["its cloud cover and its footprint: the rules saw its name and its tile"]
        product = _product_by_name(product_id, collection, name)
        found.exit_code = max((error.exit_code for error in errors), default=0)
    if product is not None:
        found.areas = Scope(mirror.areas).mismatches(product)
    return found


def _clients(mirror: Mirror) -> Iterator[tuple[str, Callable[[], FindingCatalog]]]:
    from s2mirror.service import clients  # noqa: PLC0415 - see there

    yield "stac", mirror.stac_catalog
    yield "odata", lambda: clients.odata_catalog(mirror.settings, mirror.service_dates)


def _look_up(
    catalog: FindingCatalog, collection: str, product_id: str
) -> tuple[Product | None, str]:
    """Return a product of a catalog, if it is there and usable, and what the catalog says."""
    page = catalog.find(collection, [product_id])
    for product in page.products:
        return product, LISTED
    for item in page.rejected:
        return None, f"its item cannot be used: {item.reason}"
    return None, NOT_LISTED


def _product_by_name(product_id: str, collection: str, name: ProductName) -> Product | None:
    """Return the values that a name has, with the tile as the footprint; None for no such tile."""
    with suppress(ValueError):
        return Product(
            id=product_id,
            collection=collection,
            platform=name.platform,
            tile=normal_tile(name.tile),
            baseline=name.baseline,
            relative_orbit=name.relative_orbit,
            sensed_at=name.sensed_at,
            published_at=name.discriminator,
            generated_at=name.discriminator,
            cloud_cover_percent=None,
            size_bytes=None,
            s3_prefix="",
            datatake_id="",
            datastrip_id="",
            revision="",
            footprint_wkb=pack(tile_polygon(name.tile)),
        )
    return None
