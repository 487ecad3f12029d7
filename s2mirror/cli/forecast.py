"""``forecast``: when the backfill ends, and when disk or quota is full."""

from dataclasses import asdict
from datetime import datetime

from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import format_size, format_time, print_json, print_line, print_table
from s2mirror.service.forecast import ForecastReport, forecast_report


def forecast(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Estimate when backfill, quota and disk end."""
    with shared_mirror(config) as mirror:
        found = forecast_report(mirror)
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    return 0


def _print(found: ForecastReport) -> None:
    seen = found.forecast
    print_line(f"backfill  ends {_about(seen.done_at)}")
    quota = f"full {_about(seen.quota_full_at)}" if seen.quota_full_at else "delays nothing"
    print_line(f"quota     {quota}")
    free = format_size(max(0, found.disk_bytes))
    print_line(f"disk      full {_about(seen.disk_full_at)}; {free} free beyond the reserve")
    print_line(
        f"rate      {format_size(round(found.bytes_per_second))}/s; per day "
        f"{format_size(round(found.new_bytes_per_day))} published, "
        f"{format_size(round(found.pruned_bytes_per_day))} pruned"
    )
    print_line("")
    print_table(
        ("area", ">waiting", ">size", "done (UTC)"),
        [(a.name, a.products, format_size(a.size_bytes), _about(a.done_at)) for a in seen.areas],
    )
    print_line("")
    for assumption in found.assumptions:
        print_line(f"assumption: {assumption}")


def _about(at: datetime | None) -> str:
    return f"about {format_time(at)[:16]} UTC" if at else "not within ten years"
