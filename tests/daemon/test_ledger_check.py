"""The daemon reads the whole ledger, unlike the opening of a large one."""

import sqlite3
from pathlib import Path

import pytest
from daemon_kit import at_work, problems
from kit import Kit, wait_until

from s2mirror.adapters.ledger import opening
from s2mirror.service.workers import Intervals


def damage_unread_page(path: Path) -> None:
    """Overwrite a page of the ledger that no job of the daemon reads."""
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE ballast (text TEXT)")
        connection.execute("INSERT INTO ballast VALUES (?)", ("x" * 100,))
        (number,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ballast'"
        ).fetchone()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((number - 1) * page_bytes)
        file.write(bytes(n * 167 % 256 for n in range(page_bytes)))


def test_damage_in_a_large_ledger_makes_health_red(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "CHECKED_BYTES", 0)
    mirror = kit.mirror()
    mirror.ledger.close()
    damage_unread_page(mirror.settings.ledger.path)
    with at_work(mirror, Intervals()):
        wait_until(lambda: "the file is damaged" in str(problems(mirror)), "a problem")
