"""``export``: held products as STAC, GeoParquet or CSV."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, TextIO

import typer

from s2mirror.adapters.archive import StaticCatalog
from s2mirror.adapters.ledger import ArchiveQuery
from s2mirror.clean_text import format_count
from s2mirror.cli.context import ConfigOption, JsonOption, complete_area, taking
from s2mirror.cli.mirrors import shared_mirror
from s2mirror.cli.output import print_error, print_json, print_line
from s2mirror.errors import ArchiveError, UsageError
from s2mirror.service.wiring import Mirror
from s2mirror.times import FIRST, LAST, parse_date_or_time

_BASE_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s?#]+")
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


class Hrefs(StrEnum):
    """How the links of an exported catalog lead to the files of the archive."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


@dataclass(frozen=True, slots=True, kw_only=True)
class StacArguments:
    """The arguments of the command line."""

    out: NewFolderOption
    config: ConfigOption = None
    area: OneAreaOption = ""
    first: FromOption = ""
    last: ToOption = ""
    hrefs: Annotated[
        Hrefs,
        typer.Option(help="Links to the files: relative to the items, or absolute paths."),
    ] = Hrefs.RELATIVE
    base_url: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Begin the links to the files with this URL, at which a web server or a bucket "
            "has the archive's folder.",
        ),
    ] = ""
    as_json: JsonOption = False


def stac(arguments: StacArguments) -> int:
    """Write a static STAC catalog.

    Items are grouped by month and tile, and link to the files in the archive.
    """
    out = arguments.out
    with shared_mirror(arguments.config) as mirror:
        query = _query(mirror, arguments.area, arguments.first, arguments.last)
        updater = replace(
            mirror.local_catalog_updater(StaticCatalog(out.absolute())),
            base=_base(arguments, mirror.archive.root),
        )
        done = mirror.exporter().stac(query, updater)
        _note_baselines(mirror, arguments.area)
    _print({out / "catalog.json": done}, as_json=arguments.as_json)
    return 0


def _base(arguments: StacArguments, root: Path) -> str:
    """Return what the links to the files begin with; empty for relative links."""
    if not arguments.base_url:
        return str(root) if arguments.hrefs is Hrefs.ABSOLUTE else ""
    if not _BASE_URL.fullmatch(arguments.base_url):
        raise UsageError(
            f"--base-url {arguments.base_url!r} is not a URL such as https://example.org/archive"
        )
    return arguments.base_url.rstrip("/")


def _note_baselines(mirror: Mirror, area: str) -> None:
    """Name the areas whose products have several baselines: their pixels may convert differently.

    This counts the whole area, not only the exported period.
    """
    for name, collections in mirror.ledger.held_baselines().items():
        for collection, found in collections.items():
            if len(found) > 1 and area in ("", name):
                print_error(
                    f"area {name} holds several baselines of {collection}: "
                    f"{', '.join(sorted(found))}; use raster:scale and raster:offset of each item"
                )


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


stac_command = taking(StacArguments, stac)
