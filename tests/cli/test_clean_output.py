"""Text from services and disks is printed cleaned for people, and exactly for programs."""

import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any, Final
from unicodedata import category

import pytest
from cli_kit import Cli
from hypothesis import given
from hypothesis import strategies as st
from kit import Kit, tiny

from s2mirror.cli.output import print_error, print_json, print_line, print_table
from s2mirror.lifecycle import Event
from s2mirror.model import Transition

HOSTILE: Final = "gone\x1b[2J\x07\nFAULT proven: forged\u202e\x9b31m"
SHOWN: Final = r"gone\x1b[2J\x07\nFAULT proven: forged\u202e\x9b31m"
TEXTS: Final = st.text(st.characters(codec=None))


def output_of(function: Callable[..., None], *arguments: object) -> str:
    """Return what a call prints, on either stream."""
    with redirect_stdout(StringIO()) as printed, redirect_stderr(printed):
        function(*arguments)
    return printed.getvalue()


def assert_clean(text: str) -> None:
    hidden = {char for char in text if category(char)[0] == "C" or category(char) in ("Zl", "Zp")}
    assert hidden <= {"\n"}


@given(text=TEXTS)
def test_any_text_is_one_printable_line(text: str) -> None:
    for printed in (output_of(print_line, text), output_of(print_error, text)):
        assert printed.count("\n") == 1
        assert_clean(printed)


@given(cells=st.lists(TEXTS, min_size=2, max_size=2))
def test_any_cell_stays_in_its_row(cells: list[str]) -> None:
    printed = output_of(print_table, ("one", "two"), [cells])
    assert printed.count("\n") == 2
    assert_clean(printed)


@given(value=st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS)))
def test_json_is_printable_and_exact(value: dict[str, Any]) -> None:
    printed = output_of(print_json, value)
    assert_clean(printed)
    assert json.loads(printed) == {"schema": 1} | value


@pytest.mark.long
def test_hostile_reason_forges_no_line(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    cli("sync")
    products = kit.mirror().ledger.products
    (entry,) = products.held()
    transition = Transition(event=Event.CORRUPT, reason=HOSTILE, attempts=1)
    products.advance(entry, transition, now=entry.changed_at)
    for command in (["list"], ["show", entry.product.id], ["status"]):
        outcome = cli(*command)
        assert_clean(outcome.out + outcome.err)
        assert "\nFAULT" not in outcome.out
    assert SHOWN in cli("list").out
    assert cli.json("list")["products"][0]["reason"] == HOSTILE


def test_hostile_file_name_is_shown_escaped(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    cli("sync")
    (kit.archive / "\x1b[31m\udcff\n.SAFE").mkdir()
    outcome = cli("audit")
    assert_clean(outcome.out + outcome.err)
    assert r"\x1b[31m\udcff\n.SAFE" in outcome.out
    (entry,) = cli.json("audit")["foreign"]
    assert entry["path"] == "\x1b[31m\udcff\n.SAFE"


def test_hostile_argument_is_shown_escaped(cli: Cli, kit: Kit) -> None:
    kit.mirror().ledger.close()
    outcome = cli("show", "x\x1b[31m\ny")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert_clean(outcome.err)
