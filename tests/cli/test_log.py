"""``log``: events of the mirror and its products, for people and programs."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cli_kit import Cli, Terminal
from kit import Kit, tiny

from s2mirror.adapters.ledger import Ledger
from s2mirror.model import PINNED

NOW: Final = datetime.now(UTC).replace(microsecond=0)
DAY: Final = timedelta(days=1)


@pytest.fixture
def ledger(kit: Kit) -> Ledger:
    return kit.mirror().ledger


def lines(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in cli("log", *arguments, "--json").out.splitlines()]


def names(cli: Cli, *arguments: str) -> list[str]:
    return [line["event"] for line in lines(cli, *arguments)]


def test_log_prints_one_line_per_event(cli: Cli, ledger: Ledger) -> None:
    ledger.events.add("brake.held", at=NOW - DAY, detail="12 products are due")
    ledger.events.add("process.failed", at=NOW, area="zurich", product_id="S2A_x", detail="exit 1")
    outcome = cli("log")
    assert outcome.code == 0
    assert outcome.out == (
        f"{NOW - DAY:%Y-%m-%d %H:%M:%S}  brake.held           12 products are due\n"
        f"{NOW:%Y-%m-%d %H:%M:%S}  process.failed       S2A_x  zurich  exit 1\n"
    )
    assert lines(cli)[1] == {
        "schema": 1,
        "at": NOW.isoformat().replace("+00:00", "Z"),
        "event": "process.failed",
        "areas": ["zurich"],
        "product_id": "S2A_x",
        "detail": "exit 1",
    }


def test_log_selects_time_area_event_and_product(cli: Cli, ledger: Ledger) -> None:
    for days, area in enumerate(("zurich", "zurich", "", "")):
        ledger.events.add(f"n{days}", at=NOW - days * DAY, area=area, product_id=f"p{days}")
    assert names(cli) == ["n3", "n2", "n1", "n0"]
    assert names(cli, "--since", "25h") == ["n1", "n0"]
    assert names(cli, "--since", f"{NOW - 2 * DAY:%Y-%m-%d}") == ["n2", "n1", "n0"]
    assert names(cli, "--until", (NOW - 2 * DAY).isoformat()) == ["n3", "n2"]
    assert names(cli, "--since", "yesterday", "--until", "yesterday") == ["n1"]
    assert names(cli, "--area", "zurich") == ["n1", "n0"]
    assert names(cli, "--event", "n1", "--event", "n3") == ["n3", "n1"]
    assert names(cli, "--product", "p2.SAFE") == ["n2"]
    assert names(cli, "--limit", "1") == ["n0"]


@pytest.mark.long
def test_log_hides_steps_of_downloads(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(product := tiny())
    kit.cycle()
    own = ["--event", "product"]
    assert [name for name in names(cli) if name.startswith("product.")] == [
        "product.discovered",
        "product.published",
    ]
    assert (
        names(cli, *own)
        == names(cli, "--product", product.id)
        == [
            "product.discovered",
            "product.enqueued",
            "product.claimed",
            "product.verified",
            "product.published",
        ]
    )
    assert {tuple(line["areas"]) for line in lines(cli, *own)} == {("zurich",)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--since", "soon"), "--since: expected a duration before now such as 7d"),
        (("--until", "5 parsecs"), "--until: expected a duration before now such as 7d"),
        (("--area", "zuric"), "no area is named 'zuric'; there are zurich"),
    ],
)
def test_unusable_filter_of_log_exits_with_2(
    cli: Cli, ledger: Ledger, arguments: tuple[str, ...], message: str
) -> None:
    ledger.close()
    outcome = cli("log", *arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_empty_log_says_so(cli: Cli, ledger: Ledger) -> None:
    ledger.close()
    outcome = cli("log", "--event", "product.pruned")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("s2mirror: no event matches")


def test_hostile_detail_of_event_forges_no_line(cli: Cli, ledger: Ledger) -> None:
    ledger.events.add("brake.held", at=NOW, detail="x\n2026-01-01  forged\x1b[2J")
    assert cli("log").out.count("\n") == 1
    assert "\x1b" not in cli("log", "--json").out


@pytest.mark.long
def test_log_fits_terminal_and_survives_head(kit: Kit) -> None:
    ledger = kit.mirror().ledger
    with ledger.connection.atomic():
        for number in range(3000):
            ledger.events.add("n", at=NOW, area=PINNED, product_id=f"p{number}", detail="a " * 80)
    terminal = Terminal(kit.command("log", "--limit", "5"), kit.environment(), columns=60)
    assert terminal.read_to_end() == 0
    shown = terminal.shown.splitlines()
    assert max(map(len, shown)) <= 60
    assert [line.split()[3] for line in shown if line[0] != " "] == [
        f"p{n}" for n in range(2995, 3000)
    ]
    with subprocess.Popen(
        kit.command("log"), env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
