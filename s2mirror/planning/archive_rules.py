"""Rules about what the mirror has: ledger, archive, disk, products, quota and keys."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from s2mirror.clean_text import format_count
from s2mirror.planning.facts import DiskFacts, Facts
from s2mirror.planning.findings import Finding, Severity

_URGENT_DAYS: Final = 7
"""So many days before the last day of the only key pair, somebody should act."""
_RECENT: Final = timedelta(days=7)


def ledger_is_usable(facts: Facts) -> Iterator[Finding]:
    """Yield why the ledger cannot be used."""
    if facts.ledger_problem:
        yield Finding(code="ledger.unusable", severity=Severity.FAILURE, text=facts.ledger_problem)


def archive_is_usable(facts: Facts) -> Iterator[Finding]:
    """Yield why nothing can be stored in the archive."""
    if facts.archive_problem:
        yield Finding(
            code="archive.unavailable", severity=Severity.FAILURE, text=facts.archive_problem
        )
    elif facts.disk and facts.disk.read_only:
        yield Finding(
            code="archive.read_only",
            severity=Severity.FAILURE,
            text="the disk of the archive is mounted read-only",
            remedy="see the kernel's log for errors of the disk, and mount it for writing",
        )
    elif facts.disk and (why := _full(facts.disk)):
        yield Finding(
            code="disk.full",
            severity=Severity.WARNING,
            text=f"{facts.disk.free_bytes / 1e9:.1f} GB are free on the archive's disk, of which "
            f"{facts.disk.reserve_bytes / 1e9:.1f} GB (archive.reserve) are kept; {why}",
            remedy="remove other files, shorten prune.after, or use a larger disk",
        )


def layout_is_followed(facts: Facts) -> Iterator[Finding]:
    """Yield that products are at paths of an earlier layout, which is no fault."""
    if facts.elsewhere:
        yield Finding(
            code="archive.layout",
            severity=Severity.NOTICE,
            text=f"{format_count(facts.elsewhere, 'product')} at paths of another layout than "
            "archive.layout",
            remedy="none is needed; to move them, stop the daemon and run `s2mirror relayout`",
        )


def _full(disk: DiskFacts) -> str:
    """Return why the disk delays downloads; empty if it does not."""
    if disk.free_bytes < disk.reserve_bytes:
        return "no product can be downloaded"
    if not disk.inodes_left:
        return "it has too few inodes (files and folders) for another product"
    return "a waiting product needs more" if disk.too_large else ""


def clock_is_right(facts: Facts) -> Iterator[Finding]:
    """Yield the doubt about the clock."""
    if facts.clock_doubt:
        yield Finding(code="clock.doubt", severity=Severity.WARNING, text=facts.clock_doubt)


def products_are_well(facts: Facts) -> Iterator[Finding]:
    """Yield the products that a person must look at."""
    failed, quarantined, unusable = facts.failed, facts.quarantined, facts.unusable
    if failed.products:
        yield Finding(
            code="products.failed",
            severity=Severity.WARNING,
            text=f"{format_count(failed.products, 'product')} could not be downloaded; "
            f"one: {failed.reason}",
            remedy="`s2mirror list --state failed` names them; then `s2mirror requeue ID`",
            since=failed.since,
        )
    if quarantined.products:
        growing = quarantined.newest_at and facts.now - quarantined.newest_at < _RECENT
        yield Finding(
            code="products.quarantined",
            severity=Severity.WARNING,
            text=f"{format_count(quarantined.products, 'product')} in quarantine"
            f"{', one within 7 days' if growing else ''}; one: {quarantined.reason}",
            remedy="`s2mirror list --state quarantined` names them; then `s2mirror requeue ID`",
            since=quarantined.since,
        )
    if unusable.products:
        yield Finding(
            code="items.unusable",
            severity=Severity.WARNING,
            text=f"{format_count(unusable.products, 'item')} of the STAC catalog cannot be used; "
            f"one: {unusable.reason}",
            remedy="`s2mirror status` names them; report them to CDSE or as a bug",
        )


def areas_are_complete(facts: Facts) -> Iterator[Finding]:
    """Yield each area whose last certificate names missing products, or is incomplete."""
    for area, last in facts.certificates.items():
        if last.missing or not last.complete:
            what = (
                f"{format_count(last.missing, 'product')} missing"
                if last.missing
                else "an incomplete listing"
            )
            yield Finding(
                code="certificate.incomplete",
                severity=Severity.WARNING,
                text=f"the last online audit of {area} found {what}",
                remedy="run `s2mirror sync`, then `s2mirror audit --online` again",
                subject=area,
                since=last.checked_at,
            )


_MANY_PREVIEWS: Final = 3
"""So many failed previews are no longer a matter of single products."""


def previews_succeed(facts: Facts) -> Iterator[Finding]:
    """Yield why previews cannot be made."""
    if facts.previews is not None:
        yield Finding(
            code="previews.failing",
            severity=Severity.WARNING,
            text=f"previews cannot be made: {facts.previews.text}",
            since=facts.previews.since,
        )
    if failed := facts.failed_previews.products:
        yield Finding(
            code="previews.failed",
            severity=Severity.WARNING if failed >= _MANY_PREVIEWS else Severity.NOTICE,
            text=f"{failed} previews of the last week could not be made; the reason of one: "
            f"{facts.failed_previews.reason}",
            remedy="run `s2mirror preview ID` for one of them",
            since=facts.failed_previews.since,
        )


def removals_go_on(facts: Facts) -> Iterator[Finding]:
    """Yield the brake that holds a prune, and the limit of size that a prune could not reach."""
    if facts.brake is not None:
        yield Finding(
            code="prune.braked",
            severity=Severity.WARNING,
            text=f"the brake stopped the prune: {facts.brake.text}",
            remedy="see `s2mirror plan`; to prune nevertheless, run `s2mirror prune --yes`",
            since=facts.brake.since,
        )
    if facts.prune_short is not None:
        yield Finding(
            code="prune.not_enough",
            severity=Severity.WARNING,
            text=facts.prune_short.text,
            remedy="`s2mirror prune --dry-run --kept` shows what keeps each product; have products "
            "processed, unpin some, remove other files, or use a larger disk",
            since=facts.prune_short.since,
        )


def quota_is_left(facts: Facts) -> Iterator[Finding]:
    """Yield that the quota defers products, which is no fault."""
    if facts.quota:
        yield Finding(code="quota.used", severity=Severity.NOTICE, text=facts.quota)


def keys_are_valid(facts: Facts) -> Iterator[Finding]:
    """Yield each key pair that expires soon or has expired."""
    valid = facts.key_pairs - sum(key.days < 0 for key in facts.keys)
    lasting = facts.key_pairs - sum(key.days <= _URGENT_DAYS for key in facts.keys)
    for key in facts.keys:
        if key.days < 0:
            severity = Severity.NOTICE if valid > 0 else Severity.FAILURE
            yield Finding(code="keys.expired", severity=severity, text=key.text)
        else:
            urgent = key.days <= _URGENT_DAYS and lasting <= 0
            severity = Severity.WARNING if urgent else Severity.NOTICE
            yield Finding(code="keys.expire_soon", severity=severity, text=key.text)


RULES: Final = (
    ledger_is_usable,
    archive_is_usable,
    layout_is_followed,
    clock_is_right,
    products_are_well,
    areas_are_complete,
    previews_succeed,
    removals_go_on,
    quota_is_left,
    keys_are_valid,
)
