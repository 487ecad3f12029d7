"""``export``: held products as STAC, GeoParquet or CSV."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from s2mirror.adapters.archive import StaticCatalog
from s2mirror.adapters.ledger import ArchiveQuery
from s2mirror.cli.context import ConfigOption, JsonOption, complete_area
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import format_count, print_error, print_json, print_line
from s2mirror.errors import ArchiveError, UsageError
from s2mirror.service.wiring import Mirror
from s2mirror.times import FIRST, LAST, parse_date_or_time

FolderOption = Annotated[
    Path,
    typer.Option("--out", "-o", metavar="FOLDER", help="Folder to write to. Default: this one."),
]
NewFolderOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="Folder for the catalog only.")
]
FileOption = Annotated[
    Path,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="File to write. Default: stdout.",
        show_default=False,
    ),
]
OneAreaOption = Annotated[
    str,
    typer.Option(
        "--area",
        "-a",
        metavar="AREA",
        help="Only products of this area.",
        autocompletion=complete_area,
    ),
]
FromOption = Annotated[
    str, typer.Option("--from", metavar="DATE", help="First sensing day (UTC), such as 2026-05-01.")
]
ToOption = Annotated[
    str, typer.Option("--to", metavar="DATE", help="Last sensing day (UTC), included.")
]


def stac(
    out: NewFolderOption,
    config: ConfigOption = None,
    *,
    area: OneAreaOption = "",
    first: FromOption = "",
    last: ToOption = "",
    as_json: JsonOption = False,
) -> int:
    """Write a static STAC catalog.

    Items are grouped by month and tile, and link to the files in the archive.
    """
    with shared_mirror(config) as mirror:
        query = _query(mirror, area, first, last)
        done = mirror.exporter().stac(
            query, mirror.local_catalog_updater(StaticCatalog(out.absolute()))
        )
    _print({out / "catalog.json": done}, as_json=as_json)
    return 0


def geoparquet(
    out: FolderOption = Path(),
    config: ConfigOption = None,
    *,
    area: OneAreaOption = "",
    first: FromOption = "",
    last: ToOption = "",
    as_json: JsonOption = False,
) -> int:
    """Write STAC GeoParquet.

    One file per collection. This needs the extra "geoparquet".
    """
    with shared_mirror(config) as mirror:
        query = _query(mirror, area, first, last)
        _print(mirror.exporter().geoparquet(query, out.absolute()), as_json=as_json)
    return 0


def as_csv(
    out: FileOption = Path("-"),
    config: ConfigOption = None,
    *,
    area: OneAreaOption = "",
    first: FromOption = "",
    last: ToOption = "",
) -> int:
    """Write CSV, one line per product.

    Columns: id, location, time, cloud cover, size, state and folder.
    """
    with shared_mirror(config) as mirror, _opened(out) as file:
        mirror.exporter().csv(_query(mirror, area, first, last), file)
    return 0


@contextmanager
def _opened(out: Path) -> Iterator[TextIO]:
    if out == Path("-"):
        yield sys.stdout
        return
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise ArchiveError(
            f"cannot write {out}: {error.strerror}; name another file with --out"
        ) from error


def _query(mirror: Mirror, area: str, first: str, last: str) -> ArchiveQuery:
    if area:
        mirror.searches_of([area])
    try:
        return ArchiveQuery(
            start=parse_date_or_time(first or None, FIRST),
            end=parse_date_or_time(last or None, LAST),
            area=area,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error


def _print(written: dict[Path, int], *, as_json: bool) -> None:
    if as_json:
        files = [{"path": path, "items": items} for path, items in written.items()]
        print_json({"written": files})
        return
    for path, items in written.items():
        print_line(f"{format_count(items, 'item')} in {path}")
    if not written:
        print_error("no held product matches")
