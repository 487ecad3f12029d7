"""``preview``: make a picture now, of products, of an area, or of any place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import UTC, datetime, time
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import typer

from s2mirror.adapters.ledger import open_ledger
from s2mirror.cli.context import (
    ConfigOption,
    DryRunOption,
    JsonOption,
    complete_area,
    complete_product,
    read_settings,
)
from s2mirror.cli.output import complain, count, print_json, print_table, say
from s2mirror.cli.products import plain_id
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.config.geometry_inputs import geometry_of_bbox, geometry_of_geojson
from s2mirror.errors import UsageError
from s2mirror.geometry import Shape
from s2mirror.preview_model import FORMATS, Outcome, Preview, PreviewSource
from s2mirror.service.logs import set_up_logs
from s2mirror.service.options import secret_texts
from s2mirror.service.preview_order import Estimate, Order, carry_out, estimates, tasks
from s2mirror.service.previews import PreviewStatus, status_now
from s2mirror.service.wiring import Mirror, mirror_on

_OPTIONS: Final = (
    *("source", "evalscript", "width", "height", "metres_per_pixel", "crs", "format"),
    *("max_cloud_cover_percent", "mosaicking_order"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What stands on the command line."""

    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Products.", autocompletion=complete_product),
    ] = None
    config: ConfigOption = None
    area: Annotated[
        list[str] | None,
        typer.Option(
            "--area",
            "-a",
            metavar="NAME",
            help="An area, instead of products.",
            autocompletion=complete_area,
        ),
    ] = None
    bbox: Annotated[
        str | None,
        typer.Option(metavar="W,S,E,N", help="A box in degrees, instead of products."),
    ] = None
    geometry: Annotated[
        Path | None, typer.Option(help="The outline in a GeoJSON file, instead of products.")
    ] = None
    since: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Images from this day or time (UTC) on, of a place."
        ),
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Images up to then. Default: now.")
    ] = None
    collection: Annotated[
        str, typer.Option(help="Of a box or outline: sentinel-2-l2a or sentinel-2-l1c.")
    ] = "sentinel-2-l2a"
    source: Annotated[
        str | None, typer.Option(help=f"{', '.join(list(PreviewSource)[1:])}: see [preview].")
    ] = None
    evalscript: Annotated[
        str | None, typer.Option(help="true-color, false-color, ndvi, scl, or your own script.js.")
    ] = None
    width: Annotated[int | None, typer.Option(metavar="PIXELS", help="Width.")] = None
    height: Annotated[int | None, typer.Option(metavar="PIXELS", help="Height.")] = None
    metres_per_pixel: Annotated[
        float | None, typer.Option(metavar="METRES", help="Instead of width and height.")
    ] = None
    crs: Annotated[str | None, typer.Option(help="EPSG:4326, EPSG:32632, utm …")] = None
    format: Annotated[str | None, typer.Option(help=f"{', '.join(FORMATS)}.")] = None
    max_cloud_cover_percent: Annotated[
        float | None, typer.Option("--max-cloud", metavar="PERCENT", help="No cloudier images.")
    ] = None
    mosaicking_order: Annotated[
        str | None, typer.Option("--order", help="mostRecent, leastRecent or leastCC.")
    ] = None
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="This file, instead of one in the archive."),
    ] = None
    dry_run: DryRunOption = False
    as_json: JsonOption = False

    @property
    def order(self) -> Order:
        """What is to be made. Raises UsageError."""
        given = {name: getattr(self, name) for name in _OPTIONS}
        return Order(
            ids=tuple(dict.fromkeys(plain_id(text) for text in self.ids or ())),
            areas=tuple(dict.fromkeys(self.area or ())),
            outline=self._geometry(),
            since=_moment("--from", self.since, time.min),
            until=_moment("--to", self.until, time.max),
            collection=self._collection(),
            options={name: value for name, value in given.items() if value is not None},
            output=self.output,
        )

    def _geometry(self) -> Shape | None:
        if self.bbox is not None and self.geometry is not None:
            raise UsageError("say of what: --bbox or --geometry, not both")
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


def register(app: typer.Typer) -> None:
    """Add this command to *app*."""
    app.command()(_taking(Words, preview))


def _taking(words: type[Words], command: Callable[[Words], int]) -> Callable[..., int]:
    """Return *command* as Typer wants it: every field of *words* a parameter of its own."""

    def called(**given: Any) -> int:  # noqa: ANN401 - as Typer parsed them
        return command(words(**given))

    hints = get_type_hints(words, include_extras=True)
    parameters = [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            annotation=hints[field.name],
            default=Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(words)
    ]
    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = dict(hints)
    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return called


def preview(words: Words) -> int:
    """Make a preview now: of products, of an area, or of any place.

    Those that are drawn (--source process, and those of places) cost processing units; --dry-run
    says how many. Exit code 1: nothing is on the picture, and it was not kept.
    """
    with stopped_by_signals() as stop, _previewing(words.config) as mirror:
        found = tasks(mirror, words.order)
        planned = estimates(found)
        done = [] if words.dry_run else carry_out(mirror, found, words.output, stop)
        standing = status_now(mirror)
        root = mirror.archive.root
    if words.as_json:
        print_json(_facts(planned, done, standing, root))
    elif words.dry_run:
        _print_plan(planned, standing)
    else:
        _print_done(done, root)
    return 1 if any(each.outcome is not Outcome.MADE for each in done) else 0


@contextmanager
def _previewing(given: Path | None) -> Iterator[Mirror]:
    """Lend the mirror; a daemon may run beside it, and the ledger is made if there is none yet."""
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


def _moment(option: str, text: str | None, at_day: time) -> datetime | None:
    """Return an instant; a plain day stands for its beginning, or its end."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        expected = "a day such as 2026-05-27, or a time such as 2026-05-27T10:20:00Z"
        raise UsageError(f"{option}: expected {expected}; got {text!r}") from error
    is_day = "T" not in text and " " not in text
    moment = datetime.combine(moment, at_day) if is_day else moment
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _facts(
    planned: list[Estimate], done: list[Preview], standing: PreviewStatus, root: Path
) -> dict[str, object]:
    return {
        "planned": planned,
        "estimated_units": sum(each.units for each in planned),
        "made": [asdict(each) | {"paths": _paths(each, root)} for each in done],
        "month": standing.month,
        "spent": standing.spent,
        "allowance": standing.allowance,
    }


def _paths(done: Preview, root: Path) -> list[str]:
    return [str(root / path) for path in done.paths]


def _print_plan(planned: list[Estimate], standing: PreviewStatus) -> None:
    units = sum(each.units for each in planned)
    pictures = count(len(planned), "picture")
    say(f"would draw {pictures} for about {units:.2f} processing units" if planned else
        "would draw nothing: the pictures come with the products")  # fmt: skip
    print_table(
        ("of", "what", ">pixels", "crs", ">units"),
        [(e.subject, e.name, f"{e.width}x{e.height}", e.crs, f"{e.units:.3f}") for e in planned],
    )
    say(
        f"{standing.spent.units:.1f} of {standing.allowance.units:g} units are spent "
        f"in {standing.month}"
    )


def _print_done(done: list[Preview], root: Path) -> None:
    for each in done:
        for path in _paths(each, root):
            say(path)
        if each.outcome is Outcome.EMPTY:
            complain(f"{each.subject}: nothing is on it, so it was not kept; another time perhaps?")
    units = sum(each.units for each in done)
    if units:
        say(f"{units:.2f} processing units")
