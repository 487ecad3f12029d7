"""Rules about FORCE's queue file, by which archived products are handed over."""

from collections.abc import Iterator

from s2mirror.clean_text import format_count
from s2mirror.planning.facts import Facts
from s2mirror.planning.findings import Finding, Severity


def force_queue_works(facts: Facts) -> Iterator[Finding]:
    """Yield why products cannot be handed over to FORCE, and those that it could not process."""
    force = facts.force
    if force.trouble is not None:
        yield Finding(
            code="force_queue.unusable",
            severity=Severity.WARNING,
            text=f"no product is handed over to FORCE: {force.trouble.text}",
            since=force.trouble.since,
        )
    if force.failed:
        yield Finding(
            code="force_queue.failed",
            severity=Severity.WARNING,
            text=f"FORCE failed to process {format_count(force.failed, 'product')}; "
            f"one: {force.failed_id}",
            remedy="see the log in FORCE's DIR_LOG; then write QUEUED instead of FAIL in its queue",
            since=force.failed_since,
        )
    if force.bad_lines:
        yield Finding(
            code="force_queue.bad_lines",
            severity=Severity.NOTICE,
            text=f"FORCE's queue has {format_count(force.bad_lines, 'line')} without a full path "
            f"and status; the first one is line {force.first_bad}",
            remedy="correct or remove them; FORCE and the mirror ignore them",
        )
