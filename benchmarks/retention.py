"""Measures the CPU time and memory of a prune's plan with a million held products.

Nine tenths of them are processed, over the last 90 days; 50 are due. Run it by
``make bench ARGS=retention``; a folder as argument keeps the ledger.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from discovery import fill

from s2mirror.adapters.ledger import open_ledger
from s2mirror.adapters.ledger.row_checksums import reseal
from s2mirror.adapters.ledger.tally import RECOUNT
from s2mirror.cli.main import main

SIZE = 1_000_000
CONFIG = """
[archive]
root = "archive"
[ledger]
path = "ledger.sqlite"
[prune]
{prune}
[[area]]
name = "area"
bbox = [8, 47, 9, 48]
start = 2016-01-01
"""
RULES = {
    "no rule": "",
    "after": 'after = "90 d"',
    "after, newest 1000": 'after = "90 d"\nkeep_newest = 1000',
}
STATES = (
    """
    UPDATE product SET
      state = iif(rowid % 10 = 0, 'archived', 'processed'),
      path = id || '.SAFE',
      size_bytes = 1000000000,
      tile = printf('32%c%c%c', 65 + rowid % 20, 65 + rowid / 20 % 5, 65 + rowid / 100 % 5),
      changed_at = strftime('%Y-%m-%dT%H:%M:%S', unixepoch() - 90 * 86400
                            + (rowid - 50) * 90.0 * 86400 / 1000000, 'unixepoch')
                   || '.000000+00:00'
    """,
    "UPDATE product SET state = 'processed' WHERE rowid < 100",
)


def hold_all(path: Path) -> None:
    """Give the products of a ledger the states of an archive whose prune is up to date."""
    connection = open_ledger(path).connection
    connection.execute("PRAGMA synchronous = OFF")
    wanted = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index')"
    dropped = [row for row in connection.query(wanted) if row["sql"]]
    for row in dropped:
        connection.execute(f"DROP {row['type']} {row['name']}")
    for sql in (*STATES, reseal("product"), *RECOUNT):
        connection.execute(sql)
    for row in dropped:
        connection.execute(row["sql"])
    # Daily work runs without these statistics, which would choose other indexes.
    connection.execute("DROP TABLE IF EXISTS sqlite_stat1")
    connection.close()


def measure(folder: Path) -> None:
    """Print the cost of each rule, in a process of its own."""
    (folder / "archive/.s2mirror").mkdir(parents=True, exist_ok=True)
    for name in RULES:
        subprocess.run([sys.executable, __file__, str(folder), name], check=True)


def measure_one(folder: Path, name: str) -> None:
    """Print the CPU time beyond the start, and the peak memory, of one dry run."""
    config = folder / "s2mirror.toml"
    config.write_text(CONFIG.format(prune=RULES[name]))
    main(["version"])
    started = time.process_time()
    main(["prune", "--dry-run", "--config", str(config)])
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(f"{name}: {seconds:.2f} s of CPU, {peak:.0f} MB with {SIZE:,} products", file=sys.stderr)


def folders() -> Iterator[Path]:
    """Yield the folder of the ledger, which is made if need be."""
    if len(sys.argv) > 1:
        yield Path(sys.argv[1])
    else:
        with TemporaryDirectory() as made:
            yield Path(made)


if __name__ == "__main__":
    if len(sys.argv) > 2:  # noqa: PLR2004 - a folder, and the name of a rule
        measure_one(Path(sys.argv[1]), sys.argv[2])
    else:
        for each in folders():
            each.mkdir(exist_ok=True, parents=True)
            if not (each / "ledger.sqlite").exists():
                fill(each / "ledger.sqlite", SIZE)
                hold_all(each / "ledger.sqlite")
            measure(each)
