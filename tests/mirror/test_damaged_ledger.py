"""One flipped bit in any column of the ledger: commands work or name it, and lose no file."""

import shutil
from pathlib import Path
from random import Random

import pytest
from damages import flip_ledger_bit, ledger_columns
from kit import Kit, tiny
from test_random_damage import digests_below

from s2mirror.errors import MirrorError
from s2mirror.sandbox import Sandbox
from s2mirror.service.previews import make_all_due
from s2mirror.stop import StopFlag

pytestmark = pytest.mark.long
COMMANDS = ("status", "list", "show", "prune", "audit", "repair", "status", "list")
SECTIONS = {"prune": 'after = "0 s"', "preview": 'source = "quicklook"'}
KNOWN = [tiny(day) for day in (20, 22, 24)]
NEW = tiny(26)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, running_sandbox: Sandbox) -> Kit:
    """Return a mirror with products that are pruned, processed and archived."""
    running_sandbox.clear()
    kit = Kit(tmp_path_factory.mktemp("whole"), running_sandbox, sections=SECTIONS)
    kit.sandbox.publish(KNOWN)
    kit.cycle()
    make_all_due(kit.mirror(), StopFlag())
    kit.call("mark", "processed", KNOWN[0].id)
    kit.cycle()
    kit.call("mark", "processed", KNOWN[1].id)
    return kit


@pytest.mark.parametrize(
    "table",
    [
        *("product", "membership", "history", "cursor", "sweep", "coverage", "rejected"),
        *("file_list", "selection", "transfer", "deletion", "removal", "state_value", "item"),
        *(
            "change",
            "change_subscription",
            "preview",
            "preview_due",
            "preview_spending",
            "tally",
            "event",
        ),
        *("process_state", "process_queue", "process_run", "moved_source", "move", "trashed"),
        *("damage", "scrub", "verification", "feed_line", "feed_product"),
        *("lag", "lag_due", "satellite_pass", "baseline_tally", "counter", "request", "in_flight"),
    ],
)
def test_flipped_bit_ends_no_command_unexpectedly(
    whole: Kit, sandbox: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str
) -> None:
    sandbox.publish([*KNOWN, NEW])
    intact = digests_below(whole.folder)
    for number, column in enumerate(c for t, c in ledger_columns(whole.folder) if t == table):
        folder = tmp_path / column
        shutil.copytree(whole.folder, folder)
        kit = Kit(folder, sandbox, sections=SECTIONS)
        damage = flip_ledger_bit(folder, Random(number), table, column)  # noqa: S311 - a seed
        for command in (*COMMANDS, "cycle") if damage else ():
            assert run(kit, command) != 70, (damage, command, capsys.readouterr())
            assert intact <= digests_below(folder), (damage, command)


def test_every_table_is_covered(whole: Kit) -> None:
    (mark,) = test_flipped_bit_ends_no_command_unexpectedly.pytestmark  # type: ignore[attr-defined]
    assert {table for table, _ in ledger_columns(whole.folder)} == set(mark.args[1])


def run(kit: Kit, command: str) -> int:
    """Run a command within this process, and return its exit code."""
    if command == "cycle":
        try:
            return kit.cycle().exit_code
        except MirrorError as error:
            return error.exit_code
    options = {"show": [KNOWN[2].id], "repair": ["--repair"]}.get(command, [])
    return kit.call("audit" if command == "repair" else command, *options)
