"""The imports of each command: slow libraries are imported only where they are used."""

import json
import subprocess
import sys
from typing import Final

import pytest
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
    "mark processed nothing": CONFIGURATION,
    "requeue nothing": CONFIGURATION,
    "show nothing": CONFIGURATION,
    "status": CONFIGURATION | GEOMETRY | LOGS,
    "forecast": CONFIGURATION | GEOMETRY | LOGS,
    "audit": CONFIGURATION | GEOMETRY | LOGS,
    "export csv": CONFIGURATION | GEOMETRY | LOGS,
    "complete nothing": CONFIGURATION | GEOMETRY | LOGS,
}
SCRIPT: Final = """
import json, sys
from contextlib import redirect_stdout
from s2mirror.cli.main import main
with redirect_stdout(sys.stderr):
    main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)))
"""


def imported_by(kit: Kit, command: str) -> set[str]:
    """Return the modules that a command has imported."""
    config = [] if command.startswith("-") or command == "version" else ["-c", str(kit.config)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *command.split(), *config],
        env=kit.environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("command", MAY_IMPORT)
def test_command_imports_what_it_uses(kit: Kit, command: str) -> None:
    kit.mirror().ledger.close()
    assert imported_by(kit, command) & SLOW <= MAY_IMPORT[command]


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
