"""``list``: filters, order and columns, as wide as the terminal."""

import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import pytest
from builders import product
from cli_kit import Cli, Terminal
from kit import Kit

from s2mirror.cli.list import complete_columns
from s2mirror.cli.products import PRODUCT_KEYS

NOW: Final = datetime.now(UTC).replace(microsecond=0)
DAY: Final = timedelta(days=1)
LONG_ID: Final = "S2A_MSIL2A_20260527T102031_N0512_R065_T32TMT_20260527T15{:04}"


def record(kit: Kit, *changes: dict[str, Any], number: int = 0) -> None:
    """Record a product for each of *changes*, named p0, p1 and so on; or *number* of them."""
    some = [product(f"p{n}", **each) for n, each in enumerate(changes)]
    some += [product(LONG_ID.format(n), size_bytes=n) for n in range(number)]
    ledger = kit.mirror().ledger
    members = {each.id: ["zurich"] for each in some}
    ledger.products.record(some, members, priorities={}, now=NOW)
    ledger.close()


def ids(cli: Cli, *arguments: str) -> list[str]:
    return [found["id"] for found in cli.json("list", *arguments)["products"]]


def test_list_selects_by_time_and_collection(cli: Cli, kit: Kit) -> None:
    record(
        kit,
        {"sensed_at": NOW - 9 * DAY, "published_at": NOW - 8 * DAY},
        {"sensed_at": NOW - 7 * DAY, "published_at": NOW - DAY, "collection": "sentinel-2-l1c"},
        {"sensed_at": NOW - 3 * DAY, "published_at": NOW - 2 * DAY},
    )
    assert ids(cli) == ["p2", "p1", "p0"]
    assert ids(cli, "--since", "7d") == ["p2", "p1"]
    assert ids(cli, "--sensed-from", "8d") == ["p2", "p1"]
    assert ids(cli, "--sensed-to", f"{NOW - 7 * DAY:%Y-%m-%d}") == ["p1", "p0"]
    assert ids(cli, "--sensed-from", "8d", "--sensed-to", "5d") == ["p1"]
    assert ids(cli, "--collection", "sentinel-2-l1c") == ["p1"]


def test_list_sorts_by_any_sort_key(cli: Cli, kit: Kit) -> None:
    record(
        kit,
        {"size_bytes": 5, "cloud_cover_percent": 70.0, "published_at": NOW},
        {"size_bytes": None, "cloud_cover_percent": None, "published_at": NOW - DAY},
        {"size_bytes": 9, "cloud_cover_percent": 3.0, "published_at": NOW - 2 * DAY},
    )
    assert ids(cli, "--sort", "size_bytes") == ["p2", "p0", "p1"], "the unknown last"
    assert ids(cli, "--sort", "size_bytes", "--reverse") == ["p0", "p2", "p1"]
    assert ids(cli, "--sort", "cloud_cover_percent") == ["p2", "p0", "p1"]
    assert ids(cli, "--sort", "published_at") == ["p0", "p1", "p2"]
    assert ids(cli, "--sort", "id", "--limit", "2") == ["p0", "p1"]


def test_chosen_columns_are_printed_in_order(cli: Cli, kit: Kit) -> None:
    record(kit, {"size_bytes": 1500, "sensed_at": NOW, "tile": "32TMT"})
    shown = cli("list", "--columns", "tile, size_bytes,sensed_at,areas").out.splitlines()
    assert shown[0].split() == ["tile", "size", "sensed", "areas"]
    assert shown[1].split() == ["32TMT", "1.5", "kB", *f"{NOW:%Y-%m-%d %H:%M:%S}".split(), "zurich"]
    (found,) = cli.json("list", "--columns", "tile,size_bytes")["products"]
    assert found == {"tile": "32TMT", "size_bytes": 1500}


def test_json_of_list_has_every_column(cli: Cli, kit: Kit) -> None:
    record(kit, {}, {})
    found = cli.json("list")
    assert list(found) == ["schema", "products"]
    assert [tuple(each) for each in found["products"]] == [PRODUCT_KEYS] * 2
    assert cli("list", "--columns", ",".join(PRODUCT_KEYS)).code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--columns", "id,sensed"), "--columns: expected one of id, collection,"),
        (("--sort", "areas"), "--sort: expected one of sensed_at,"),
        (("--collection", "landsat"), "--collection: expected one of sentinel-2-l1c,"),
        (("--state", "lost"), "--state: expected one of discovered,"),
        (("--sensed-to", "soon"), "--sensed-to: expected a duration"),
    ],
)
def test_unusable_option_of_list_exits_with_2(
    cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    outcome = cli("list", *arguments)
    assert outcome.code == 2
    assert message in outcome.err


def test_completion_offers_remaining_columns() -> None:
    assert complete_columns("sensed") == ["sensed_at"]
    assert complete_columns("id,st") == ["id,state"]
    assert complete_columns("state,st") == []


@pytest.mark.long
def test_list_fits_any_terminal_width(cli: Cli, kit: Kit) -> None:
    record(kit, number=3)
    assert cli("list").out.splitlines()[0].split()[:2] == ["product", "state"]
    for columns in (40, 60, 80, 100, 160):
        terminal = Terminal(kit.command("list"), kit.environment(), columns)
        assert terminal.read_to_end() == 0
        lines = terminal.shown.splitlines()
        table = [line for line in lines if not line.startswith("s2mirror:")]
        note = next((line for line in lines if line.startswith("s2mirror:")), "")
        assert max(map(len, table)) <= columns
        assert [line[: min(columns - 1, 50)] for line in table[1:]] == [
            LONG_ID.format(n)[: min(columns - 1, 50)] for n in range(3)
        ]
        assert ("files" in note) == (columns <= 80)


@pytest.mark.long
def test_long_list_is_streamed_until_reader_leaves(kit: Kit) -> None:
    record(kit, number=2500)
    whole = kit.json("list", "--limit", "5000", "--sort", "size_bytes")["products"]
    assert all(one["size_bytes"] - other["size_bytes"] == 1 for one, other in pairwise(whole))
    assert len(whole) == 2500
    for arguments in (["list"], ["list", "--json"]):
        command = kit.command(*arguments, "--limit", "5000")
        with subprocess.Popen(
            command, env=kit.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 0
