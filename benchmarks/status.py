"""Measures the CPU time of ``status`` and ``health`` with a ledger of a million products.

Half of them are held with a preview each, a fifth wait, the others are pruned.
"""

import sys
import time
from contextlib import redirect_stdout
from io import StringIO
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
reserve = "1 MB"
[[process]]
name = "chain"
command = ["true"]
[ledger]
path = "ledger.sqlite"
[[area]]
name = "area"
bbox = [8, 47, 9, 48]
start = 2016-01-01
"""
STATES = (
    "UPDATE product SET state = 'archived', path = id || '.SAFE' WHERE rowid % 2 = 0",
    "UPDATE product SET state = 'discovered' WHERE rowid % 10 = 1",
    "UPDATE product SET state = 'queued' WHERE rowid % 10 = 3",
    """
    INSERT OR REPLACE INTO preview (subject, name, outcome, paths, reason, made_at, units)
    SELECT id, 'quicklook', 'made', '[]', '', changed_at, 0 FROM product WHERE state = 'archived'
    """,
)


def spread(path: Path) -> None:
    """Give the products of a ledger the states of a mirror at work."""
    connection = open_ledger(path).connection
    connection.execute("PRAGMA synchronous = OFF")
    wanted = "SELECT type, name, sql FROM sqlite_master WHERE type = 'trigger'"
    triggers = list(connection.query(wanted))
    for row in triggers:
        connection.execute(f"DROP TRIGGER {row['name']}")
    for sql in (*STATES, reseal("product"), *RECOUNT):
        connection.execute(sql)
    for row in triggers:
        connection.execute(row["sql"])
    connection.execute("ANALYZE")
    connection.close()


def measure(folder: Path) -> None:
    """Print the CPU time of each command beyond its imports."""
    config = folder / "s2mirror.toml"
    config.write_text(CONFIG)
    (folder / "archive").mkdir(exist_ok=True)
    for command in ("health", "status"):
        times = []
        for _ in range(4):  # the first imports the command
            started = time.process_time()
            with redirect_stdout(StringIO()):
                main([command, "--config", str(config)])
            times.append(time.process_time() - started)
        print(f"{command:8} {min(times[1:]):.3f} s of CPU with {SIZE:,} products")


if __name__ == "__main__":
    if len(sys.argv) > 1:  # a folder to keep the ledger in
        kept = Path(sys.argv[1])
        if not (kept / "ledger.sqlite").exists():
            fill(kept / "ledger.sqlite", SIZE)
            spread(kept / "ledger.sqlite")
        measure(kept)
    else:
        with TemporaryDirectory() as made:
            fill(Path(made) / "ledger.sqlite", SIZE)
            spread(Path(made) / "ledger.sqlite")
            measure(Path(made))
