"""``preview``: make previews on request, of products, an area or a box."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from s2mirror.adapters.ledger import open_ledger
from s2mirror.clean_text import format_count
from s2mirror.cli.context import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    complete_area,
    complete_product,
    taking,
    time_option,
)
from s2mirror.cli.ledgers import read_settings
from s2mirror.cli.output import print_error, print_json, print_line, print_table
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.config.geometry_inputs import geometry_of_bbox, geometry_of_geojson
from s2mirror.errors import UsageError
from s2mirror.geometry import Shape
from s2mirror.naming import plain_id
from s2mirror.preview_model import FORMATS, Outcome, Preview, PreviewSource
from s2mirror.service.logs import set_up_logs
from s2mirror.service.options import secret_texts
from s2mirror.service.preview_order import Estimate, PreviewOrder, estimates, make_previews, tasks
from s2mirror.service.previews import PreviewStatus, current_preview_status
from s2mirror.service.wiring import Mirror, mirror_on
from s2mirror.times import FIRST, LAST

_OPTIONS: Final = (
    *("source", "evalscript", "width", "height", "metres_per_pixel", "crs", "format"),
    *("max_cloud_cover_percent", "mosaicking_order"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """The arguments of the command line."""

    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Products to preview.", autocompletion=complete_product),
    ] = None
    config: ConfigOption = None
    area: Annotated[
        list[str] | None,
        typer.Option(
            "--area",
            "-a",
            metavar="AREA",
            help="Preview this area.",
            autocompletion=complete_area,
        ),
    ] = None
    bbox: Annotated[
        str | None,
        typer.Option(metavar="W,S,E,N", help="Preview this box, in degrees."),
    ] = None
    geometry: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Preview the geometry in this GeoJSON file.")
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="TIME",
            help="Earliest image, day or time (UTC); for areas, boxes and geometries.",
        ),
    ] = None
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Latest image, day or time (UTC). Default: now."),
    ] = None
    collection: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Collection for a box or geometry: sentinel-2-l2a or sentinel-2-l1c.",
        ),
    ] = "sentinel-2-l2a"
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help=f"Source of a product's preview: {', '.join(list(PreviewSource)[1:])}.",
        ),
    ] = None
    evalscript: Annotated[
        str | None,
        typer.Option(
            metavar="SCRIPT", help="true-color, false-color, ndvi, scl, or a file of your own."
        ),
    ] = None
    width: Annotated[int | None, typer.Option(metavar="PIXELS", help="Width of the preview.")] = (
        None
    )
    height: Annotated[int | None, typer.Option(metavar="PIXELS", help="Height of the preview.")] = (
        None
    )
    metres_per_pixel: Annotated[
        float | None,
        typer.Option(metavar="METRES", help="Pixel size, instead of width and height."),
    ] = None
    crs: Annotated[
        str | None,
        typer.Option(
            metavar="CRS", help="Coordinate system, such as EPSG:4326, EPSG:32632 or utm."
        ),
    ] = None
    format: Annotated[
        str | None, typer.Option(metavar="FORMAT", help=f"File format: {', '.join(FORMATS)}.")
    ] = None
    max_cloud_cover_percent: Annotated[
        float | None,
        typer.Option("--max-cloud", metavar="PERCENT", help="Maximum cloud cover in percent."),
    ] = None
    mosaicking_order: Annotated[
        str | None,
        typer.Option(
            "--order",
            metavar="ORDER",
            help="Image on top: mostRecent, leastRecent or leastCC (least cloud cover).",
        ),
    ] = None
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write, instead of one in the archive."
        ),
    ] = None
    dry_run: DryRunOption = False
    as_json: JsonOption = False

    @property
    def order(self) -> PreviewOrder:
        """The order that the arguments describe. Raises UsageError."""
        given = {name: getattr(self, name) for name in _OPTIONS}
        now = datetime.now(UTC)
        return PreviewOrder(
            ids=tuple(dict.fromkeys(plain_id(text) for text in self.ids or ())),
            areas=tuple(dict.fromkeys(self.area or ())),
            geometry=self._geometry(),
            since=time_option("--from", self.since, FIRST, now=now),
            until=time_option("--to", self.until, LAST, now=now),
            collection=self._collection(),
            options={name: value for name, value in given.items() if value is not None},
            output=self.output,
        )

    def _geometry(self) -> Shape | None:
        if self.bbox is not None and self.geometry is not None:
            raise UsageError("give exactly one of: product IDs, --area, --bbox, --geometry")
        try:
            if self.bbox is not None:
                return geometry_of_bbox(_numbers(self.bbox))
            if self.geometry is not None:
                return geometry_of_geojson(str(self.geometry), Path.cwd())
        except ValueError as error:
            option = "--bbox" if self.bbox is not None else "--geometry"
            raise UsageError(f"{option}: {error}") from error
        return None

    def _collection(self) -> str:
        if self.collection not in (known := ("sentinel-2-l2a", "sentinel-2-l1c")):
            raise UsageError(f"--collection: expected one of {', '.join(known)}")
        return self.collection


def preview(arguments: Arguments) -> int:
    """Make previews of products, an area or a box.

    Previews rendered by CDSE (--source process; areas, boxes and geometries always) cost
    processing units; --dry-run prints how many. Exit code 1: a preview is empty and was not kept.
    """
    with stopped_by_signals() as stop, _previewing(arguments.config) as mirror:
        found = tasks(mirror, arguments.order)
        planned = estimates(found)
        done = [] if arguments.dry_run else make_previews(mirror, found, arguments.output, stop)
        status = current_preview_status(mirror)
        root = mirror.archive.root
    if arguments.as_json:
        print_json(_values(planned, done, status, root))
    elif arguments.dry_run:
        _print_plan(planned, status)
    else:
        _print_done(done, root)
    return 1 if any(each.outcome is not Outcome.MADE for each in done) else 0


@contextmanager
def _previewing(given: Path | None) -> Iterator[Mirror]:
    """Open the mirror; a daemon may run beside it, and the ledger is created if it is missing."""
    settings = read_settings(given)
    set_up_logs(level="warning", form=settings.log.format, secrets=secret_texts(settings))
    mirror = mirror_on(open_ledger(settings.ledger.path), settings)
    try:
        yield mirror
    finally:
        mirror.ledger.close()


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(",", " ").split()]
    except ValueError:
        raise ValueError(f"expected W,S,E,N in degrees; got {text!r}") from None


def _values(
    planned: list[Estimate], done: list[Preview], status: PreviewStatus, root: Path
) -> dict[str, object]:
    return {
        "planned": planned,
        "estimated_units": sum(each.units for each in planned),
        "made": [asdict(each) | {"paths": _paths(each, root)} for each in done],
        "month": status.month,
        "spent": status.spent,
        "allowance": status.allowance,
    }


def _paths(done: Preview, root: Path) -> list[str]:
    return [str(root / path) for path in done.paths]


def _print_plan(planned: list[Estimate], status: PreviewStatus) -> None:
    units = sum(each.units for each in planned)
    previews = format_count(len(planned), "preview")
    print_line(
        f"would render {previews} for about {units:.2f} processing units"
        if planned
        else "would render nothing: the previews are made from the products' own files"
    )
    print_table(
        ("subject", "preview", ">pixels", "crs", ">units"),
        [(e.subject, e.name, f"{e.width}x{e.height}", e.crs, f"{e.units:.3f}") for e in planned],
    )
    print_line(
        f"{status.spent.units:.1f} of {status.allowance.units:g} processing units spent "
        f"in {status.month}"
    )


def _print_done(done: list[Preview], root: Path) -> None:
    for each in done:
        for path in _paths(each, root):
            print_line(path)
        if each.outcome is Outcome.EMPTY:
            print_error(f"the preview of {each.subject} is empty and was not kept; try other dates")
    units = sum(each.units for each in done)
    if units:
        print_line(f"{units:.2f} processing units")


command = taking(Arguments, preview)
