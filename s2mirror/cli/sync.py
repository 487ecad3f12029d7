"""``plan``, ``sync``, ``prune``: the main job, once."""

from typing import Annotated

import typer

from s2mirror.clean_text import format_count
from s2mirror.cli.context import AreaOption, ConfigOption, DryRunOption, JsonOption, VerboseOption
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.mirrors import planning_mirror, shared_mirror
from s2mirror.cli.output import format_size, print_error, print_json, print_line
from s2mirror.cli.progress import progress_for
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import UsageError
from s2mirror.lifecycle import State
from s2mirror.planning.downloads import expected_bytes
from s2mirror.service.alerting import reported_cycle
from s2mirror.service.cycle import prepare, run_cycle
from s2mirror.service.pruning import asked_time, pruner
from s2mirror.service.pruning import prune as prune_archive
from s2mirror.service.results import Values, prune_values, sync_values
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
        "prune_bytes": prune_values(found.prune)["prune_bytes"],
        "removals": prune_values(found.prune)["removals"],
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
    _print_prune(prune_values(found.prune), "would prune")
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


def _print_prune(found: Values, verb: str) -> None:
    gone = format_count(len(found["prune"]), "product")
    size = format_size(found["prune_bytes"])
    print_line(f"{verb} {gone}, about {size}; {found['kept_products']} kept{_kept(found)}")
    for rule, of in found["rules"].items():
        gone = format_count(of["products"], "product")
        print_line(f"  by {rule}: {gone}, about {format_size(of['size_bytes'])}")
    for gone in found["removals"]:
        size = format_size(gone["size_bytes"])
        print_line(f"  {gone['id']}  {size}  {gone['rule']}: {gone['reason']}")
    for product_id, reason in found["kept"].items():
        print_line(f"  kept: {product_id}  {reason}")
    for product_id, reason in found["refused"].items():
        print_error(f"{product_id} was not moved: {reason}")
    for rule, size_bytes in found["missing_bytes"].items():
        print_line(
            f"{rule} asks for {format_size(size_bytes)} more than all products that may go have"
        )
    _print_stopped(found)


def _kept(found: Values) -> str:
    rules = ", ".join(f"{rule}: {count}" for rule, count in found["kept_rules"].items())
    return f" ({rules})" if rules else ""


def _print_stopped(found: Values) -> None:
    """Print what stopped the prune, if anything did."""
    if found["clock_doubt"]:
        print_error(found["clock_doubt"])
    elif found["brake"]:
        print_line(
            f"the brake stopped the prune: {found['brake']}; to prune nevertheless, "
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

    Exit code 1: a warning or a failure, which the last lines name. Products that wait for the quota
    or for their next attempt are none.
    """
    if dry_run:
        return plan(config, area=area, as_json=as_json)

    def run(mirror: Mirror) -> Values:
        """Run the cycle in this process."""
        mirror.searches_of(area or [])
        with (
            stopped_by_signals() as stop,
            progress_for(lambda: unfinished(mirror), as_json=as_json) as progress,
        ):
            return sync_values(run_cycle(mirror, area or [], progress, stop))

    request = Request("sync", {"areas": area or []})
    result = run_or_request(config, request, run, verbose=verbose, around=reported_cycle)
    if as_json:
        print_json(result)
    else:
        _print_sync(result)
    return int(result["exit_code"])


def unfinished(mirror: Mirror) -> tuple[int, int]:
    """Return how many products are queued or downloading, and their bytes."""
    counts = mirror.ledger.products.counts()
    found = [counts.get(state, (0, 0)) for state in (State.QUEUED, State.DOWNLOADING)]
    return sum(products for products, _ in found), sum(size_bytes for _, size_bytes in found)


def _print_sync(result: Values) -> None:
    for text in dict.fromkeys(result["errors"]):
        print_error(text)
    for product_id, why in result["deferred"].items():
        print_line(f"deferred  {product_id}  {why}")
    print_line(
        f"{len(result['new'])} new, {len(result['archived'])} archived "
        f"({format_size(result['received_bytes'])}), {len(result['processed'])} processed, "
        f"{len(result['pruned'])} pruned, {result['remaining']} missing or failed"
    )
    if result["errors"]:
        print_line("some services could not be reached: more products may be available")
    _print_stopped(result)
    for product_id, reason in result["unusable"].items():
        print_error(f"the STAC catalog's item {product_id} cannot be used: {reason}")
    for text in result["findings"]:
        print_line(text)
    if result["remaining"]:
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
    kept: Annotated[
        bool, typer.Option("--kept", help="List kept products too; with --dry-run.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Move products released by the retention rules to the trash.

    Exit code 1: the brake held a removal, or the clock is in doubt.
    """
    if kept and not dry_run:
        raise UsageError("--kept lists what a dry run keeps; run `s2mirror prune --dry-run --kept`")
    if dry_run:
        with shared_mirror(config) as mirror:
            time = asked_time(mirror)
            plan = pruner(mirror).plan(time, unclaimed=unclaimed, list_kept=kept)
            done = prune_values(plan, confirmed=yes, dry_run=True)
    else:

        def run(mirror: Mirror) -> Values:
            """Prune in this process."""
            prepare(mirror)
            plan = prune_archive(mirror, confirmed=yes, unclaimed=unclaimed)
            return prune_values(plan, confirmed=yes)

        done = run_or_request(config, Request("prune", {"yes": yes, "unclaimed": unclaimed}), run)
    if as_json:
        print_json(done)
    else:
        _print_prune(done, "would prune" if dry_run or done["stopped"] else "pruned")
    return 1 if done["stopped"] or (done["brake"] and not yes) else 0
