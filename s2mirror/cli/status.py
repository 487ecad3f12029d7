"""``status`` and ``health``: the state of the mirror and of its daemon."""

from dataclasses import asdict

from s2mirror.adapters.lock import holder_pid
from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import (
    format_count,
    format_size,
    format_time,
    print_json,
    print_line,
    print_table,
)
from s2mirror.config import Settings
from s2mirror.errors import MirrorError
from s2mirror.lifecycle import HELD
from s2mirror.planning.bandwidth import Allowance
from s2mirror.service.archive_identity import archive_problem
from s2mirror.service.health import read_health
from s2mirror.service.previews import PreviewStatus
from s2mirror.service.report import AreaStatus, QuotaStatus, Status, quota_note
from s2mirror.service.report import status as status_of
from s2mirror.service.store_failover import (
    FailoverStatus,
    failover_status,
    key_expiry_notes,
    key_problems,
)
from s2mirror.service.wiring import open_mirror, utc_now


def status(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Show whether the mirror is current, and why not.

    Exit code 0: current; 1: products are missing or failed.
    """
    with shared_mirror(config) as mirror:
        found = status_of(mirror)
    if as_json:
        print_json({"current": found.current, **asdict(found)})
    else:
        _print_status(found)
    return 0 if found.current else 1


def _print_status(found: Status) -> None:
    held = sum(found.products[state] for state in HELD)
    works = f"process {found.daemon_pid} runs" if found.daemon_pid else "no process runs"
    states = [f"{number} {state}" for state, number in found.products.items() if number]
    print_line(f"mirror    {'current' if found.current else 'not current'}; {works}")
    print_line(f"products  {', '.join(states) or 'none yet'}")
    partial = f", {found.partial_products} partial by choice" if found.partial_products else ""
    print_line(
        f"archive   {found.archive_root}: {format_count(held, 'product')}, "
        f"{format_size(found.held_bytes)}{partial}"
    )
    print_line(f"disk      {format_size(found.free_bytes)} free")
    print_line(
        f"received  {format_size(found.received_24h_bytes)} in 24 h, "
        f"{format_size(found.received_30d_bytes)} in 30 days"
    )
    print_line(f"store     {found.store.endpoint}{_failover(found.store)}")
    print_line(f"previews  {_previews(found.previews)}")
    print_line(f"quota     {_account(found.quota)}")
    if found.bandwidth.bytes_per_second is not None:
        print_line(f"rate      {_speed(found.bandwidth)}")
    if found.throttled:
        print_line(f"throttled {found.throttled}")
    for group in found.deferrals:
        products = format_count(group.products, "product")
        print_line(f"deferred  {products}; the first: {group.reason}")
    print_line(f"ledger    {found.ledger_path}")
    print_line("")
    _print_areas(found)
    print_line("")
    _print_searches(found)
    _print_problems(found)


def _failover(store: FailoverStatus) -> str:
    """Return since when and why the preferred endpoint and key pair are not used, else ""."""
    if store.preferred:
        return ""
    return f" with key pair {store.key} since {format_time(store.since)} UTC: {store.why}"


def _previews(found: PreviewStatus) -> str:
    """Return how many previews exist, and what rendering has cost."""
    parts = [f"{number} {outcome}" for outcome, number in found.outcomes.items() if number]
    parts += [f"{format_count(found.due, 'product')} without one yet"] if found.due else []
    if found.spent.requests:
        parts.append(
            f"{found.spent.units:.1f} of {found.allowance.units:g} processing units spent "
            f"in {found.month}"
        )
    return ", ".join(parts) or "none yet"


def _account(quota: QuotaStatus) -> str:
    if quota.limit_bytes is None:
        return f"{format_size(quota.spent_bytes)} received in 30 days, no limit"
    later = f"; more from about {format_time(quota.more_at)} UTC" if quota.more_at else ""
    return (
        f"{format_size(quota.spent_bytes)} of {format_size(quota.limit_bytes)} in 30 days; "
        f"{format_size(quota.left_for_backfill_bytes)} left for the backfill, "
        f"{format_size(quota.left_bytes)} for the newest{later}"
    )


def _speed(allowance: Allowance) -> str:
    until = f" until {format_time(allowance.until)} UTC" if allowance.until else ""
    rate = allowance.bytes_per_second
    limit = f"at most {format_size(rate)}/s" if rate else "no new downloads"
    return f"{limit} by download.hours{until}"


def _print_areas(found: Status) -> None:
    print_table(
        ("area", ">held", ">waiting", ">pruned", ">failed", "last online audit (UTC)"),
        [(a.name, a.held, a.waiting, a.pruned, a.failed, _certified(a)) for a in found.areas],
    )


def _certified(area: AreaStatus) -> str:
    """Return the result of the area's last online audit."""
    if not area.configured:
        return "removed from the configuration"
    if area.certified is None:
        return "never"
    missing = area.certified.missing
    outcome = (
        f"{missing} missing" if missing else "complete" if area.certified.complete else "incomplete"
    )
    return f"{format_time(area.certified.checked_at)} {outcome}"


def _print_searches(found: Status) -> None:
    print_table(
        ("search", "listed (UTC)", "published up to (UTC)", "result"),
        [
            (
                c.search,
                format_time(c.listed_at),
                format_time(c.watermark),
                "failed" if c.error else "ok",
            )
            for c in found.searches
        ],
    )


def _print_problems(found: Status) -> None:
    problems = [found.archive_problem] if found.archive_problem else []
    problems += [c.error for c in found.searches if c.error]
    if found.health and found.daemon_pid:
        problems += found.health.problems
    for text in dict.fromkeys(problems):
        print_line(f"problem: {text}")
    for text in found.key_expiry_notes:
        print_line(f"note: {text}")
    if found.found_late:
        print_line(f"{format_count(found.found_late, 'product')} found late, by a sweep only")
    for item in found.rejected:
        print_line(f"unusable item: {item.id}: {item.reason}")


def health(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Report whether the daemon works.

    Exit code 0: it does; 1: it does not. For the health check of a container or a monitor.
    """
    settings = read_settings(config)
    problems, notes = _problems_and_notes(settings)
    if as_json:
        print_json({"ok": not problems, "problems": problems, "notes": notes})
    else:
        summary = "healthy" if not problems else "not healthy: " + "; ".join(problems)
        print_line("; ".join([summary, *notes]))
    return 1 if problems else 0


def _problems_and_notes(settings: Settings) -> tuple[list[str], list[str]]:
    """Return what stops the mirror, and what soon may."""
    now = utc_now()
    problems = [*_problems(settings), *key_problems(settings, now=now)]
    notes = [note.text for note in key_expiry_notes(settings, now=now)]
    return problems, [*(text for text in notes if text not in problems), *_degradations(settings)]


def _degradations(settings: Settings) -> list[str]:
    """Return notes on a store failover and on a used quota."""
    try:
        mirror = open_mirror(settings, create=False)
        store, quota = failover_status(settings, mirror.ledger), quota_note(mirror)
        mirror.ledger.close()
    except MirrorError:  # _problems reports it
        return []
    failover = [] if store.preferred else [f"the store is {store.endpoint}{_failover(store)}"]
    return [*failover, *([quota] if quota else [])]


def _problems(settings: Settings) -> list[str]:
    try:
        mirror = open_mirror(settings, create=False)
        found = read_health(mirror.ledger, now=mirror.now())
        archive = archive_problem(mirror.ledger, mirror.archive)
        mirror.ledger.close()
    except MirrorError as error:
        return [str(error)]
    problems = [archive] if archive else []
    if found is None:
        return [*problems, "the daemon has never run; start it with `s2mirror run`"]
    if holder_pid(settings.ledger.path) is None:
        problems.append("the daemon does not run")
    return list(dict.fromkeys([*problems, *found.problems]))
