"""``status`` and ``health``: how the mirror stands."""

from dataclasses import asdict

import typer

from s2mirror.adapters.lock import holder_pid
from s2mirror.cli.context import ConfigOption, JsonOption, looking, read_settings
from s2mirror.cli.output import count, print_json, print_table, say, size, when
from s2mirror.config import Settings
from s2mirror.errors import MirrorError
from s2mirror.lifecycle import HELD
from s2mirror.planning.bandwidth import Allowance
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


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command()(status)
    app.command()(health)


def status(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Show how the mirror stands. Exit code 0: current; 1: more to come, or trouble."""
    with looking(config) as mirror:
        found = status_of(mirror)
    if as_json:
        print_json({"current": found.current, **asdict(found)})
    else:
        _print_status(found)
    return 0 if found.current else 1


def _print_status(found: Status) -> None:
    held = sum(found.products[state] for state in HELD)
    works = f"process {found.daemon_pid} works" if found.daemon_pid else "nobody works now"
    states = [f"{number} {state}" for state, number in found.products.items() if number]
    say(f"mirror    {'current' if found.current else 'not current'}; {works}")
    say(f"products  {', '.join(states) or 'none yet'}")
    partial = f", {found.partial_products} partial by choice" if found.partial_products else ""
    say(
        f"archive   {found.archive_root}: {count(held, 'product')}, "
        f"{size(found.held_bytes)}{partial}"
    )
    say(f"disk      {size(found.free_bytes)} free")
    say(
        f"received  {size(found.received_24h_bytes)} in 24 h, "
        f"{size(found.received_30d_bytes)} in 30 days"
    )
    say(f"store     {found.store.endpoint}{_way(found.store)}")
    say(f"previews  {_previews(found.previews)}")
    say(f"account   {_account(found.quota)}")
    if found.bandwidth.bytes_per_second is not None:
        say(f"speed     {_speed(found.bandwidth)}")
    if found.slow:
        say(f"slow      {found.slow}")
    for hold in found.holds:
        say(f"waiting   {count(hold.products, 'product')}, the first {hold.reason}")
    say(f"ledger    {found.ledger_path}")
    say("")
    _print_areas(found)
    say("")
    _print_searches(found)
    _print_troubles(found)


def _way(store: FailoverStatus) -> str:
    """Return since when and why another way to the store is taken than the preferred one."""
    if store.preferred:
        return ""
    return f" with key pair {store.key} since {when(store.since)} UTC: {store.why}"


def _previews(found: PreviewStatus) -> str:
    """Return how many there are, and what drawn ones have cost, if any were."""
    told = [f"{number} {outcome}" for outcome, number in found.outcomes.items() if number]
    told += [f"of {count(found.due, 'product')} still to come"] if found.due else []
    if found.spent.requests:
        told.append(
            f"{found.spent.units:.1f} of {found.allowance.units:g} processing units spent "
            f"in {found.month}"
        )
    return ", ".join(told) or "none yet"


def _account(quota: QuotaStatus) -> str:
    if quota.limit_bytes is None:
        return f"{size(quota.spent_bytes)} received in 30 days, of any number"
    later = f", more from about {when(quota.more_at)} UTC on" if quota.more_at else ""
    return (
        f"{size(quota.spent_bytes)} of {size(quota.limit_bytes)} in 30 days; "
        f"{size(quota.left_for_backfill_bytes)} left for the backfill, "
        f"{size(quota.left_bytes)} for the newest{later}"
    )


def _speed(allowance: Allowance) -> str:
    until = f" until {when(allowance.until)} UTC" if allowance.until else ""
    rate = allowance.bytes_per_second
    words = f"at most {size(rate)}/s" if rate else "nothing new begins"
    return f"{words} by the timetable{until}"


def _print_areas(found: Status) -> None:
    print_table(
        ("area", ">held", ">waiting", ">pruned", ">in trouble", "certified (UTC)"),
        [(a.name, a.held, a.waiting, a.pruned, a.failed, _certified(a)) for a in found.areas],
    )


def _certified(area: AreaStatus) -> str:
    """Return what the last certificate said, or that the area is no longer configured."""
    if not area.configured:
        return "removed from the configuration"
    if area.certified is None:
        return "never"
    missing = area.certified.missing
    outcome = (
        f"{missing} missing" if missing else "complete" if area.certified.complete else "not yet"
    )
    return f"{when(area.certified.checked_at)} {outcome}"


def _print_searches(found: Status) -> None:
    print_table(
        ("search", "listed (UTC)", "published up to (UTC)", ""),
        [
            (c.search, when(c.listed_at), when(c.watermark), "in trouble" if c.error else "")
            for c in found.searches
        ],
    )


def _print_troubles(found: Status) -> None:
    troubles = [c.error for c in found.searches if c.error]
    if found.health and found.daemon_pid:
        troubles += found.health.problems
    for text in dict.fromkeys(troubles):
        say(f"trouble: {text}")
    for text in found.key_expiry_notes:
        say(f"note: {text}")
    if found.found_late:
        say(f"{count(found.found_late, 'product')} found late, by sweeps alone")
    for item in found.rejected:
        say(f"not usable: {item.id}: {item.reason}")


def health(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Say whether the daemon does its work. Exit code 0: it does; 1: not."""
    settings = read_settings(config)
    problems, notes = _problems_and_notes(settings)
    if as_json:
        print_json({"ok": not problems, "problems": problems, "notes": notes})
    else:
        said = "healthy" if not problems else "not healthy: " + "; ".join(problems)
        say("; ".join([said, *notes]))
    return 1 if problems else 0


def _problems_and_notes(settings: Settings) -> tuple[list[str], list[str]]:
    """Return what keeps the mirror from its work, and what soon may."""
    now = utc_now()
    problems = [*_problems(settings), *key_problems(settings, now=now)]
    notes = [note.text for note in key_expiry_notes(settings, now=now)]
    return problems, [*(text for text in notes if text not in problems), *_standing(settings)]


def _standing(settings: Settings) -> list[str]:
    """Say so if the store is asked by another way than preferred, or the account is full."""
    try:
        mirror = open_mirror(settings, create=False)
        store, quota = failover_status(settings, mirror.ledger), quota_note(mirror)
        mirror.ledger.close()
    except MirrorError:  # told among the problems
        return []
    way = [] if store.preferred else [f"the store is {store.endpoint}{_way(store)}"]
    return [*way, *([quota] if quota else [])]


def _problems(settings: Settings) -> list[str]:
    try:
        mirror = open_mirror(settings, create=False)
        found = read_health(mirror.ledger, now=mirror.now())
        mirror.ledger.close()
    except MirrorError as error:
        return [str(error)]
    if found is None:
        return ["the daemon has never run"]
    runs = holder_pid(settings.ledger.path) is not None
    return [*([] if runs else ["the daemon does not run"]), *found.problems]
