"""``plan``, ``sync``, ``prune``: the main job, once."""

from typing import Annotated

import typer

from s2mirror.cli.context import AreaOption, ConfigOption, DryRunOption, JsonOption, VerboseOption
from s2mirror.cli.mirrors import exclusive_mirror, planning_mirror, shared_mirror
from s2mirror.cli.output import format_count, format_size, print_error, print_json, print_line
from s2mirror.cli.progress import progress_for
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.lifecycle import State
from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.retention import PrunePlan
from s2mirror.service.cycle import prepare, run_cycle
from s2mirror.service.cycle_result import CycleResult
from s2mirror.service.metrics import written_metrics
from s2mirror.service.pruning import asked_time
from s2mirror.service.pruning import prune as prune_archive
from s2mirror.service.sync_plan import SyncPlan, plan_sync
from s2mirror.service.wiring import Mirror

YesOption = Annotated[
    bool,
    typer.Option(
        "--yes",
        "-y",
        help="Prune even if the brake (prune.max_products, prune.max_percent) stops it.",
    ),
]


def plan(
    config: ConfigOption = None, *, area: AreaOption = None, as_json: JsonOption = False
) -> int:
    """Show what the next sync would do, and what is deferred."""
    with planning_mirror(config) as mirror:
        found = plan_sync(mirror, mirror.searches_of(area or []))
    if as_json:
        print_json(_plan_values(found))
    else:
        _print_plan(found)
    return 0


def _plan_values(found: SyncPlan) -> dict[str, object]:
    return {
        "fetch": [entry.product.id for entry in found.downloads.start],
        "fetch_bytes": found.fetch_bytes,
        "deferred": found.downloads.deferred,
        "prune": [gone.entry.product.id for gone in found.prune.removals],
        "prune_bytes": _gone_bytes(found.prune),
        "brake": found.prune.brake,
        "clock_doubt": found.prune.clock_doubt,
        "replaced": {each.old.product.id: each.due_at for each in found.replaced},
        "incomplete": [entry.product.id for entry in found.incomplete],
        "unclaimed": [entry.product.id for entry in found.unclaimed],
    }


def _print_plan(found: SyncPlan) -> None:
    products = format_count(found.fetch_count, "product")
    print_line(f"would download {products}, about {format_size(found.fetch_bytes)}")
    for entry in found.downloads.start:
        waits = f"  {entry.state}: {entry.reason}" if entry.reason else ""
        print_line(f"  {entry.product.id}  {format_size(entry.product.size_bytes)}{waits}")
    if found.downloads.deferred:
        print_line(f"would defer {format_count(len(found.downloads.deferred), 'product')}")
        for product_id, why in found.downloads.deferred.items():
            print_line(f"  {product_id}  {why}")
    _print_prune(found.prune, "would prune")
    if found.replaced:
        old_bytes = sum(expected_bytes(each.old) for each in found.replaced)
        replaced = format_count(len(found.replaced), "older version")
        print_line(f"{replaced}, about {format_size(old_bytes)}, {found.replaced_when}")
        for each in found.replaced:
            print_line(f"  {each.old.product.id}  by {each.new.product.id}")
    if found.incomplete:
        products = format_count(len(found.incomplete), "held product")
        print_line(
            f"{products} with fewer files than the areas select; to download the rest, run "
            "`s2mirror complete --wider`"
        )
        for entry in found.incomplete:
            print_line(f"  {entry.product.id}")
    if found.unclaimed:
        products = format_count(len(found.unclaimed), "held product")
        print_line(
            f"{products} that no configured area selects; to remove them, run "
            "`s2mirror prune --unclaimed`"
        )
        for entry in found.unclaimed:
            print_line(f"  {entry.product.id}")


def _gone_bytes(plan: PrunePlan) -> int:
    return sum(expected_bytes(removal.entry) for removal in plan.removals)


def _print_prune(plan: PrunePlan, verb: str) -> None:
    gone = format_count(len(plan.removals), "product")
    print_line(f"{verb} {gone}, about {format_size(_gone_bytes(plan))}; {len(plan.kept)} kept")
    for removal in plan.removals:
        print_line(f"  {removal.entry.product.id}  {removal.reason}")
    _print_stopped(plan)


