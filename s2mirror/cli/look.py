"""``status``, ``list``, ``show``, ``audit``, ``health``: everything that looks."""

from typing import Annotated

import typer
from rich.progress import Progress as Bars

from s2mirror.adapters.lock import InstanceLock, holder_pid
from s2mirror.cli.context import AreaOption, ConfigOption, JsonOption, looking, read_settings
from s2mirror.cli.output import (
    console,
    print_json,
    print_table,
    product_facts,
    say,
    size,
    when,
)
from s2mirror.errors import MirrorError, UsageError
from s2mirror.lifecycle import State
from s2mirror.model import ProvenFile
from s2mirror.service.crew import connection_pool
from s2mirror.service.health import read_health
from s2mirror.service.report import Status
from s2mirror.service.report import status as status_of
from s2mirror.service.wiring import Mirror
from s2mirror.steps.audit import Auditor, AuditReport, Fault
from s2mirror.steps.repair import repair

HASH_THREADS = 4


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    app.command()(status)
    app.command("list")(list_products)
    app.command()(show)
    app.command()(audit)
    app.command()(health)


def status(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Show how the mirror stands. Exit code 0: current; 1: more to come or trouble."""
    with looking(config) as mirror:
        found = status_of(mirror)
    if as_json:
        print_json({"current": found.current, "status": found})
    else:
        _print_status(found)
    return 0 if found.current else 1


def _print_status(found: Status) -> None:
    daemon = f"process {found.daemon_pid}" if found.daemon_pid else "does not run"
    held = sum(found.products[state] for state in (State.ARCHIVED, State.PROCESSED))
    say(f"daemon    {daemon}")
    say(f"ledger    {found.ledger_path}")
    say(
        f"archive   {found.archive_root}: {held} products, {size(found.held_bytes)}; "
        f"{size(found.free_bytes)} free"
    )
    say(
        f"received  {size(found.received_24h_bytes)} in 24 h, "
        f"{size(found.received_30d_bytes)} in 30 days"
    )
    states = [f"{count} {state}" for state, count in found.products.items() if count]
    say(f"products  {', '.join(states) or 'none yet'}")
    print_table(
        "",
        ("area", "held", "waiting", "pruned", "in trouble", ""),
        (
            (a.name, a.held, a.waiting, a.pruned, a.failed, "" if a.configured else "removed")
            for a in found.areas
        ),
    )
    print_table(
        "",
        ("search", "listed (UTC)", "published up to (UTC)", "trouble"),
        ((c.search, when(c.listed_at), when(c.watermark), c.error or "") for c in found.searches),
    )
    for item in found.rejected:
        say(f"not usable: {item.id}: {item.reason}")
    for problem in found.health.problems if found.health and found.daemon_pid else ():
        say(f"trouble: {problem}")


def list_products(
    config: ConfigOption = None,
    *,
    state: Annotated[str, typer.Option(help="Only products in this state.")] = "",
    area: Annotated[str, typer.Option("--area", "-a", help="Only products of this area.")] = "",
    tile: Annotated[str, typer.Option(help="Only products of this MGRS tile: 32TMT.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: JsonOption = False,
) -> int:
    """List products, newest sensing first."""
    if state and state not in list(State):
        raise UsageError(f"no state is called {state!r}; there are {', '.join(State)}")
    with looking(config) as mirror:
        found = mirror.ledger.products.listed(
            state=state, area=area, tile=tile.upper().removeprefix("T"), limit=limit
        )
    if as_json:
        print_json([product_facts(entry) for entry in found])
    else:
        print_table(
            "",
            ("product", "state", "size", "cloud %", "areas", "reason"),
            (
                (
                    entry.product.id,
                    entry.state,
                    size(entry.product.size_bytes),
                    entry.product.cloud_cover_percent,
                    ",".join(entry.areas),
                    entry.reason,
                )
                for entry in found
            ),
        )
    return 0


def show(
    product_id: Annotated[str, typer.Argument(metavar="ID", help="Product name.")],
    config: ConfigOption = None,
    *,
    as_json: JsonOption = False,
) -> int:
    """Show one product with its whole history."""
    with looking(config) as mirror:
        name = product_id.removesuffix(".SAFE")
        entry = mirror.ledger.products.get(name)
        history = mirror.ledger.products.history(name)
    facts = product_facts(entry)
    if as_json:
        print_json(facts | {"history": history})
        return 0
    for key, value in facts.items():
        say(f"{key:20} {value}")
    print_table(
        "",
        ("at (UTC)", "event", "from", "to", "reason"),
        ((when(s.at), s.event, s.from_state, s.to_state, s.reason) for s in history),
    )
    return 0


def audit(
    config: ConfigOption = None,
    *,
    area: AreaOption = None,
    online: Annotated[
        bool, typer.Option("--online", help="List the catalogue too, and compare.")
    ] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sizes, do not read the bytes.")
    ] = False,
    mend: Annotated[
        bool, typer.Option("--repair", help="Queue damaged products; bad files come again.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Check the five invariants over ledger and disk, byte by byte. Exit code 1: a fault."""
    with looking(config) as mirror:
        runs = holder_pid(mirror.settings.ledger.path) is not None
        pool = connection_pool(HASH_THREADS)
        auditor = mirror.auditor(pool, mirror_runs=runs)
        report = _audited(auditor, mirror, quick=quick, as_json=as_json)
        faults = list(report.faults)
        if online:
            faults += auditor.missing(mirror.searches_of(area or []), mirror.catalog())
        mended = _mend(mirror, faults) if mend and faults else []
    if as_json:
        print_json({"report": report, "faults": faults, "queued_for_repair": mended})
    else:
        _print_audit(report, faults, mended)
    return 1 if faults else 0


def _audited(auditor: Auditor, mirror: Mirror, *, quick: bool, as_json: bool) -> AuditReport:
    """Audit with a bar on a terminal."""
    if as_json or not console().is_terminal:
        return auditor.audit(read_bytes=not quick)
    counts = mirror.ledger.products.counts()
    held_bytes = sum(counts.get(s, (0, 0))[1] for s in (State.ARCHIVED, State.PROCESSED))
    with Bars(console=console(), transient=True) as bars:
        task = bars.add_task("reading the archive", total=held_bytes)

        def heard(file: ProvenFile) -> None:
            bars.advance(task, file.size_bytes)

        return auditor.audit(read_bytes=not quick, heard=heard)


def _mend(mirror: Mirror, faults: list[Fault]) -> list[str]:
    with InstanceLock(mirror.settings.ledger.path):
        mirror.require_archive()
        return repair(faults, mirror.ledger, mirror.archive, now=mirror.now())


def _print_audit(report: AuditReport, faults: list[Fault], mended: list[str]) -> None:
    for fault in faults:
        say(f"FAULT {fault.invariant}: {fault.product}: {fault.detail}")
    say(
        f"{report.products} products, {report.files} files, {size(report.size_bytes)}: "
        f"{f'{len(faults)} faults' if faults else 'all five invariants hold'}"
    )
    if mended:
        say(f"{len(mended)} products queued; `s2mirror sync` fetches their bad files again")
    elif any(fault.invariant in {"proven", "ledger"} for fault in faults):
        say("`s2mirror audit --repair` queues the damaged products; only bad files come again")


def health(config: ConfigOption = None, *, as_json: JsonOption = False) -> int:
    """Say whether the daemon does its work: exit code 0 when it does, 1 when not."""
    settings = read_settings(config)
    try:
        with looking(config) as mirror:
            found = read_health(mirror.ledger, now=mirror.now())
    except MirrorError as error:
        say(f"not healthy: {error}")
        return 1
    problems = list(found.problems) if found else ["the daemon has never run"]
    if found and holder_pid(settings.ledger.path) is None:
        problems = ["the daemon does not run", *problems]
    if as_json:
        print_json({"ok": not problems, "problems": problems})
    else:
        say("healthy" if not problems else "not healthy: " + "; ".join(problems))
    return 1 if problems else 0
