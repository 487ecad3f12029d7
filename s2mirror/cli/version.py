"""``version``: print the version."""

from s2mirror import __version__
from s2mirror.cli.context import JsonOption
from s2mirror.cli.output import print_json, print_line


def version(*, as_json: JsonOption = False) -> int:
    """Print the version."""
    if as_json:
        print_json({"version": __version__})
    else:
        print_line(f"s2mirror {__version__}")
    return 0
