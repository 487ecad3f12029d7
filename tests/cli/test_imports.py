"""The imports of each command: slow libraries are imported only where they are used."""

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Final

from kit import PATIENCE_SECONDS, Kit

SLOW: Final = frozenset(
    {"antimeridian", "apscheduler", "boto3", "botocore", "numpy", "oauthlib", "pandas", "pyarrow"}
    | {"pydantic", "pystac", "pystac_client", "rasterio", "requests", "rich", "shapely"}
    | {"sqlite_utils", "structlog", "urllib3"}
)
GEOMETRY: Final = frozenset({"antimeridian", "numpy", "shapely"})
LOGS: Final = frozenset({"rich", "structlog"})
"""structlog imports rich where it is installed."""
CONFIGURATION: Final = frozenset({"pydantic"})
MAY_IMPORT: Final = {
    "--help": frozenset(),
    "--version": frozenset(),
    "version": frozenset(),
    "health": CONFIGURATION,
    "list": CONFIGURATION,
    "list --json": CONFIGURATION,
    "log": CONFIGURATION,
    "mark processed nothing": CONFIGURATION,
    "requeue nothing": CONFIGURATION,
    "show nothing": CONFIGURATION,
    "pin nothing": CONFIGURATION,
    "unpin --tile 32TMT": CONFIGURATION,
    "status": CONFIGURATION | GEOMETRY | LOGS,
    "forecast": CONFIGURATION | GEOMETRY | LOGS,
    "audit": CONFIGURATION | GEOMETRY | LOGS,
    "export csv": CONFIGURATION | GEOMETRY | LOGS,
    "complete nothing": CONFIGURATION | GEOMETRY | LOGS,
}
"""Modules that may be imported after a command, in the order in which one process runs them."""
SCRIPT: Final = """
import json, sys
from contextlib import redirect_stdout
from s2mirror.cli.main import main
found = []
for arguments in json.loads(sys.argv[1]):
    with redirect_stdout(sys.stderr):
        main(arguments)
    found.append(sorted(sys.modules))
print(json.dumps(found))
"""


def arguments_of(kit: Kit, command: str) -> list[str]:
    config = [] if command.startswith("-") or command == "version" else ["-c", str(kit.config)]
    return [*command.split(), *config]


def imported_by(kit: Kit, commands: Iterable[str]) -> list[set[str]]:
    """Run commands in one process; return the modules that are imported after each."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps([arguments_of(kit, c) for c in commands])],
        env=kit.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return [set(modules) for modules in json.loads(done.stdout)]


def test_command_imports_what_it_uses(kit: Kit) -> None:
    kit.mirror().ledger.close()
    sizes = [len(allowed) for allowed in MAY_IMPORT.values()]
    assert sizes == sorted(sizes), "a command would hide the imports of a later one"
    imported = dict(zip(MAY_IMPORT, imported_by(kit, MAY_IMPORT), strict=True))
    excess = {command: found & SLOW - MAY_IMPORT[command] for command, found in imported.items()}
    assert {command: names for command, names in excess.items() if names} == {}


def test_completion_imports_no_command(kit: Kit) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "s2mirror"],
        env=kit.environment(
            _S2MIRROR_COMPLETE="complete_bash", COMP_WORDS="s2mirror he", COMP_CWORD="1"
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert done.stdout.split() == ["health"]
    assert "s2mirror.cli.main" in imported
    assert imported & SLOW == set()
