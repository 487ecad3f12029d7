"""``forecast``: when the backfill ends, and when disk or quota are full."""

from dataclasses import asdict
from datetime import datetime

import typer

from s2mirror.cli.context import ConfigOption, JsonOption, looking
from s2mirror.cli.output import print_json, print_table, say, size, when
from s2mirror.service.forecast import ForecastReport, forecast_report


def register(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command("forecast")(show_forecast)


def show_forecast(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Tell when the backfill ends, and when disk or quota are full."""
    with looking(config) as mirror:
        found = forecast_report(mirror)
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    return 0


def _print(found: ForecastReport) -> None:
    seen = found.forecast
    say(f"backfill  ends {_about(seen.done_at)}")
    quota = f"full {_about(seen.quota_full_at)}" if seen.quota_full_at else "holds nothing up"
    say(f"quota     {quota}")
    free = size(max(0, found.disk_bytes))
    say(f"disk      full {_about(seen.disk_full_at)}; {free} are free, less the reserve")
    say(
        f"pace      {size(round(found.bytes_per_second))}/s; per day "
        f"{size(round(found.new_bytes_per_day))} are new, "
        f"{size(round(found.pruned_bytes_per_day))} are pruned"
    )
    say("")
    print_table(
        ("area", ">waiting", ">size", "done (UTC)"),
        [(a.name, a.products, size(a.size_bytes), _about(a.done_at)) for a in seen.areas],
    )
    say("")
    for assumption in found.assumptions:
        say(f"assumes: {assumption}")


def _about(at: datetime | None) -> str:
    return f"about {when(at)[:16]} UTC" if at else "not within ten years"