def _print_stopped(plan: PrunePlan) -> None:
    """Print what stopped the prune, if anything did."""
    if plan.clock_doubt:
        print_error(plan.clock_doubt)
    elif plan.brake:
        print_line(
            f"the brake stopped the prune: {plan.brake}; to prune nevertheless, "
            "run `s2mirror prune --yes`"
        )


def sync(
    config: ConfigOption = None,
    *,
    area: AreaOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Run one cycle: poll, download, verify, process, prune.

    Exit code 1: products are missing or failed, or nothing was pruned because the clock is in
    doubt; `s2mirror status` shows which.
    """
    if dry_run:
        return plan(config, area=area, as_json=as_json)
    with (
        stopped_by_signals() as stop,
        exclusive_mirror(config, verbose=verbose, around=written_metrics) as mirror,
    ):
        mirror.searches_of(area or [])
        with progress_for(lambda: _unfinished(mirror), as_json=as_json) as progress:
            result = run_cycle(mirror, area or [], progress, stop)
    if as_json:
        print_json(_sync_values(result))
    else:
        _print_sync(result)
    return result.exit_code


def _unfinished(mirror: Mirror) -> tuple[int, int]:
    counts = mirror.ledger.products.counts()
    found = [counts.get(state, (0, 0)) for state in (State.QUEUED, State.DOWNLOADING)]
    return sum(products for products, _ in found), sum(size_bytes for _, size_bytes in found)


def _sync_values(result: CycleResult) -> dict[str, object]:
    return {
        "new": result.new_ids,
        "archived": result.archived,
        "failed": result.failed,
        "withdrawn": result.withdrawn,
        "processed": result.processed,
        "pruned": [gone.entry.product.id for gone in result.gone],
        "brake": result.pruned.brake if result.pruned else "",
        "clock_doubt": result.pruned.clock_doubt if result.pruned else "",
        "received_bytes": result.received_bytes,
        "remaining": result.remaining,
        "errors": [str(error) for error in result.outside_errors],
        "unusable": {item.id: item.reason for item in result.unusable},
        "exit_code": result.exit_code,
    }


def _print_sync(result: CycleResult) -> None:
    for text in dict.fromkeys(str(error) for error in result.outside_errors):
        print_error(text)
    for product_id, why in (result.downloads.deferred if result.downloads else {}).items():
        print_line(f"deferred  {product_id}  {why}")
    print_line(
        f"{len(result.new_ids)} new, {len(result.archived)} archived "
        f"({format_size(result.received_bytes)}), {len(result.processed)} processed, "
        f"{len(result.gone)} pruned, {result.remaining} missing or failed"
    )
    if result.outside_errors:
        print_line("some services could not be reached: more products may be available")
    if result.pruned:
        _print_stopped(result.pruned)
    for item in result.unusable:
        print_error(f"the STAC catalog's item {item.id} cannot be used: {item.reason}")
    if result.remaining:
        print_line("`s2mirror list` shows the state of each product, and the reason")


def prune(
    config: ConfigOption = None,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    unclaimed: Annotated[
        bool,
        typer.Option(
            "--unclaimed", help="Prune also held products that no configured area selects."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Move products released by the retention rules to the trash.

    Exit code 1: the brake stopped the prune, or the clock is in doubt.
    """
    if dry_run:
        with shared_mirror(config) as mirror:
            done = mirror.pruner().plan(asked_time(mirror), unclaimed=unclaimed)
    else:
        with exclusive_mirror(config) as mirror:
            prepare(mirror)
            done = prune_archive(mirror, confirmed=yes, unclaimed=unclaimed)
    stopped = done.clock_doubt or (done.brake and not yes)
    if as_json:
        ids = [gone.entry.product.id for gone in done.removals]
        values = {"kept": done.kept, "brake": done.brake, "clock_doubt": done.clock_doubt}
        print_json({"prune": ids, **values, "dry_run": dry_run})
    else:
        _print_prune(done, "would prune" if dry_run or stopped else "pruned")
    return 1 if stopped else 0
