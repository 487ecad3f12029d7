"""Rules about the work: the daemon, the cycles, the listings, and the progress of downloads."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from s2mirror.planning.facts import Facts, SearchFacts, Trouble
from s2mirror.planning.findings import Finding, Severity

SILENT_AFTER: Final = timedelta(minutes=2)
"""The daemon reports every 15 s; without a report for this long it hangs or has ended."""
IDLE_AFTER: Final = timedelta(minutes=20)
"""So long may products be due without a byte; a busy store may need minutes."""
CYCLE_AGE: Final = timedelta(days=2)
"""The largest age of the last good cycle, unless a person names another."""
_LISTINGS: Final = 4
"""So many intervals may pass without a complete listing."""
_LISTING_TIME: Final = timedelta(hours=1)
"""What a complete listing may take."""
_SWEEP_DELAY: Final = timedelta(days=1)
_STEADY: Final = timedelta(days=1)
"""After this time away from the preferred endpoint, somebody should look."""
_STUCK: Final = timedelta(days=3)
"""All attempts with a product, six hours apart at most, end within this time."""
_LOST_PARTS: Final = frozenset(
    {"page", "log", "preview service", "local catalog", "keys", "deletions"}
)
"""Sources of the daemon's troubles without which it still downloads."""


def daemon_works(facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with the process that should do the work."""
    if facts.ledger_problem:
        return
    if facts.daemon is None:
        if facts.running_pid is None and not facts.by_cron:
            yield Finding(
                code="daemon.never_ran",
                severity=Severity.FAILURE,
                text="the daemon has never run, and no `s2mirror sync` has ended",
                remedy="start the daemon with `s2mirror run`, or run `s2mirror sync`",
            )
    elif facts.running_pid is None:
        yield Finding(
            code="daemon.stopped",
            severity=Severity.NOTICE if facts.by_cron else Severity.FAILURE,
            text="the daemon does not run",
            remedy="start it, and read its log if it ended by itself",
            since=facts.daemon.reported_at,
        )
    elif not facts.by_cron and facts.now - facts.daemon.reported_at > SILENT_AFTER:
        at = facts.daemon.reported_at
        yield Finding(
            code="daemon.silent",
            severity=Severity.FAILURE,
            text=f"the daemon has not reported since {at:%Y-%m-%d %H:%M:%S} UTC",
            remedy="read its log, and restart it",
            since=at,
        )


def daemon_reports(facts: Facts) -> Iterator[Finding]:
    """Yield the troubles of the daemon's last report that no other rule knows."""
    if facts.daemon is None or facts.by_cron:
        return
    known = {search.error for search in facts.searches}
    known |= {trouble.text for trouble in _stored(facts)}
    for trouble in sorted(facts.daemon.troubles, key=lambda each: each.source in _LOST_PARTS):
        if trouble.text not in known:
            known.add(trouble.text)  # two jobs may report one trouble
            minor = trouble.source in _LOST_PARTS
            yield Finding(
                code="daemon.problem",
                severity=Severity.WARNING if minor else Severity.FAILURE,
                text=trouble.text,
                subject=trouble.source,
                since=trouble.since,
            )


def _stored(facts: Facts) -> Iterator[Trouble]:
    kept = (facts.deletions, facts.previews, facts.brake, facts.refused_configuration)
    yield from (trouble for trouble in kept if trouble is not None)
    for text in (facts.archive_problem, facts.clock_doubt, facts.throttled):
        yield Trouble(text=text)


def last_good_cycle(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the last good cycle is too old; for a daemon only on request."""
    limit = facts.max_age or (CYCLE_AGE if facts.by_cron else None)
    if limit is None or facts.ledger_problem:
        return
    if facts.good_at is not None and facts.now - facts.good_at <= limit:
        return
    if facts.max_age is None and facts.cycle and facts.now - facts.cycle.ended_at <= limit:
        return  # the cycle came in time; what was wrong in it is another finding
    when = f"ended at {facts.good_at:%Y-%m-%d %H:%M} UTC" if facts.good_at else "never happened"
    yield Finding(
        code="cycle.too_old",
        severity=Severity.FAILURE,
        text=f"the last good cycle {when}; at most {_days(limit)} are allowed",
        remedy="see the other findings, and whether cron or the timer still starts `s2mirror sync`",
        since=facts.good_at,
    )


def last_cycle_ended(facts: Facts) -> Iterator[Finding]:
    """Yield why the last ``sync`` command ended early."""
    if facts.cycle_trouble is not None:
        yield Finding(
            code="cycle.failed",
            severity=Severity.FAILURE,
            text=facts.cycle_trouble.text,
            since=facts.cycle_trouble.since,
        )


def searches_are_listed(facts: Facts) -> Iterator[Finding]:
    """Yield each search whose newest listing failed, or is too old."""
    for search in facts.searches:
        if search.error:
            yield Finding(
                code="search.failed",
                severity=Severity.WARNING,
                text=search.error + _by_odata(search),
                subject=search.name,
                since=search.listed_at or search.error_at,
            )
        elif search.listed_at is None:
            yield from _never_listed(facts, search)
        elif facts.now - search.listed_at > _listing_limit(facts, search):
            yield Finding(
                code="search.too_old",
                severity=Severity.FAILURE,
                text=f"the search {search.name} was last listed at "
                f"{search.listed_at:%Y-%m-%d %H:%M} UTC",
                remedy="see whether the daemon or cron still works, and read the log",
                subject=search.name,
                since=search.listed_at,
            )


def _by_odata(search: SearchFacts) -> str:
    """Return that OData lists new products meanwhile, if it does; else nothing."""
    if search.odata_at is None or (search.listed_at and search.odata_at < search.listed_at):
        return ""
    return f"; meanwhile, OData listed new products at {search.odata_at:%Y-%m-%d %H:%M} UTC"


def _never_listed(facts: Facts, search: SearchFacts) -> Iterator[Finding]:
    began = facts.daemon.began_at if facts.daemon and not facts.by_cron else None
    if facts.by_cron and facts.cycle:
        began = facts.cycle.began_at - IDLE_AFTER - _LISTING_TIME
    if began and facts.now - began > _LISTING_TIME:
        yield Finding(
            code="search.too_old",
            severity=Severity.WARNING,
            text=f"the search {search.name} was never listed completely",
            remedy="read the log; a first listing of many years can take an hour",
            subject=search.name,
            since=began,
        )


def _listing_limit(facts: Facts, search: SearchFacts) -> timedelta:
    daemons = max(_LISTINGS * search.interval, search.interval + _LISTING_TIME)
    return max(daemons, facts.max_age or CYCLE_AGE) if facts.by_cron else daemons


def sweeps_are_complete(facts: Facts) -> Iterator[Finding]:
    """Yield each search whose sweep of the whole period is overdue."""
    limit = 2 * facts.sweep_every + _SWEEP_DELAY
    for search in facts.searches:
        if search.swept_at is not None and facts.now - search.swept_at > limit:
            yield Finding(
                code="sweep.overdue",
                severity=Severity.WARNING,
                text=f"the search {search.name} last completed a sweep of its whole period at "
                f"{search.swept_at:%Y-%m-%d %H:%M} UTC",
                remedy="read the log; without sweeps, products that are published late are missed",
                subject=search.name,
                since=search.swept_at,
            )


def downloads_progress(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if products are due, and no byte arrives, whether or not workers try."""
    queue = facts.queue
    if queue is None or facts.archive_problem or not _is_idle(facts):
        return
    since = max(queue.since, facts.progress_at or queue.since)
    why = f"; the reason of one: {queue.reason}" if queue.reason else ""
    many = "100 or more products wait" if queue.products >= 100 else f"{queue.products} waiting"  # noqa: PLR2004
    yield Finding(
        code="downloads.no_progress",
        severity=Severity.FAILURE,
        text=f"no byte has been received since {since:%Y-%m-%d %H:%M} UTC with {many}{why}",
        remedy="run `s2mirror check`, and read the log",
        since=since,
    )


def no_product_waits_for_ever(facts: Facts) -> Iterator[Finding]:
    """Yield a finding if the attempts with a product do not end, while others are downloaded."""
    queue = facts.queue
    if queue and queue.tried_since and facts.now - queue.tried_since > _STUCK:
        yield Finding(
            code="products.stuck",
            severity=Severity.WARNING,
            text=f"a product is tried again and again since {queue.tried_since:%Y-%m-%d %H:%M} "
            f"UTC; the reason of one: {queue.reason}",
            remedy="`s2mirror list --state queued` shows each reason",
            since=queue.tried_since,
        )


def _is_idle(facts: Facts) -> bool:
    queue = facts.queue
    if queue is None:
        return False
    since = max(queue.since, facts.progress_at or queue.since)
    if facts.by_cron and facts.cycle:
        began = facts.cycle.began_at
        tried = queue.since < began or (queue.blameless and queue.since <= facts.cycle.ended_at)
        return tried and (facts.progress_at is None or facts.progress_at < began)
    if facts.running_pid is None:
        return False
    idle = facts.now - since
    if facts.daemon and since < facts.daemon.began_at - facts.daemon.paused:
        idle -= facts.daemon.paused
    return idle > IDLE_AFTER


def services_answer(facts: Facts) -> Iterator[Finding]:
    """Yield which services do not do their part."""
    if facts.deletions is not None:
        yield Finding(
            code="deletions.unreadable",
            severity=Severity.NOTICE if facts.deletions_kept else Severity.WARNING,
            text=f"the feed of deleted products cannot be read: {facts.deletions.text}",
            since=facts.deletions.since,
        )
    if facts.failover is not None:
        since = facts.failover.since
        steady = since is not None and facts.now - since > _STEADY
        yield Finding(
            code="store.failover",
            severity=Severity.WARNING if steady else Severity.NOTICE,
            text=facts.failover.text,
            remedy="see whether the preferred endpoint and its key pair work: `s2mirror check`",
            since=since,
        )
    if facts.throttled:
        yield Finding(code="account.throttled", severity=Severity.WARNING, text=facts.throttled)


def configuration_is_accepted(facts: Facts) -> Iterator[Finding]:
    """Yield the refusal of the newest configuration."""
    if facts.refused_configuration is not None:
        yield Finding(
            code="configuration.refused",
            severity=Severity.FAILURE,
            text=facts.refused_configuration.text,
            remedy="correct the file, run `s2mirror check --config-only`, then reload the daemon; "
            "it cannot restart with this file",
            since=facts.refused_configuration.since,
        )


def alerts_are_delivered(facts: Facts) -> Iterator[Finding]:
    """Yield each channel whose last ping or message was not delivered."""
    for channel in facts.alerts:
        yield Finding(
            code="alerts.failed",
            severity=Severity.WARNING,
            text=f"alerts cannot be delivered by {channel.source}: {channel.text}",
            remedy="correct the option or the receiver, then run `s2mirror alerts test`",
            subject=channel.source,
            since=channel.since,
        )


def _days(limit: timedelta) -> str:
    hours = limit / timedelta(hours=1)
    return f"{hours / 24:g} days" if hours >= 48 else f"{hours:g} h"  # noqa: PLR2004


RULES: Final = (
    daemon_works,
    daemon_reports,
    last_cycle_ended,
    last_good_cycle,
    searches_are_listed,
    sweeps_are_complete,
    downloads_progress,
    no_product_waits_for_ever,
    services_answer,
    configuration_is_accepted,
    alerts_are_delivered,
)
