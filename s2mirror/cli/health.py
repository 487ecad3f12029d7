"""``health``: whether the daemon works, for the health check of a container or a monitor."""

from collections.abc import Iterator
from datetime import UTC, datetime

from s2mirror.adapters.archive import Archive
from s2mirror.adapters.ledger import Ledger
from s2mirror.adapters.ledger.state_values import CLOCK_DOUBT
from s2mirror.adapters.lock import holder_pid
from s2mirror.cli.context import ConfigOption, JsonOption
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import format_time, print_json, print_line
from s2mirror.config import Settings
from s2mirror.errors import MirrorError
from s2mirror.service.account import (
    FailoverStatus,
    failover_status,
    key_expiry_notes,
    key_problems,
    quota_note,
)
from s2mirror.service.health import read_health
from s2mirror.service.ledger_file import archive_problem, open_local_ledger


def health(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Report whether the daemon works.

    Exit code 0: it does; 1: it does not. For the health check of a container or a monitor.
    """
    settings = read_settings(config, late_geometry=True)
    problems, notes = _problems_and_notes(settings)
    if as_json:
        print_json({"ok": not problems, "problems": problems, "notes": notes})
    else:
        summary = "healthy" if not problems else "not healthy: " + "; ".join(problems)
        print_line("; ".join([summary, *notes]))
    return 1 if problems else 0


def _problems_and_notes(settings: Settings) -> tuple[list[str], list[str]]:
    """Return what stops the mirror, and what soon may."""
    now = datetime.now(UTC)
    problems = key_problems(settings, now=now)
    notes = [note.text for note in key_expiry_notes(settings, now=now)]
    try:
        ledger = open_local_ledger(settings.ledger.path, create=False)
        problems = [*_problems(settings, ledger, now), *problems]
        notes += _degradations(settings, ledger, now)
        ledger.close()
    except MirrorError as error:
        problems = [str(error), *problems]
    return list(dict.fromkeys(problems)), [text for text in notes if text not in problems]


def _problems(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[str]:
    if problem := archive_problem(ledger, Archive(settings.archive.root)):
        yield problem
    if doubt := ledger.state.get(CLOCK_DOUBT):
        yield doubt
    found = read_health(ledger, now=now)
    if found is None:
        yield "the daemon has never run; start it with `s2mirror run`"
        return
    if holder_pid(settings.ledger.path) is None:
        yield "the daemon does not run"
    yield from found.problems


def _degradations(settings: Settings, ledger: Ledger, now: datetime) -> Iterator[str]:
    """Yield notes on a store failover and on a used quota."""
    store = failover_status(settings, ledger)
    if not store.preferred:
        yield f"the store is {store.endpoint}{failover_text(store)}"
    if note := quota_note(settings, ledger, now=now):
        yield note


def failover_text(store: FailoverStatus) -> str:
    """Return since when and why the preferred endpoint and key pair are not used, else ""."""
    if store.preferred:
        return ""
    return f" with key pair {store.key} since {format_time(store.since)} UTC: {store.why}"
