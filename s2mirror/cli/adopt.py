"""``adopt``: take products that are on disk already into the archive."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from s2mirror.clean_text import format_count
from s2mirror.cli.context import ConfigOption, DryRunOption, JsonOption, VerboseOption, taking
from s2mirror.cli.mirrors import exclusive_mirror, planning_mirror
from s2mirror.cli.output import format_size, on_terminal, print_error, print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import UsageError
from s2mirror.service.adopt_candidates import AdoptRequest, AdoptResult
from s2mirror.service.adopting import adopt
from s2mirror.service.cycle import prepare
from s2mirror.service.local_catalog import finish_local_catalog
from s2mirror.steps.adopt import AdoptOptions, Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """What the command line says."""

    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH", help="Folders, products and zip files to search."),
    ]
    config: ConfigOption = None
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Keep products where they are in the archive.")
    ] = False
    copy: Annotated[bool, typer.Option("--copy", help="Copy products into the archive.")] = False
    link: Annotated[
        bool, typer.Option("--link", help="Make hard links of products in the archive.")
    ] = False
    move: Annotated[
        bool,
        typer.Option(
            "--move", help="Move products: their source is removed once the ledger has them."
        ),
    ] = False
    complete: Annotated[
        bool,
        typer.Option("--complete", help="Queue incomplete products: only the rest is downloaded."),
    ] = False
    processed: Annotated[
        bool | None,
        typer.Option(
            "--processed/--not-processed",
            help="Whether the products are processed. Default: as markers and queue files say.",
            show_default=False,
        ),
    ] = None
    pin: Annotated[
        bool, typer.Option("--pin/--no-pin", help="Pin products that no area wants.")
    ] = True
    offline: Annotated[
        bool,
        typer.Option("--offline", help="Read the products' own metadata, not the STAC catalog."),
    ] = False
    dry_run: DryRunOption = False
    as_json: JsonOption = False
    verbose: VerboseOption = False


def adopt_products(arguments: Arguments) -> int:
    """Take products that are on disk into the archive.

    Every product below each PATH is verified by its own manifest, and enters archive and ledger
    without a download. Products below the archive root stay where they are, others are copied.
    Stop the daemon first. Exit code 1: a product could not be adopted; it is left as it is.
    """
    options = AdoptOptions(
        mode=_mode(arguments),
        complete=arguments.complete,
        processed=arguments.processed,
        pin=arguments.pin,
        dry_run=arguments.dry_run,
    )
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        if arguments.dry_run:
            mirror = stack.enter_context(planning_mirror(arguments.config))
        else:
            mirror = stack.enter_context(
                exclusive_mirror(arguments.config, verbose=arguments.verbose)
            )
            prepare(mirror)
        on_bytes = stack.enter_context(_progress(as_json=arguments.as_json))
        request = AdoptRequest(
            paths=arguments.paths, options=options, offline=arguments.offline, on_bytes=on_bytes
        )
        result = adopt(mirror, request, stop)
        if not arguments.dry_run:
            finish_local_catalog(mirror, stop)
    if arguments.as_json:
        print_json(_values(result, dry_run=arguments.dry_run))
    else:
        _print(result, dry_run=arguments.dry_run)
    return result.exit_code


command = taking(Arguments, adopt_products)


def _mode(arguments: Arguments) -> Mode | None:
    given = {
        Mode.IN_PLACE: arguments.in_place,
        Mode.COPY: arguments.copy,
        Mode.LINK: arguments.link,
        Mode.MOVE: arguments.move,
    }
    modes = [mode for mode, chosen in given.items() if chosen]
    if len(modes) > 1:
        raise UsageError("give one of --in-place, --copy, --link and --move")
    return modes[0] if modes else None


@contextmanager
def _progress(*, as_json: bool) -> Iterator[Callable[[int], None]]:
    """Provide a function that shows verified bytes, on a terminal."""
    if as_json or not on_terminal():
        yield lambda _: None
        return
    from s2mirror.cli.progress import new_bars  # noqa: PLC0415 - only terminals need it

    with new_bars() as bars:
        task = bars.add_task("verifying products", total=None)
        yield lambda size_bytes: bars.advance(task, size_bytes)


def _values(result: AdoptResult, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        "adopted": result.adopted,
        "files": result.files,
        "size_bytes": result.size_bytes,
        "processed": result.processed,
        "pinned": result.pinned,
        "queued": result.queued,
        "held": result.held,
        "refused": [
            {"path": one.path, "reason": one.reason, "foreign": one.foreign}
            for one in result.refused
        ],
        "notes": result.notes,
    }


def _print(result: AdoptResult, *, dry_run: bool) -> None:
    for one in result.refused:
        print_error(f"{one.path}: not adopted: {one.reason}")
    for note in result.notes:
        print_error(note)
    verb = "would be adopted" if dry_run else "adopted"
    for product_id, path in result.adopted.items():
        print_line(f"{verb}  {product_id}  {path}")
    for product_id, reason in result.queued.items():
        print_line(f"{'would be queued' if dry_run else 'queued'}  {product_id}  {reason}")
    products = format_count(len(result.adopted), "product")
    counts = [
        f"{products} {verb} ({result.files} files, {format_size(result.size_bytes)})",
        f"{len(result.queued)} queued for the rest",
        f"{len(result.held)} in the archive already",
        f"{len(result.refused)} not adopted",
    ]
    print_line(", ".join(counts))
    if result.pinned:
        print_line(
            f"{format_count(len(result.pinned), 'product')} pinned, as no area wants them: "
            "`s2mirror unpin` lets the retention rules apply"
        )
    if result.queued and not dry_run:
        print_line("to download the missing files, run `s2mirror sync`")
