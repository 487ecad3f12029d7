"""``catalog``: maintain the local STAC catalog."""

from s2mirror.clean_text import format_count
from s2mirror.cli.context import ConfigOption, JsonOption, VerboseOption
from s2mirror.cli.handover import Request, run_or_request
from s2mirror.cli.output import print_json, print_line
from s2mirror.cli.signals import stopped_by_signals
from s2mirror.service.local_catalog import rebuild_local_catalog
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
        with stopped_by_signals() as stop:
            return rebuild_local_catalog(mirror, stop)

    result = run_or_request(config, Request("rebuild", {}), run, verbose=verbose)
    if as_json:
        print_json(result)
    else:
        print_line(f"{format_count(result['items'], 'item')} in {result['folder']}")
    return 0
