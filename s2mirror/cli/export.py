"""``export``: what is held, or a part of it, as STAC, GeoParquet or CSV."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from s2mirror.adapters.archive import StaticCatalog
from s2mirror.adapters.ledger import ArchiveQuery
from s2mirror.cli.context import ConfigOption, JsonOption, complete_area, looking
from s2mirror.cli.output import complain, count, print_json, say
from s2mirror.errors import ArchiveError, UsageError
from s2mirror.service.wiring import Mirror
from s2mirror.times import FIRST, LAST, parse_date_or_time

FolderOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="Where to write. Default: here.")
]
NewFolderOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FOLDER", help="A folder of its own to write to.")
]
FileOption = Annotated[
    Path, typer.Option("--out", "-o", metavar="FILE", help="Where to write. Default: print it.")
]
OneAreaOption = Annotated[
    str,
    typer.Option(
        "--area", "-a", metavar="NAME", help="Only of this area.", autocompletion=complete_area
    ),
]
FromOption = Annotated[
    str, typer.Option("--from", metavar="DATE", help="First day of sensing, such as 2026-05-01.")
]
ToOption = Annotated[
    str, typer.Option("--to", metavar="DATE", help="Last day of sensing, included.")
]


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    group = typer.Typer(
        help="Write what is held, or a part of it, for other programs.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for command in (stac, geoparquet):
        group.command()(command)
    group.command("csv")(as_csv)
    app.add_typer(group, name="export")


def stac(
    out: NewFolderOption,
    config: ConfigOption = None,
    *,
    area: OneAreaOption = "",
    first: FromOption = "",
    last: ToOption = "",
    as_json: JsonOption = False,
) -> int:
    """Write a static STAC catalog: items by month and tile, with links to the files."""
    with looking(config) as mirror:
        query = _query(mirror, area, first, last)
        done = mirror.exporter().stac(
            query, mirror.local_catalog_updater(StaticCatalog(out.absolute()))
        )
    _tell({out / "catalog.json": done}, as_json=as_json)
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
    """Write one STAC GeoParquet file per collection. Needs the extra "geoparquet"."""
    with looking(config) as mirror:
        query = _query(mirror, area, first, last)
        _tell(mirror.exporter().geoparquet(query, out.absolute()), as_json=as_json)
    return 0


def as_csv(
    out: FileOption = Path("-"),
    config: ConfigOption = None,
    *,
    area: OneAreaOption = "",
    first: FromOption = "",
    last: ToOption = "",
) -> int:
    """Write one line per product: name, place, time, clouds, size, state, folder."""
    with looking(config) as mirror, _opened(out) as file:
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
        raise ArchiveError(f"writing {out}: {error}; choose another place with --out") from error


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


def _tell(written: dict[Path, int], *, as_json: bool) -> None:
    if as_json:
        print_json([{"path": path, "items": items} for path, items in written.items()])
        return
    for path, items in written.items():
        say(f"{count(items, 'item')} in {path}")
    if not written:
        complain("nothing of that is held")
