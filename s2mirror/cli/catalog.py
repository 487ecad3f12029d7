"""``catalog``: the local STAC catalog, by hand."""

import typer

from s2mirror.cli.context import ConfigOption, JsonOption, VerboseOption, working
from s2mirror.cli.output import count, print_json, say
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add these commands to *app*."""
    group = typer.Typer(
        help="The local STAC catalog of what the archive holds.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.callback()(_only_with_a_command)
    group.command()(rebuild)
    app.add_typer(group, name="catalog")


def _only_with_a_command() -> None:
    """The local STAC catalog of what the archive holds."""  # noqa: D401 - the help of a group


def rebuild(
    config: ConfigOption = None, *, as_json: JsonOption = False, verbose: VerboseOption = False
) -> int:
    """Write every item of the local catalog anew, and remove those of what is not held.

    It is kept current by itself; this mends what somebody else has done to it. No file of a product
    is touched.
    """
    with working(config, verbose=verbose) as mirror:
        if mirror.static_catalog is None:
            raise UsageError("local_catalog.enabled is false; set it to true first")
        with stopped_by_signals() as stop:
            done = mirror.local_catalog_updater().rebuild(stop)
        folder = mirror.static_catalog.folder
    if as_json:
        print_json({"items": done, "folder": folder})
    else:
        say(f"{count(done, 'item')} in {folder}")
    return 0
