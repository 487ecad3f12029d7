"""``audit``: whether the mirror keeps what it promises, and mending what it does not."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from s2mirror.adapters.lock import InstanceLock, holder_pid
from s2mirror.cli.context import AreaOption, ConfigOption, JsonOption, looking
from s2mirror.cli.output import count, on_terminal, print_json, say, size
from s2mirror.cli.progress import new_bars
from s2mirror.lifecycle import HELD
from s2mirror.model import VerifiedFile
from s2mirror.service.certificates import certify, faults_of
from s2mirror.service.wiring import Mirror
from s2mirror.steps.audit import Auditor, AuditReport, Fault
from s2mirror.steps.certify import Certificate
from s2mirror.steps.repair import repair

HASH_THREADS = 4


def register(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command()(audit)


def audit(
    config: ConfigOption = None,
    *,
    online: Annotated[
        bool, typer.Option("--online", help="List the catalog too, and compare.")
    ] = False,
    area: AreaOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sizes, do not read the bytes.")
    ] = False,
    mend: Annotated[
        bool, typer.Option("--repair", help="Queue damaged products; bad files come again.")
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Check the five invariants, byte by byte. Exit code 1: a fault.

    Ledger and disk are always looked at as a whole. With --online the catalog is listed anew
    and set beside them, per month; --area does so for one area.
    """
    with looking(config) as mirror:
        searches = mirror.searches_of(area or [])
        auditor = mirror.auditor(
            ThreadPoolExecutor(HASH_THREADS),
            mirror_runs=lambda: holder_pid(mirror.settings.ledger.path) is not None,
        )
        report = _audited(auditor, mirror, quick=quick, as_json=as_json)
        faults = list(report.faults)
        certificates = certify(mirror, searches) if online or area else ()
        faults += [fault for found in certificates for fault in faults_of(found)]
        mended = _mend(mirror, faults) if mend and faults else []
    if as_json:
        facts = _facts(report, faults, mended, quick=quick)
        print_json(facts | {"catalog_listed": bool(certificates), "certificates": certificates})
    else:
        _print_certificates(certificates)
        _print_audit(report, faults, mended)
        if report.products and not faults:
            say(_verdict(quick=quick, online=bool(certificates)))
    return 1 if faults else 0


def _audited(auditor: Auditor, mirror: Mirror, *, quick: bool, as_json: bool) -> AuditReport:
    """Audit with a bar on a terminal."""
    if as_json or not on_terminal():
        return auditor.audit(read_bytes=not quick)
    counts = mirror.ledger.products.counts()
    held_bytes = sum(counts.get(state, (0, 0))[1] for state in HELD)
    with new_bars() as bars:
        task = bars.add_task("reading the archive", total=held_bytes)

        def heard(file: VerifiedFile) -> None:
            bars.advance(task, file.size_bytes)

        return auditor.audit(read_bytes=not quick, heard=heard)


def _mend(mirror: Mirror, faults: list[Fault]) -> list[str]:
    with InstanceLock(mirror.settings.ledger.path):
        mirror.require_archive()
        return repair(faults, mirror.ledger, mirror.archive, now=mirror.now())


def _facts(
    report: AuditReport, faults: list[Fault], mended: list[str], *, quick: bool
) -> dict[str, object]:
    return {
        "ok": not faults,
        "products": report.products,
        "files": report.files,
        "size_bytes": report.size_bytes,
        "bytes_read": not quick,
        "faults": faults,
        "queued_for_repair": mended,
    }


def _print_certificates(certificates: Sequence[Certificate]) -> None:
    for certificate in certificates:
        checked = f"{certificate.checked_at:%H:%M} UTC"
        for month in certificate.months:
            parts = [
                f"{month.published} published",
                f"{month.held} held",
                *([f"{month.gone} gone on purpose"] if month.gone else []),
                *([f"{len(month.waiting)} waiting"] if month.waiting else []),
                *([f"{len(month.troubled)} in trouble"] if month.troubled else []),
                f"{len(month.missing)} missing",
            ]
            say(f"{certificate.area} {month.month}: {', '.join(parts)}, checked {checked}")
            for product_id, why in (month.waiting | month.troubled).items():
                say(f"  {product_id}  {why or 'waits for its turn'}")


def _print_audit(report: AuditReport, faults: list[Fault], mended: list[str]) -> None:
    for fault in faults:
        say(f"FAULT {fault.invariant}: {fault.product}: {fault.detail}")
    products, files = count(report.products, "product"), count(report.files, "file")
    found = count(len(faults), "fault") if faults else "no fault"
    if report.products or faults:
        say(f"{products}, {files}, {size(report.size_bytes)}: {found}")
    else:
        say("nothing is held at present: there was nothing to check")
    if mended:
        say(f"{count(len(mended), 'product')} queued; `s2mirror sync` fetches bad files again")
    elif any(fault.invariant in {"proven", "ledger"} for fault in faults):
        say("`s2mirror audit --repair` queues the damaged products; only bad files come again")
    if any("not in the ledger" in fault.detail for fault in faults):
        say("`s2mirror sync` brings what the catalog has and the ledger does not")


def _verdict(*, quick: bool, online: bool) -> str:
    """Return what was proven by an audit without a fault, and no more."""
    if quick:
        return "all sizes agree; without --quick every byte is read"
    if not online:
        return "ledger and disk keep all invariants; --online asks the catalog too"
    return "all five invariants hold"
