"""``plan``, ``sync``, ``prune``: the main job, by hand."""

from typing import Annotated

import typer

from s2mirror.cli.context import (
    AreaOption,
    ConfigOption,
    DryRunOption,
    JsonOption,
    VerboseOption,
    looking,
    planning,
    working,
)
from s2mirror.cli.output import complain, count, print_json, say, size
from s2mirror.cli.progress import progress_for
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.lifecycle import State
from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.retention import PrunePlan
from s2mirror.service.cycle import CycleResult, prepare, run_cycle
from s2mirror.service.sync_plan import SyncPlan, plan_sync
from s2mirror.service.wiring import Mirror

YesOption = Annotated[
    bool, typer.Option("--yes", "-y", help="Go on although the brake (prune.max_…) holds.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command()(plan)
    app.command()(sync)
    app.command()(prune)


def plan(
    config: ConfigOption = None, *, area: AreaOption = None, as_json: JsonOption = False
) -> int:
    """Show what the next sync would do, and why the rest waits."""
    with planning(config) as mirror:
        found = plan_sync(mirror, mirror.searches_of(area or []))
    if as_json:
        print_json(_plan_facts(found))
    else:
        _print_plan(found)
    return 0


def _plan_facts(found: SyncPlan) -> dict[str, object]:
    return {
        "fetch": [entry.product.id for entry in found.downloads.start],
        "fetch_bytes": found.fetch_bytes,
        "deferred": found.downloads.deferred,
        "prune": [gone.entry.product.id for gone in found.prune.removals],
        "prune_bytes": _gone_bytes(found.prune),
        "brake": found.prune.brake,
        "replaced": {each.old.product.id: each.due_at for each in found.replaced},
        "narrower": [entry.product.id for entry in found.narrower],
        "unclaimed": [entry.product.id for entry in found.unclaimed],
    }


def _print_plan(found: SyncPlan) -> None:
    say(f"would fetch {count(found.fetch_count, 'product')}, about {size(found.fetch_bytes)}")
    for entry in found.downloads.start:
        waits = f"  {entry.state}: {entry.reason}" if entry.reason else ""
        say(f"  {entry.product.id}  {size(entry.product.size_bytes)}{waits}")
    if found.downloads.deferred:
        say(f"would leave {count(len(found.downloads.deferred), 'product')} waiting")
        for product_id, why in found.downloads.deferred.items():
            say(f"  {product_id}  {why}")
    _print_prune(found.prune, "would prune")
    if found.replaced:
        old_bytes = sum(expected_bytes(each.old) for each in found.replaced)
        replaced = count(len(found.replaced), "older version")
        say(f"{replaced}, about {size(old_bytes)}, {found.replaced_when}")
        for each in found.replaced:
            say(f"  {each.old.product.id}  by {each.new.product.id}")
    if found.narrower:
        say(
            f"{count(len(found.narrower), 'deferred product')} with fewer files than the areas want"
        )
        for entry in found.narrower:
            say(f"  {entry.product.id}  `s2mirror complete --wider` brings them")
    if found.unclaimed:
        say(
            f"{count(len(found.unclaimed), 'deferred product')} that no configured area wants: kept"
        )
        for entry in found.unclaimed:
            say(f"  {entry.product.id}  `s2mirror prune --unclaimed` takes it")


def _gone_bytes(plan: PrunePlan) -> int:
    return sum(expected_bytes(removal.entry) for removal in plan.removals)


def _print_prune(plan: PrunePlan, verb: str) -> None:
    gone = count(len(plan.removals), "product")
    say(f"{verb} {gone}, about {size(_gone_bytes(plan))}; {len(plan.kept)} stay")
    for removal in plan.removals:
        say(f"  {removal.entry.product.id}  {removal.reason}")
    if plan.brake:
        say(f"the brake holds: {plan.brake}. `s2mirror prune --yes` goes on")


def sync(
    config: ConfigOption = None,
    *,
    area: AreaOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> int:
    """Do one full cycle: poll, fetch, prove, archive, process, prune."""
    if dry_run:
        return plan(config, area=area, as_json=as_json)
    with stopped_by_signals() as stop, working(config, verbose=verbose) as mirror:
        mirror.searches_of(area or [])
        with progress_for(lambda: _unfinished(mirror), as_json=as_json) as progress:
            result = run_cycle(mirror, area or [], progress, stop)
    if as_json:
        print_json(_sync_facts(result))
    else:
        _print_sync(result)
    return result.exit_code


def _unfinished(mirror: Mirror) -> tuple[int, int]:
    counts = mirror.ledger.products.counts()
    found = [counts.get(state, (0, 0)) for state in (State.QUEUED, State.DOWNLOADING)]
    return sum(products for products, _ in found), sum(size_bytes for _, size_bytes in found)


def _sync_facts(result: CycleResult) -> dict[str, object]:
    return {
        "new": result.new_ids,
        "archived": result.archived,
        "failed": result.failed,
        "withdrawn": result.withdrawn,
        "processed": result.processed,
        "pruned": [gone.entry.product.id for gone in result.gone],
        "brake": result.pruned.brake if result.pruned else "",
        "received_bytes": result.received_bytes,
        "remaining": result.remaining,
        "errors": [str(error) for error in result.outside_errors],
        "unusable": {item.id: item.reason for item in result.unusable},
        "exit_code": result.exit_code,
    }


def _print_sync(result: CycleResult) -> None:
    for text in dict.fromkeys(str(error) for error in result.outside_errors):
        complain(text)
    for product_id, why in (result.downloads.deferred if result.downloads else {}).items():
        say(f"waits: {product_id}  {why}")
    say(
        f"{len(result.new_ids)} new, {len(result.archived)} archived "
        f"({size(result.received_bytes)}), {len(result.processed)} processed, "
        f"{len(result.gone)} pruned, {result.remaining} still to come or in trouble"
    )
    if result.outside_errors:
        say("not everything could be asked: there may be more to come")
    if result.pruned and result.pruned.brake:
        say(f"nothing was pruned: {result.pruned.brake}. `s2mirror prune --yes` goes on")
    for item in result.unusable:
        complain(f"the catalog's item {item.id} cannot be used: {item.reason}")
    if result.remaining:
        say("`s2mirror list` says of each product where it stands, and why")


def prune(
    config: ConfigOption = None,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    unclaimed: Annotated[
        bool,
        typer.Option("--unclaimed", help="Prune too what no configured area wants (any more)."),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Move what the areas' rules let go to the trash."""
    if dry_run:
        with looking(config) as mirror:
            done = mirror.pruner().plan(now=mirror.now(), unclaimed=unclaimed)
    else:
        with working(config) as mirror:
            prepare(mirror)
            done = mirror.pruner().prune(now=mirror.now(), confirmed=yes, unclaimed=unclaimed)
    if as_json:
        ids = [gone.entry.product.id for gone in done.removals]
        print_json({"prune": ids, "kept": done.kept, "brake": done.brake, "dry_run": dry_run})
    else:
        _print_prune(done, "would prune" if dry_run or (done.brake and not yes) else "pruned")
    return 1 if done.brake and not yes else 0
