"""Findings: what is wrong with a mirror, since when, how bad it is, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    """How bad a finding is. The order of the members is the order of severity."""

    OK = "ok"
    NOTICE = "notice"
    """Worth knowing; the mirror does its job, and no one needs to act now."""
    WARNING = "warning"
    """The mirror does a part of its job only, or will soon fail; someone needs to act."""
    FAILURE = "failure"
    """The mirror does not do its job."""

    @property
    def rank(self) -> int:
        """The place in the order: 0 for ``ok``, 3 for ``failure``."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One fact about the mirror that a person should know."""

    code: str
    """A stable name, such as ``archive.unavailable``; docs/findings.md has the table."""
    severity: Severity
    text: str
    """What is wrong, as a complete clause without a full stop."""
    remedy: str = ""
    """What to do, as an imperative without a full stop; empty if there is nothing to do."""
    subject: str = ""
    """The area, search, processing entry or key that it is about; empty for the whole mirror."""
    since: datetime | None = None
    """When this began; None if that is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Every finding at one time, worst first."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def severity(self) -> Severity:
        """The severity of the worst finding; ``ok`` if there is none."""
        return max((found.severity for found in self.findings), key=rank, default=Severity.OK)

    @property
    def ok(self) -> bool:
        """Whether no finding is a warning or a failure. Every exit code follows this."""
        return rank(self.severity) < rank(Severity.WARNING)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of at least this severity, worst first."""
        return tuple(found for found in self.findings if rank(found.severity) >= rank(severity))


def rank(severity: Severity) -> int:
    """Return the place of a severity in the order, for sorting."""
    return severity.rank


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings without duplicates, worst first, else in the given order."""
    unique = {(found.code, found.subject, found.text): found for found in reversed([*findings])}
    kept = reversed(list(unique.values()))
    return tuple(sorted(kept, key=lambda found: -rank(found.severity)))
