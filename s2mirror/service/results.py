"""The results of commands as values: what ``--json`` prints, and what the daemon answers."""

from collections.abc import Mapping
from typing import Any

from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.findings import Severity
from s2mirror.planning.retention import PrunePlan, Removal
from s2mirror.service.cycle_result import CycleResult

Values = Mapping[str, Any]
"""Text, numbers, lists and mappings only."""


def sync_values(result: CycleResult) -> Values:
    """Return the result of a sync as values."""
    return {
        "new": result.new_ids,
        "archived": result.archived,
        "failed": result.failed,
        "withdrawn": result.withdrawn,
        "deferred": dict(result.downloads.deferred) if result.downloads else {},
        "processed": result.processed,
        "pruned": [gone.entry.product.id for gone in result.gone],
        "brake": result.pruned.brake if result.pruned else "",
        "clock_doubt": result.pruned.clock_doubt if result.pruned else "",
        "received_bytes": result.received_bytes,
        "remaining": result.remaining,
        "errors": [str(error) for error in result.outside_errors],
        "skipped": dict(result.skipped),
        "unusable": {item.id: item.reason for item in result.unusable},
        "findings": [
            f"{found.severity}: {found.text}"
            for found in (result.judgement.at_least(Severity.WARNING) if result.judgement else ())
        ],
        "exit_code": result.exit_code,
    }


def prune_values(plan: PrunePlan, *, confirmed: bool = False, dry_run: bool = False) -> Values:
    """Return the result of a prune as values; *confirmed*: the brake could not stop it."""
    return {
        "prune": [gone.entry.product.id for gone in plan.removals],
        "prune_bytes": sum(expected_bytes(gone.entry) for gone in plan.removals),
        "removals": [_removal_values(gone) for gone in plan.removals],
        "reasons": {gone.entry.product.id: gone.reason for gone in plan.removals},
        "rules": {
            rule: {"products": count, "size_bytes": size_bytes}
            for rule, (count, size_bytes) in plan.by_rule.items()
        },
        "kept_products": plan.kept_count,
        "kept_rules": dict(plan.kept_by_rule),
        "kept": dict(plan.kept),
        "refused": dict(plan.refused),
        "missing_bytes": dict(plan.missing_bytes),
        "brake": plan.brake,
        "clock_doubt": plan.clock_doubt,
        "unconfirmed": plan.unconfirmed,
        "stopped": plan.stopped and not (confirmed and not plan.clock_doubt),
        "dry_run": dry_run,
    }


def _removal_values(gone: Removal) -> Values:
    return {
        "id": gone.entry.product.id,
        "rule": gone.rule,
        "reason": gone.reason,
        "size_bytes": expected_bytes(gone.entry),
    }
