"""``status``: the state of the mirror."""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger.lags import Lag, LagHistogram
from s2mirror.area import check_area_names
from s2mirror.clean_text import format_count
from s2mirror.cli.context import AreaOption, ConfigOption, JsonOption
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import format_size, format_time, print_json, print_line, print_table
from s2mirror.config.units import duration_text
from s2mirror.lifecycle import HELD
from s2mirror.model import PINNED
from s2mirror.planning.bandwidth import Allowance
from s2mirror.planning.findings import Finding
from s2mirror.service.account import QuotaStatus, failover_text
from s2mirror.service.previews import PreviewStatus
from s2mirror.service.report import AreaStatus, Status, status_document
from s2mirror.service.report import status as status_of

MOST_LINES: Final = 20
"""Of more areas or searches, only the worst are printed unless more are asked for."""
TroubleOption = Annotated[
    bool,
    typer.Option(
        "--trouble",
        help="Only failed searches, and areas with failed, missing or waiting products.",
    ),
]


def status(
    config: ConfigOption = None,
    *,
    area: AreaOption = None,
    trouble: TroubleOption = False,
    as_json: JsonOption = False,
) -> int:
    """Show whether the mirror is current, and why not.

    Of more than 20 areas or searches, the text has the worst; --area and --trouble show others.
    Exit code 0: nothing is wrong, though products may wait; 1: a warning or a failure, which the
    first lines name.
    """
    with shared_mirror(config) as mirror:
        check_area_names(area or [], mirror.area_names)
        found = status_of(mirror)
    shown = _selected(found, area or [], trouble=trouble)
    if as_json:
        print_json(status_document(shown))
    else:
        shown = shown if area or trouble else _shortened(shown)
        _print_status(shown)
        _print_hidden(found, shown)
    return 0 if found.judgement.ok else 1


def _verified(found: Status) -> str:
    if found.verified_since is None:
        return "nothing is held yet"
    damaged = f", {format_count(found.damaged_products, 'product')} damaged"
    oldest = f"every byte since {format_time(found.verified_since)} UTC, the oldest verification"
    return oldest + (damaged if found.damaged_products else "")


def _selected(found: Status, areas: Collection[str], *, trouble: bool) -> Status:
    """Return the status with the areas and searches that were asked for."""
    return replace(
        found,
        areas=tuple(
            area
            for area in found.areas
            if (not areas or area.name in areas) and (not trouble or any(_badness(area)))
        ),
        searches=tuple(c for c in found.searches if c.error or not trouble),
    )


def _shortened(found: Status) -> Status:
    """Return the status with the worst areas, searches and findings, if there are many."""
    areas, searches = found.areas, found.searches
    if len(areas) > MOST_LINES:
        areas = tuple(sorted(areas, key=_badness, reverse=True)[:MOST_LINES])
    if len(searches) > MOST_LINES:
        worst = sorted(searches, key=lambda c: (not c.error, format_time(c.listed_at)))
        searches = tuple(worst[:MOST_LINES])
    judged = replace(found.judgement, findings=found.judgement.findings[:MOST_LINES])
    return replace(found, areas=areas, searches=searches, judgement=judged)


def _badness(area: AreaStatus) -> tuple[int, int, int]:
    missing = area.certified.missing if area.certified else 0
    return area.failed, missing, area.waiting


