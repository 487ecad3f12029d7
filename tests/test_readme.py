"""Tables in the documentation match the source."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

from s2mirror.adapters.ledger.events import PRODUCT_EVENTS
from s2mirror.lifecycle import TRANSITIONS
from s2mirror.planning.faults import Fault, FaultKind

ROOT = Path(__file__).parent.parent
LEVELS: Final = ("debug", "info", "warning", "error", "exception")
EVENT: Final = re.compile(r"[a-z_]+\.[a-z_]+")


def table_in(document: str, header: str) -> list[list[str]]:
    """Return the cells of the table that has this header line."""
    lines = (ROOT / "docs" / document).read_text(encoding="utf-8").splitlines()
    rows = lines[lines.index(header) + 2 :]
    found = takewhile(lambda line: line.startswith("|"), rows)
    return [[cell.strip(" `") for cell in row.strip("|").split("|")] for row in found]


@cache
def calls() -> tuple[tuple[str, str, Any], ...]:
    """Return receiver, function and first argument of each call that may name an event."""
    found = []
    for path in (ROOT / "s2mirror").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        nodes = ast.walk(ast.parse(text)) if "log." in text or "add(" in text else ()
        for node in nodes:
            if isinstance(node, ast.Call) and node.args:
                function, argument = node.func, node.args[0]
                name = getattr(function, "attr", None) or getattr(function, "id", "")
                receiver = getattr(getattr(function, "value", None), "id", "")
                found.append((receiver, name, getattr(argument, "value", None)))
    return tuple(found)


def logged_events() -> Iterator[tuple[str, str]]:
    """Yield each event of the log with its level."""
    for receiver, function, name in calls():
        if receiver == "log" and function in LEVELS:
            level = "error" if function == "exception" else function
            if isinstance(name, str):
                yield name, level
            else:
                assert ast.unparse(name) == "_LOG_EVENTS"  # of delivery, see below


def test_life_table_in_docs_matches_lifecycle() -> None:
    table = {tuple(row) for row in table_in("how-it-works.md", "| from | event | to |")}
    expected = {(str(state), str(event), str(to)) for (state, event), to in TRANSITIONS.items()}
    assert table == expected


def test_every_fault_of_audit_is_documented() -> None:
    rows = {row[0]: row[2] for row in table_in("faults.md", "| kind | meaning | command |")}
    faults = [Fault(kind=kind, product="ID", detail="", file="PATH") for kind in FaultKind]
    assert rows == {str(fault.kind): fault.remedy for fault in faults}
    assert all(fault.invariant for fault in faults)


def test_every_event_of_log_is_documented() -> None:
    from s2mirror.service.delivery import _LOG_EVENTS  # noqa: PLC0415 - only these are computed

    found = {(name, "warning") for name in _LOG_EVENTS.values()} | set(logged_events())
    levels = {
        name: max((lv for n, lv in found if n == name), key=LEVELS.index) for name, _ in found
    }
    rows = table_in("log-events.md", "| event | level | meaning |")
    assert {row[0]: row[1] for row in rows} == levels
    assert [row[0] for row in rows] == sorted(levels)


def test_every_event_of_ledger_is_documented() -> None:
    added = {
        name
        for _, function, name in calls()
        if function == "add" and isinstance(name, str) and EVENT.fullmatch(name)
    }
    rows = table_in("log-events.md", "| event | meaning |")
    assert [row[0] for row in rows] == sorted(added | set(PRODUCT_EVENTS.values()))
