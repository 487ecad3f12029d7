"""``plan``, ``sync``, ``run``, ``prune``: the main job."""

import os
import signal
import sys
from typing import Annotated

import typer

from s2mirror.adapters.lock import InstanceLock
from s2mirror.adapters.notify import Notifier
from s2mirror.cli.context import (
    AreaOption,
    ConfigOption,
    DryRunOption,
    JsonOption,
    VerboseOption,
    looking,
    planning,
    read_settings,
    working,
)
from s2mirror.cli.output import print_json, say, size
from s2mirror.cli.progress import SilentProgress, progress_for
from s2mirror.config import Settings
from s2mirror.errors import ConfigError
from s2mirror.planning.downloads import expected_bytes
from s2mirror.planning.retention import PrunePlan
from s2mirror.service.cycle import CycleResult, prepare, run_cycle
from s2mirror.service.daemon import Daemon, Ending
from s2mirror.service.logs import log, set_up_logs
from s2mirror.service.survey import Survey, survey
from s2mirror.service.wiring import open_mirror, secret_texts
from s2mirror.stop import StopFlag

YesOption = Annotated[
    bool, typer.Option("--yes", help="Go on although the brake (prune.max_…) holds.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command()(plan)
    app.command()(sync)
    app.command()(run)
    app.command()(prune)


def plan(
    config: ConfigOption = None, *, area: AreaOption = None, as_json: JsonOption = False
) -> int:
    """Show what the next sync would fetch and prune, how much, and why the rest waits."""
    with planning(config) as mirror:
        found = survey(mirror, mirror.searches_of(area or []))
    if as_json:
        print_json(_plan_facts(found))
    else:
        _print_plan(found)
    return 0


def _plan_facts(found: Survey) -> dict[str, object]:
    return {
        "fetch": [entry.product.id for entry in (*found.queued, *found.downloads.start)],
        "fetch_bytes": found.fetch_bytes,
        "held": found.downloads.held,
        "prune": [entry.product.id for entry in found.prune.prune],
        "prune_bytes": sum(expected_bytes(entry) for entry in found.prune.prune),
        "brake": found.prune.brake,
    }


def _print_plan(found: Survey) -> None:
    say(f"would fetch {found.fetch_count} products, about {size(found.fetch_bytes)}")
    for entry in (*found.queued, *found.downloads.start):
        waits = f"  {entry.state}: {entry.reason}" if entry.reason else ""
        say(f"  {entry.product.id}  {size(entry.product.size_bytes)}{waits}")
    if found.downloads.held:
        say(f"would leave {len(found.downloads.held)} products waiting")
        for product_id, why in found.downloads.held.items():
            say(f"  {product_id}  {why}")
    _print_prune(found.prune, "would prune")


def _print_prune(plan: PrunePlan, verb: str) -> None:
    gone_bytes = sum(expected_bytes(entry) for entry in plan.prune)
    say(f"{verb} {len(plan.prune)} products, about {size(gone_bytes)}; {len(plan.kept)} stay")
    for entry in plan.prune:
        say(f"  {entry.product.id}")
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
    stop = StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with working(config, verbose=verbose) as mirror:
        mirror.searches_of(area or [])
        with progress_for(as_json=as_json) as progress:
            result = run_cycle(mirror, area or [], progress, stop)
    if as_json:
        print_json(_sync_facts(result))
    else:
        _print_sync(result)
    return result.exit_code


def _sync_facts(result: CycleResult) -> dict[str, object]:
    return {
        "new": result.new_ids,
        "archived": result.archived,
        "failed": result.failed,
        "processed": result.processed,
        "pruned": [entry.product.id for entry in result.gone],
        "brake": result.pruned.brake if result.pruned else "",
        "received_bytes": result.received_bytes,
        "remaining": result.remaining,
        "errors": [str(error) for error in result.poll_errors],
        "exit_code": result.exit_code,
    }


def _print_sync(result: CycleResult) -> None:
    for error in result.poll_errors:
        say(f"trouble: {error}")
    for product_id, why in (result.downloads.held if result.downloads else {}).items():
        say(f"waits: {product_id}  {why}")
    say(
        f"{len(result.new_ids)} new, {len(result.archived)} archived "
        f"({size(result.received_bytes)}), {len(result.processed)} processed, "
        f"{len(result.gone)} pruned, {result.remaining} still to come or in trouble"
    )
    if result.pruned and result.pruned.brake:
        say(f"nothing was pruned: {result.pruned.brake}. `s2mirror prune --yes` goes on")
    if result.remaining:
        say("`s2mirror list --state failed` and `s2mirror status` say why")


def run(config: ConfigOption = None) -> int:
    """Run the daemon until SIGTERM or SIGINT; SIGHUP reads the configuration again."""
    settings = read_settings(config)
    notifier = Notifier()
    ending = Ending.RELOAD
    with InstanceLock(settings.ledger.path):
        while ending is Ending.RELOAD:
            set_up_logs(
                level=settings.log.level, form=settings.log.format, secrets=secret_texts(settings)
            )
            ending, settings = _run_once(config, settings, notifier)
    _leave()
    return 0


def _run_once(
    config: ConfigOption, settings: Settings, notifier: Notifier
) -> tuple[Ending, Settings]:
    """Run the daemon with one configuration; return why it ended, and what comes next."""
    following = [settings]
    daemon = Daemon(open_mirror(settings, create=True), SilentProgress(), notifier)

    def reload(*_: object) -> None:
        try:
            following[0] = read_settings(config)
        except ConfigError as error:
            log.error("config.refused", faults=list(error.faults), kept="the old configuration")
            return
        notifier.reloading()
        daemon.end(Ending.RELOAD)

    signal.signal(signal.SIGHUP, reload)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: daemon.end(Ending.STOP))
    ending = daemon.run()
    if ending is Ending.STOP:
        notifier.stopping()
    return ending, following[0]


def _leave() -> None:
    """End the process now. A thread may hang on a silent socket; nothing on disk needs it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def prune(
    config: ConfigOption = None,
    *,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> int:
    """Move what the areas' rules let go to the trash, and empty the trash of what is due."""
    if dry_run:
        with looking(config) as mirror:
            done = mirror.pruner().plan(now=mirror.now())
    else:
        with working(config) as mirror:
            prepare(mirror)
            done = mirror.pruner().prune(now=mirror.now(), confirmed=yes)
    if as_json:
        ids = [entry.product.id for entry in done.prune]
        print_json({"prune": ids, "kept": done.kept, "brake": done.brake, "dry_run": dry_run})
    else:
        _print_prune(done, "would prune" if dry_run or (done.brake and not yes) else "pruned")
    return 1 if done.brake and not yes else 0
