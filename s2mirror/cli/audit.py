"""``audit``: verify products, ledger and catalog, and repair damaged products."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from s2mirror.adapters.ledger import Mended
from s2mirror.adapters.lock import InstanceLock, holder_pid
from s2mirror.cli.context import AreaOption, ConfigOption, JsonOption
from s2mirror.cli.ledgers import mend_ledger
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import format_count, format_size, on_terminal, print_json, print_line
from s2mirror.cli.progress import new_bars
from s2mirror.lifecycle import HELD
from s2mirror.model import VerifiedFile
from s2mirror.planning.faults import Fault
from s2mirror.service.certificates import certify, faults_of
from s2mirror.service.scrub_facts import release_scrub
from s2mirror.service.scrubbing import HASH_THREADS, opened_repairer
from s2mirror.service.wiring import Mirror
from s2mirror.steps.audit import Auditor, AuditReport
from s2mirror.steps.certify import Certificate, Month
from s2mirror.steps.repair import Repairs


def audit(
    config: ConfigOption = None,
    *,
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Compare with new listings of the STAC catalog and of OData too."
        ),
    ] = False,
    area: AreaOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare sizes only, without reading the bytes.")
    ] = False,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Restore a damaged ledger, and queue damaged products that the store still has; "
            "only bad files are downloaded.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> int:
    """Verify the archive, byte by byte.

    Ledger and disk are always compared as a whole. --online also compares both with the STAC
    catalog and with OData, per month, and queues products that only OData lists; --area does so
    for one area. Exit code 1: a fault was found.
    """
    mended = mend_ledger(config) if repair else Mended(restored=(), forgotten=())
    with shared_mirror(config) as mirror:
        searches = mirror.searches_of(area or [])
        auditor = mirror.auditor(
            ThreadPoolExecutor(HASH_THREADS),
            mirror_runs=lambda: holder_pid(mirror.settings.ledger.path) is not None,
        )
        report = _audited(auditor, mirror, quick=quick, as_json=as_json)
        faults = list(report.faults)
        certificates = certify(mirror, searches) if online or area else ()
        faults += [fault for found in certificates for fault in faults_of(found)]
        repairs = _repair(mirror, faults) if repair and faults else Repairs()
    if as_json:
        values = _values(report, faults, repairs, quick=quick)
        values["ledger_restored"] = [f"{row.key}: {row}" for row in mended.restored]
        values["ledger_forgotten"] = [f"{row.key}: {row}" for row in mended.forgotten]
        print_json(values | {"catalog_listed": bool(certificates), "certificates": certificates})
    else:
        _print_mended(mended)
        _print_certificates(certificates)
        _print_audit(report, faults, repairs)
        if report.products and not faults:
            print_line(_conclusion(quick=quick, online=bool(certificates)))
    return 1 if faults else 0


def _audited(auditor: Auditor, mirror: Mirror, *, quick: bool, as_json: bool) -> AuditReport:
    """Audit, with a progress bar on a terminal."""
    if as_json or not on_terminal():
        return auditor.audit(read_bytes=not quick)
    counts = mirror.ledger.products.counts()
    held_bytes = sum(counts.get(state, (0, 0))[1] for state in HELD)
    with new_bars() as bars:
        task = bars.add_task("reading the archive", total=held_bytes)

        def on_file(file: VerifiedFile) -> None:
            """Advance the progress bar by one file."""
            bars.advance(task, file.size_bytes)

        return auditor.audit(read_bytes=not quick, on_file=on_file)


def _repair(mirror: Mirror, faults: list[Fault]) -> Repairs:
    with InstanceLock(mirror.settings.ledger.path):
        mirror.require_archive()
        with opened_repairer(mirror) as repairer:
            done = repairer.repair(faults)
        release_scrub(mirror.ledger)
        return done


def _values(
    report: AuditReport, faults: list[Fault], repairs: Repairs, *, quick: bool
) -> dict[str, object]:
    return {
        "ok": not faults,
        "products": report.products,
        "files": report.files,
        "size_bytes": report.size_bytes,
        "bytes_read": not quick,
        "faults": faults,
        "foreign": report.foreign,
        "repaired": repairs.repaired,
        "queued_for_repair": repairs.queued,
        "copies_removed": repairs.removed,
        "kept_damaged": repairs.kept,
    }


def _print_certificates(certificates: Sequence[Certificate]) -> None:
    for certificate in certificates:
        checked = f"{certificate.checked_at:%H:%M} UTC"
        for month in certificate.months:
            by_odata = "" if month.by_odata is None else f", {month.by_odata} by OData"
            parts = [
                f"{month.by_stac} by STAC{by_odata}",
                f"{month.held} held",
                *([f"{month.gone} removed on purpose"] if month.gone else []),
                *([f"{len(month.waiting)} waiting"] if month.waiting else []),
                *([f"{len(month.troubled)} failed"] if month.troubled else []),
                f"{len(month.missing)} missing",
            ]
            print_line(f"{certificate.area} {month.month}: {', '.join(parts)}, checked {checked}")
            for product_id, why in (month.waiting | month.troubled).items():
                print_line(f"  {product_id}  {why or 'queued'}")
            for product_id, difference in _differences(month).items():
                print_line(f"  {product_id}  {difference}")
        if certificate.one_catalog:
            print_line(f"{certificate.area}: by one catalog only: {certificate.one_catalog}")


def _differences(month: Month) -> dict[str, str]:
    """Return how the catalogs differ, by product id."""
    return {
        **dict.fromkeys(month.only_odata, "in OData only; it is queued unless it is held"),
        **dict.fromkeys(month.only_stac, "in the STAC catalog only"),
        **dict.fromkeys(month.in_neither, "held, but in neither catalog any more"),
    }


def _print_mended(mended: Mended) -> None:
    for row in mended.restored:
        print_line(f"ledger: {row.key}: {row} was damaged and is restored")
    for row in mended.forgotten:
        print_line(f"ledger: {row.key}: {row} was damaged and is forgotten; run `s2mirror sync`")


def _print_audit(report: AuditReport, faults: list[Fault], repairs: Repairs) -> None:
    for fault in faults:
        print_line(f"FAULT {fault.invariant}: {fault.product}: {fault.detail}")
        print_line(f"  to cure it, run `{fault.remedy}`")
    for entry in report.foreign:
        print_line(f"foreign: {entry.path}: {entry.detail}")
    products, files = format_count(report.products, "product"), format_count(report.files, "file")
    found = format_count(len(faults), "fault") if faults else "no fault"
    if report.products or faults:
        print_line(f"{products}, {files}, {format_size(report.size_bytes)}: {found}")
    else:
        print_line("the archive holds no product: there was nothing to verify")
    for product_id in repairs.repaired:
        print_line(f"repaired in the archive: {product_id}")
    for path in repairs.removed:
        print_line(f"the second copy is in the trash: {path}")
    for product_id, why in repairs.kept.items():
        print_line(f"kept in the archive: {product_id}: {why}")
    if repairs.queued:
        products = format_count(len(repairs.queued), "product")
        print_line(f"{products} queued: run `s2mirror sync` to download the bad files")


def _conclusion(*, quick: bool, online: bool) -> str:
    """Return what an audit without faults has verified."""
    if quick:
        return "all sizes agree; to read every byte, omit --quick"
    if not online:
        return "ledger and disk agree; to compare with the STAC catalog too, add --online"
    return "all five invariants hold"
