"""``health``: whether the daemon works, for the health check of a container or a monitor."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import print_json, print_line
from s2mirror.config.units import parse_duration
from s2mirror.errors import UsageError
from s2mirror.planning.findings import Severity
from s2mirror.service.judgement import judge_file

MaxAgeOption = Annotated[
    str | None,
    typer.Option(
        "--max-age",
        metavar="DURATION",
        help='Largest age of the last cycle in which nothing was wrong, such as "2 d". Without a '
        "daemon, two days are allowed by default.",
        show_default=False,
    ),
]


def health(
    config: ConfigOption = None, *, max_age: MaxAgeOption = None, as_json: JsonOption = False
) -> int:
    """Report whether the daemon works.

    Without a daemon, the last cycle of `s2mirror sync` is judged. Exit code 0: nothing is wrong; 1:
    a warning or a failure. For the health check of a container or a monitor.
    """
    allowed = _duration(max_age)
    settings = read_settings(config, late_geometry=True)
    judged = judge_file(settings, now=datetime.now(UTC), max_age=allowed)
    bad = judged.at_least(Severity.WARNING)
    problems = list(dict.fromkeys(found.text for found in bad))
    notes = [found.text for found in judged.findings if found not in bad]
    notes = [text for text in dict.fromkeys(notes) if text not in problems]
    if as_json:
        print_json({"ok": judged.ok, "problems": problems, "notes": notes})
    else:
        summary = "healthy" if judged.ok else "not healthy: " + "; ".join(problems)
        print_line("; ".join([summary, *notes]))
    return 0 if judged.ok else 1


def _duration(text: str | None) -> timedelta | None:
    try:
        return parse_duration(text) if text is not None else None
    except ValueError as error:
        raise UsageError(f'--max-age: {error}; expected a duration such as "2 d"') from error