def _print_status(found: Status) -> None:
    held = sum(found.products[state] for state in HELD)
    works = f"process {found.daemon_pid} runs" if found.daemon_pid else "no process runs"
    states = [f"{number} {state}" for state, number in found.products.items() if number]
    print_line(f"mirror    {_summary(found)}; {works}")
    for finding in found.judgement.findings:
        _print_finding(finding)
    print_line(f"products  {', '.join(states) or 'none yet'}")
    partial = f", {found.partial_products} partial by choice" if found.partial_products else ""
    print_line(
        f"archive   {found.archive_root}: {format_count(held, 'product')}, "
        f"{format_size(found.held_bytes)}{partial}"
    )
    print_line(f"verified  {_verified(found)}")
    print_line(f"disk      {format_size(found.free_bytes)} free")
    print_line(
        f"received  {format_size(found.received_24h_bytes)} in 24 h, "
        f"{format_size(found.received_30d_bytes)} in 30 days"
    )
    print_line(f"store     {found.store.endpoint}{failover_text(found.store)}")
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
    _print_lags(found)
    _print_baselines(found)
    print_line("")
    _print_searches(found)
    _print_listed_oddly(found)


def _print_hidden(found: Status, shown: Status) -> None:
    """Print what is not shown, and how to see it."""
    hidden = {
        "area": len(found.areas) - len(shown.areas),
        "finding": len(found.judgement.findings) - len(shown.judgement.findings),
        "listing": len(found.searches) - len(shown.searches),
    }
    parts = [format_count(number, noun) for noun, number in hidden.items() if number]
    if not parts:
        return
    troubled = sum(any(_badness(area)) for area in found.areas)
    print_line("")
    print_line(f"not shown: {', '.join(parts)}; see --area NAME, --trouble or --json")
    print_line(f"{troubled} of {len(found.areas)} areas have failed, missing or waiting products")


def _summary(found: Status) -> str:
    """Return the state of the mirror in a few words."""
    if not found.judgement.ok:
        return f"{found.judgement.severity}, not current"
    if found.current:
        return "current"
    waiting = format_count(found.waiting, "product")
    return f"nothing is wrong; {waiting} waiting" if found.waiting else "not listed yet"


def _print_finding(finding: Finding) -> None:
    since = f", since {format_time(finding.since)} UTC" if finding.since else ""
    print_line(f"{finding.severity:<9} {finding.code}{since}: {finding.text}")
    if finding.remedy:
        print_line(f"          {finding.remedy}")


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
    return f"{limit} by download.timetable{until}"


def _print_areas(found: Status) -> None:
    print_table(
        ("area", ">held", ">waiting", ">pruned", ">failed", "last online audit (UTC)"),
        [(a.name, a.held, a.waiting, a.pruned, a.failed, _certified(a)) for a in found.areas],
    )


def _print_baselines(found: Status) -> None:
    """Name the areas that hold several baselines, whose pixels may convert differently."""
    for area in found.areas:
        for collection, baselines in area.mixed.items():
            counts = ", ".join(f"{name} ({count})" for name, count in sorted(baselines.items()))
            print_line(f"baselines {area.name}, {collection}: {counts}; see raster:offset of items")


def _print_lags(found: Status) -> None:
    """Show the median lags of the areas that have received new images."""
    rows = [
        (a.name, *(_median({lag.lag: lag for lag in a.lags}.get(kind)) for kind in Lag))
        for a in found.areas
        if a.lags
    ]
    if rows:
        print_line("")
        print_table(("median lag", *(lag.replace("_", " ") for lag in Lag)), rows)


def _median(lag: LagHistogram | None) -> str:
    if lag is None:
        return "none yet"
    seconds = lag.median_at_most_seconds
    if seconds is None:
        return f"over {duration_text(timedelta(seconds=lag.upper_bounds_seconds[-1]))}"
    return f"at most {duration_text(timedelta(seconds=seconds))}"


def _certified(area: AreaStatus) -> str:
    """Return the result of the area's last online audit."""
    if not area.configured:
        return "kept until unpinned" if area.name == PINNED else "removed from the configuration"
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


def _print_listed_oddly(found: Status) -> None:
    if found.found_late:
        print_line(f"{format_count(found.found_late, 'product')} found late, by a sweep only")
    for reason, items in found.skipped.items():
        print_line(f"{format_count(items, 'listed item')} skipped: {reason}")
    for item in found.rejected:
        print_line(f"unusable item: {item.id}: {item.reason}")
