"""``catalog``: maintain the local STAC catalog."""

from s2mirror.cli.context import ConfigOption, JsonOption, VerboseOption
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.output import format_count, print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.errors import UsageError
from s2mirror.service.results import Values
from s2mirror.service.wiring import Mirror


def rebuild(
    config: ConfigOption = None, *, as_json: JsonOption = False, verbose: VerboseOption = False
) -> int:
    """Write the local STAC catalog again.

    Every item is written, and items of products that are not held are removed. The mirror keeps the
    catalog up to date; this command repairs damage by other programs. No file of a product is
    changed.
    """

    def run(mirror: Mirror) -> Values:
        """Rebuild in this process."""
        if mirror.static_catalog is None:
            raise UsageError(
                "the configuration has no local catalog; set local_catalog.enabled to true first"
            )
        with stopped_by_signals() as stop:
            done = mirror.local_catalog_updater().rebuild(stop)
        return {"items": done, "folder": str(mirror.static_catalog.folder)}

    result = run_or_request(config, Request("rebuild", {}), run, verbose=verbose)
    if as_json:
        print_json(result)
    else:
        print_line(f"{format_count(result['items'], 'item')} in {result['folder']}")
    return 0
