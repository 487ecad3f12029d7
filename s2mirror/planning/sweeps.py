"""When a search is swept, so that products published or indexed late are found."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from s2mirror.model import CatalogQuery, SweepKind, SweepState
from s2mirror.planning.searches import Search, plan_query


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPolicy:
    """How often to sweep, and how many days a recent sweep covers."""

    recent_window: timedelta
    recent_every: timedelta
    full_every: timedelta


def due_sweep(
    search: Search, states: Iterable[SweepState], policy: SweepPolicy, *, now: datetime
) -> SweepKind | None:
    """Return which sweep is to be started or continued; None if none is due.

    The full sweep is first, as it includes the recent days. A search whose period ended before the
    recent days needs no recent sweep.
    """
    known = {state.kind: state for state in states}
    if _is_due(known.get(SweepKind.FULL), policy.full_every, now):
        return SweepKind.FULL
    if search.sensed_until is not None and search.sensed_until < now - policy.recent_window:
        return None
    recent = known.get(SweepKind.RECENT)
    if recent is not None and recent.under_way:
        return SweepKind.RECENT
    newest = max(state.completed_at for state in known.values() if state.completed_at)
    return SweepKind.RECENT if _is_over(newest, policy.recent_every, now) else None


def _is_due(state: SweepState | None, every: timedelta, now: datetime) -> bool:
    if state is None or state.under_way or state.completed_at is None:
        return True
    return _is_over(state.completed_at, every, now)


def _is_over(since: datetime, wait: timedelta, now: datetime) -> bool:
    """Return whether *wait* is over. A time far ahead comes from a clock that was wrong."""
    return abs(now - since) >= wait


def sweep_query(
    search: Search,
    kind: SweepKind,
    reached: datetime | None,
    *,
    recent_window: timedelta,
    now: datetime,
) -> CatalogQuery:
    """Return the query for the rest of a sweep that was listed down to *reached*.

    A recent sweep whose window has passed *reached* meanwhile starts again.
    """
    query = plan_query(search, None, overlap=timedelta())
    if kind is SweepKind.RECENT:
        query = replace(query, sensed_from=max(search.sensed_from, now - recent_window))
    begins_anew = reached is None or (query.sensed_from and reached < query.sensed_from)
    return query if begins_anew else replace(query, sensed_until=reached)
