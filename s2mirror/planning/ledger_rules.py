"""Rules about the safety of the ledger: its backups and its checks."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from s2mirror.planning.facts import Facts
from s2mirror.planning.findings import Finding, Severity

BACKUP_TOO_OLD: Final = timedelta(days=3)


def ledger_is_backed_up(facts: Facts) -> Iterator[Finding]:
    """Yield that a daemon should have made a backup of the ledger, and has not for days."""
    backups = facts.backups
    if not backups.wanted or facts.daemon is None:
        return
    since = max(filter(None, (backups.made_at, facts.daemon.began_at)))
    if facts.now - since > BACKUP_TOO_OLD:
        last = f"the last is of {backups.made_at:%Y-%m-%d}" if backups.made_at else "there is none"
        yield Finding(
            code="ledger.backup_old",
            severity=Severity.WARNING,
            text=f"no backup of the ledger was made for more than 3 days: {last}",
            remedy="run `s2mirror ledger backup`, which says why it fails",
            since=since,
        )


def ledger_is_undamaged(facts: Facts) -> Iterator[Finding]:
    """Yield the damage that the last check of the whole ledger found."""
    if facts.backups.damage:
        yield Finding(
            code="ledger.damaged",
            severity=Severity.FAILURE,
            text=facts.backups.damage,
            remedy="stop the daemon and do what the text says; then run `s2mirror ledger check`",
            since=facts.backups.damaged_since,
        )


RULES: Final = (ledger_is_backed_up, ledger_is_undamaged)
