"""``why``: every rule of every area for any product, known to the ledger or not."""

import pytest
from cli_kit import Cli
from kit import ZURICH, Kit, tiny

from s2mirror.sandbox import Answer, Fault

LAKE = (
    ZURICH.replace('"zurich"', '"lake"').replace("8.45, 47.2, 8.85, 47.4", "5.9, 46.2, 6, 46.3")
    + "max_cloud_cover_percent = 60\n"
)


def lines(text: str) -> dict[str, str]:
    """Return the text of each indented line by its first word."""
    words = [line.strip().partition("  ") for line in text.splitlines()[1:]]
    return {first: rest.strip() for first, _, rest in words}


@pytest.mark.long
def test_every_rule_of_every_area_is_named(cli: Cli, kit: Kit) -> None:
    kit.areas = ZURICH + "max_cloud_cover_percent = 60\n" + LAKE
    clear, cloudy = tiny(20, cloud_cover_percent=3), tiny(22, cloud_cover_percent=97)
    hidden = tiny(24, cloud_cover_percent=3)
    kit.sandbox.publish([clear, cloudy])
    kit.cycle()
    found = cli("why", f"/srv/{cloudy.id}.SAFE")
    assert found.code == 0
    shown = lines(found.out)
    assert shown["ledger"] == "does not know it"
    assert (shown["stac"], shown["odata"]) == ("listed", "not asked")
    assert shown["zurich"] == "97 % clouds, zurich takes 60 %"
    assert shown["lake"].startswith("97 % clouds, lake takes 60 %; ")
    assert shown["lake"].endswith(" km outside lake")
    assert shown["to have it"] == f"s2mirror fetch {cloudy.id}"

    held = cli.json("why", clear.id)
    assert (held["state"], held["removal"], held["remedy"]) == ("archived", "", "")
    assert held["kept"]
    assert [each["wanted"] for each in held["areas"]] == [True, False]
    assert {each["rule"] for each in held["areas"][1]["mismatches"]} == {"geometry"}
    assert held["catalogs"] == {}

    kit.sandbox.publish_in_odata_only(hidden)
    later = cli.json("why", hidden.id)
    assert later["catalogs"] == {"stac": "not listed", "odata": "listed"}
    assert (later["state"], later["areas"][0]["wanted"]) == (None, True)
    assert "polls and sweeps" in cli("why", hidden.id).out

    absent = cli("why", tiny(25).id)
    assert (absent.code, "no catalog lists it" in absent.out) == (0, True)

    down = Fault(answer=Answer(status=503), times=None)
    kit.sandbox.stac_proxy.inject(down)
    assert cli.json("why", hidden.id)["catalogs"]["odata"] == "listed"
    kit.sandbox.odata_proxy.inject(down)
    away = cli("why", cloudy.id)
    assert away.code == 3
    assert "could not look at its cloud cover and its footprint" in away.err
    assert lines(away.out)["zurich"] == "wants it"
    assert "km outside lake" in lines(away.out)["lake"]
    assert "503" in lines(away.out)["stac"]


@pytest.mark.long
def test_why_names_the_rule_that_removes_it(cli: Cli, kit: Kit) -> None:
    product = tiny(20)
    kit.sandbox.publish(product)
    kit.cycle()
    kit.sections["prune"] = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'
    assert cli.json("why", product.id)["removal"].startswith("prune.after: ")
    cli("pin", product.id)
    assert cli.json("why", product.id)["kept"].startswith("pinned; ")
    cli("drop", product.id, "--pinned")
    gone = cli.json("why", product.id)
    assert (gone["state"], gone["reason"]) == ("pruned", "dropped by request")
    assert gone["remedy"] == f"s2mirror restore {product.id}"


def test_why_refuses_other_names(cli: Cli, kit: Kit) -> None:
    kit.mirror()
    for name, text in (
        ("S3A_OL_1_EFR", "is not the name of a Sentinel-2 product"),
        ("../x y", "'x y' is not the name"),
    ):
        done = cli("why", name)
        assert (done.code, text in done.err) == (2, True), done.err
    assert "s2mirror why" in cli("show", "S2A_unknown").err
