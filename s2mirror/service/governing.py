"""Puts together what decides which product starts when."""

from collections.abc import Iterable
from datetime import UTC, datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.area import WatchArea
from s2mirror.config import Settings
from s2mirror.planning.bandwidth import rate_at
from s2mirror.planning.fair_queue import AreaWeight
from s2mirror.planning.quota import QuotaPolicy
from s2mirror.service.throttled_account import ThrottleWatch
from s2mirror.steps.capacity import CapacityProbe
from s2mirror.steps.claim import Claimer, FairQueue
from s2mirror.steps.file_selection import SelectionPolicy
from s2mirror.steps.throttle import Throttle


def claimer_of(
    settings: Settings, ledger: Ledger, archive: Archive, areas: Iterable[WatchArea]
) -> Claimer:
    """Return the claim step, ready to use; one for all threads of the process."""
    areas = tuple(areas)
    capacity_probe = CapacityProbe(
        ledger=ledger,
        archive=archive,
        reserve_bytes=settings.archive.reserve_bytes,
        quota=quota_policy(settings),
        selection_policy=SelectionPolicy.of_areas(areas),
    )
    claims = {area.name: AreaWeight(priority=area.priority, share=area.share) for area in areas}
    fair_queue = FairQueue(ledger=ledger, areas=claims)
    return Claimer(
        ledger=ledger,
        capacity_probe=capacity_probe,
        fair_queue=fair_queue,
        hours=settings.download.hours,
    )


def throttle_of(settings: Settings, ledger: Ledger) -> Throttle:
    """Return the throttle of all connections."""

    def now() -> datetime:
        return datetime.now(UTC)

    watch = ThrottleWatch(ledger=ledger, quota=quota_policy(settings), now=now)
    return Throttle(lambda: rate_at(settings.download.hours, now()), watch.is_slow)


def quota_policy(settings: Settings) -> QuotaPolicy:
    """Return what the account may receive."""
    return QuotaPolicy(
        limit_bytes=settings.quota.per_30_days,
        reserve_percent=settings.quota.reserve_percent,
        fresh=settings.quota.fresh,
    )
