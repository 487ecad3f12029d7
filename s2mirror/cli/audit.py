"""``audit``: verify products, ledger and catalog, and repair damaged products."""

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated
from zlib import crc32

import typer

from s2mirror.adapters.ledger import Mended
from s2mirror.adapters.lock import holder_pid
from s2mirror.clean_text import format_count
from s2mirror.cli.context import (
    AreaOption,
    ConfigOption,
    JsonOption,
    complete_product,
    taking,
    time_option,
)
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.ledgers import mend_ledger
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import format_size, on_terminal, print_json, print_line
from s2mirror.cli.progress import new_bars
from s2mirror.errors import UsageError
from s2mirror.lifecycle import HELD
from s2mirror.model import LedgerEntry, VerifiedFile
from s2mirror.naming import plain_id
from s2mirror.planning.faults import Fault, FaultKind
from s2mirror.service.certificates import certify, faults_of
from s2mirror.service.results import Values
from s2mirror.service.scrubbing import HASH_THREADS, opened_repairer, repair_products
from s2mirror.service.wiring import Mirror
from s2mirror.steps.audit import Auditor, AuditReport
from s2mirror.steps.certify import Certificate, Month
from s2mirror.steps.repair import REPAIRABLE, Repairs
from s2mirror.times import FIRST


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of ``audit``."""

    products: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="ID",
            help="Only these products: ids, with or without .SAFE, or paths.",
            autocompletion=complete_product,
        ),
    ] = None
    config: ConfigOption = None
    online: Annotated[
        bool,
        typer.Option(
            "--online", help="Compare with new listings of the STAC catalog and of OData too."
        ),
    ] = False
    area: AreaOption = None
    part: Annotated[
        str,
        typer.Option(
            metavar="K/N", help="Only one of N equal parts of the products, such as 1/30."
        ),
    ] = ""
    since: Annotated[
        str,
        typer.Option(metavar="TIME", help="Only products that were not verified since then (UTC)."),
    ] = ""
    tile: Annotated[str, typer.Option(metavar="TILE", help="Only products of this tile.")] = ""
    quick: Annotated[
        bool, typer.Option("--quick", help="Compare names and sizes only, without the bytes.")
    ] = False
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Restore a damaged ledger, and repair damaged products that the store still has; "
            "only bad files are downloaded.",
        ),
    ] = False
    as_json: JsonOption = False

    def chosen(self) -> Callable[[LedgerEntry], bool] | None:
        """Return which products are checked; None for everything. Raises UsageError."""
        since = time_option("--since", self.since, FIRST, now=datetime.now(UTC))
        number, count = _part(self.part)
        ids, tile = {plain_id(name) for name in self.products or ()}, self.tile.upper()
        if not (ids or tile or since or count > 1):
            return None

        def is_chosen(entry: LedgerEntry) -> bool:
            """Return whether a product is checked."""
            product, at = entry.product, entry.verified_at
            return (
                (not ids or product.id in ids)
                and (not tile or product.tile == tile.removeprefix("T"))
                and (since is None or at is None or at < since)
                and crc32(product.id.encode()) % count == number - 1
            )

        return is_chosen


def _part(text: str) -> tuple[int, int]:
    """Return the number of a part, from 1, and how many there are. Raises UsageError."""
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text or "1/1", re.ASCII)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--part: expected a part such as 1/30; got {text!r}")
    return number, count


def audit(arguments: Arguments) -> int:
    """Verify the archive, byte by byte.

    Ledger and disk are compared as a whole, unless products, --part, --since or --tile choose some
    products. --online also compares both with the STAC catalog and with OData, per month, and
    queues products that only OData lists; --area does so for one area. Exit code 1: a fault was
    found.
    """
    chosen, config = arguments.chosen(), arguments.config
    mended = mend_ledger(config) if arguments.repair else Mended(restored=(), forgotten=())
    with shared_mirror(config) as mirror, ThreadPoolExecutor(HASH_THREADS) as workers:
        searches = mirror.searches_of(arguments.area or [])
        auditor = mirror.auditor(
            workers, mirror_runs=lambda: holder_pid(mirror.settings.ledger.path) is not None
        )
        report = _audited(auditor, mirror, chosen, arguments)
        faults = list(report.faults)
        certificates = certify(mirror, searches) if arguments.online or arguments.area else ()
        faults += [fault for found in certificates for fault in faults_of(found)]
    repairs = _repair(config, faults) if arguments.repair and faults else Repairs()
    if arguments.as_json:
        values = _values(report, faults, repairs, quick=arguments.quick)
        values["ledger_restored"] = [f"{row.key}: {row}" for row in mended.restored]
        values["ledger_forgotten"] = [f"{row.key}: {row}" for row in mended.forgotten]
        print_json(values | {"catalog_listed": bool(certificates), "certificates": certificates})
    else:
        _print_mended(mended)
        _print_certificates(certificates)
        _print_audit(report, faults, repairs)
        if report.products and not faults and chosen is None:
            print_line(_conclusion(quick=arguments.quick, online=bool(certificates)))
    return 1 if faults else 0


command = taking(Arguments, audit)


def _audited(
    auditor: Auditor,
    mirror: Mirror,
    chosen: Callable[[LedgerEntry], bool] | None,
    arguments: Arguments,
) -> AuditReport:
    """Audit, with a progress bar on a terminal."""
    run = partial(auditor.audit, read_bytes=not arguments.quick, chosen=chosen)
    if arguments.as_json or not on_terminal():
        return run()
    counts = mirror.ledger.products.counts()
    held_bytes = sum(counts.get(state, (0, 0))[1] for state in HELD)
    with new_bars() as bars:
        task = bars.add_task("reading the archive", total=None if chosen else held_bytes)

        def on_file(file: VerifiedFile) -> None:
            """Advance the progress bar by one file."""
            bars.advance(task, file.size_bytes)

        return run(on_file=on_file)


def _repair(config: Path | None, faults: Sequence[Fault]) -> Repairs:
    """Repair what has faults; a daemon that has the mirror does it."""
    copies = [fault.product for fault in faults if fault.kind is FaultKind.COPY]
    ids = list(dict.fromkeys(f.product for f in faults if f.kind in REPAIRABLE))
    request = Request("repair", {"ids": ids, "copies": copies})

    def run(mirror: Mirror) -> Values:
        """Repair within this process."""
        with opened_repairer(mirror) as repairer:
            return repair_products(mirror, repairer, ids=ids, copies=copies)

    return Repairs(**run_or_request(config, request, run))


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
