"""Dry run: what the next cycle would do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from s2mirror.adapters.archive import Archive
from s2mirror.lifecycle import State
from s2mirror.model import PINNED, LedgerEntry, Product, SupersedePolicy
from s2mirror.planning.downloads import DownloadPlan
from s2mirror.planning.retention import PrunePlan
from s2mirror.planning.scope import Scope, diff_page
from s2mirror.planning.searches import Search, plan_query
from s2mirror.planning.supersede import Supersession, plan_supersede
from s2mirror.service.pruning import known_time, pruner
from s2mirror.service.wiring import Mirror
from s2mirror.steps.listing import list_in_windows
from s2mirror.steps.requests import incomplete


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """What the next cycle would do."""

    new: tuple[LedgerEntry, ...]
    """Products that the catalog has and the ledger does not."""
    downloads: DownloadPlan
    prune: PrunePlan
    replaced: tuple[Supersession, ...]
    """Held versions whose newer one is held, whether their grace is over or not."""
    policy: SupersedePolicy
    incomplete: tuple[LedgerEntry, ...]
    """Products held with fewer files than their areas want now."""
    unclaimed: tuple[LedgerEntry, ...]
    """Held products that no configured area wants any more. They are kept."""

    @property
    def replaced_when(self) -> str:
        """When the older versions are removed, for people."""
        if self.policy is SupersedePolicy.ALL:
            return 'are kept beside newer ones, as supersede.policy is "all"'
        first = min(each.due_at for each in self.replaced)
        return f"are removed when their grace is over, the first on {first:%Y-%m-%d}"

    @property
    def fetch_count(self) -> int:
        """How many products would be downloaded."""
        return len(self.downloads.start)

    @property
    def fetch_bytes(self) -> int:
        """About how many bytes would be downloaded."""
        return self.downloads.size_bytes


def plan_sync(mirror: Mirror, searches: Sequence[Search]) -> SyncPlan:
    """List the catalog as the next cycle would, and plan its downloads and removals."""
    products = mirror.ledger.products
    new = tuple(_new_entries(mirror, searches))
    queued = products.in_state(State.QUEUED)
    names = [area.name for search in searches for area in search.areas]
    enqueuer = mirror.enqueuer(at=existing(mirror.archive))
    waiting = [*enqueuer.waiting(names), *new]
    policy = mirror.settings.supersede.policy
    versions = [*products.versions(waiting), *new]
    downloads = enqueuer.plan(queued, waiting, versions, now=mirror.now())
    prune = pruner(mirror).plan(known_time(mirror))
    asked = SupersedePolicy.NEWEST if policy is SupersedePolicy.ALL else policy
    return SyncPlan(
        new=new,
        downloads=downloads,
        prune=prune,
        replaced=plan_supersede(products.rivals(), asked, mirror.settings.supersede.grace),
        policy=policy,
        incomplete=tuple(incomplete(products.held(), mirror.selection_policy)),
        unclaimed=tuple(products.unclaimed([*mirror.area_names, PINNED])),
    )


def existing(archive: Archive) -> Archive:
    """Return the archive; if it does not exist yet, its first existing parent folder."""
    folder = archive.root
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return Archive(folder)


def _new_entries(mirror: Mirror, searches: Sequence[Search]) -> Iterator[LedgerEntry]:
    catalog = mirror.stac_catalog()
    for search in searches:
        watermark = mirror.ledger.cursors.watermark(search.key)
        query = plan_query(search, watermark, overlap=mirror.settings.catalog.overlap)
        scope = Scope(search.areas)
        for page in (listed.page for listed in list_in_windows(catalog, query)):
            known = mirror.ledger.products.known(product.id for product in page.products)
            diff = diff_page(page.products, known, scope)
            yield from (_discovered(p, diff.areas[p.id], mirror) for p in diff.new)


def _discovered(product: Product, areas: tuple[str, ...], mirror: Mirror) -> LedgerEntry:
    now = mirror.now()
    return LedgerEntry(
        product=product,
        state=State.DISCOVERED,
        reason="",
        attempts=0,
        next_attempt_at=now,
        changed_at=now,
        path=None,
        areas=areas,
    )
