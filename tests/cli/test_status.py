"""``status`` of many areas: a summary with the worst, and more on request."""

from cli_kit import Cli
from kit import Kit

from s2mirror.cli.status import MOST_LINES

AREAS = 30


def many(kit: Kit) -> None:
    """Configure many areas, of which one far down in the list waits for a product."""
    kit.areas = "".join(
        f'[[area]]\nname = "area-{n:02}"\nbbox = [{n}, 47, {n}.5, 47.5]\nstart = 2020-01-01\n'
        for n in range(AREAS)
    )
    connection = kit.mirror().ledger.connection
    connection.execute(
        "INSERT INTO tally (area, state, products, size_bytes) VALUES ('area-27', 'failed', 3, 9)"
    )


def names(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith("area-")]


def test_many_areas_are_a_summary_with_the_worst(cli: Cli, kit: Kit) -> None:
    many(kit)
    found = cli("status").out
    assert names(found)[0] == "area-27"
    assert len(names(found)) == MOST_LINES
    assert f"not shown: {AREAS - MOST_LINES} areas; see --area NAME" in found
    assert f"1 of {AREAS} areas have failed, missing or waiting products" in found


def test_area_and_trouble_select_what_is_shown(cli: Cli, kit: Kit) -> None:
    many(kit)
    assert names(cli("status", "--area", "area-05", "--area", "area-29").out) == [
        "area-05", "area-29",
    ]  # fmt: skip
    assert names(cli("status", "--trouble").out) == ["area-27"]
    assert [area["name"] for area in cli.json("status", "--trouble")["areas"]] == ["area-27"]
    assert len(cli.json("status")["areas"]) == AREAS
    assert cli("status", "--area", "nowhere").code == 2
