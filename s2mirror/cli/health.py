"""``health``: whether the daemon works, for the health check of a container or a monitor."""

from datetime import UTC, datetime

from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import print_json, print_line
from s2mirror.planning.findings import Severity
from s2mirror.service.judgement import judge_file


def health(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Report whether the daemon works.

    Exit code 0: it does; 1: it does not. For the health check of a container or a monitor.
    """
    settings = read_settings(config, late_geometry=True)
    judged = judge_file(settings, now=datetime.now(UTC))
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
