"""``pin``, ``unpin`` and ``drop``: a person decides, whatever areas and retention say."""

import pytest
from cli_kit import Cli
from kit import ZURICH, Kit, tiny

from s2mirror.service.pruning import prune
from s2mirror.stop import StopFlag

AT_ONCE = 'after = "0 s"\nrequire_processed = false\nmax_percent = 100'


@pytest.mark.long
def test_pinned_products_outlive_every_rule(cli: Cli, kit: Kit) -> None:
    kit.sections["prune"] = AT_ONCE
    early, late, other, new = tiny(20), tiny(22), tiny(24), tiny(26)
    kit.sandbox.publish([early, late, other])
    kit.cycle()
    kit.cycle(kit.later(days=2))
    assert set(kit.states().values()) == {"pruned"}
    kit.sections["prune"] = AT_ONCE.replace("0 s", "9 d")
    cli("requeue", early.id, late.id, other.id)
    kit.sandbox.publish(new)
    kit.cycle()

    dry = cli.json("pin", "--tile", "t32tmt", "--sensed-to", "2026-05-22", "--dry-run")
    assert sorted(dry["pinned"]) == sorted([early.id, late.id])
    assert cli.json("list", "--pinned")["products"] == []
    done = cli("pin", "--tile", "t32tmt", "--sensed-to", "2026-05-22")
    assert done.out == ("2 products pinned. Products that are published later are not included\n")
    again = cli("pin", early.id, f"/srv/{late.id}.SAFE", "S2A_unknown")
    assert again.code == 2
    assert again.out.startswith("0 products pinned, 2 were pinned before. ")
    assert "the ledger knows no product 'S2A_unknown'" in again.err
    pinned = {each["id"] for each in cli.json("list", "--pinned")["products"]}
    assert pinned == {early.id, late.id}
    shown = cli.json("show", early.id)
    assert (shown["pinned"], shown["pin"]["command"]) == (True, "s2mirror pin")
    assert [entry["event"] for entry in shown["history"]][-1] == "pin"
    assert "by `s2mirror pin`" in cli("show", early.id).out
    assert "(pinned)" in cli("status").out

    plan = prune(kit.later(days=40), unclaimed=True)
    assert {gone.entry.product.id for gone in plan.removals} == {other.id, new.id}
    assert cli.json("why", early.id)["kept"].startswith("pinned; ")
    refused = cli("pin", other.id)
    assert (refused.code, "s2mirror restore" in refused.err) == (2, True)
    assert cli.json("pin", "--area", "zurich")["gone"] == [new.id, other.id]

    undone = cli.json("unpin", "--area", "zurich", "--sensed-from", "2026-05-21")
    assert undone["unpinned"] == [late.id]
    assert [gone.entry.product.id for gone in prune(kit.later(days=40)).removals] == [late.id]
    assert cli.json("log", "--event", "product.unpinned")["product_id"] == late.id


def test_pin_without_choice_is_refused(cli: Cli, kit: Kit) -> None:
    kit.mirror()
    for words in (("pin",), ("unpin",), ("pin", "S2A", "--tile", "32TMT")):
        done = cli(*words)
        assert (done.code, "give either product ids, or at least one of" in done.err) == (2, True)
    assert cli("pin", "--area", "nowhere").code == 2


@pytest.mark.long
def test_pin_of_waiting_product_downloads_no_more(cli: Cli, kit: Kit) -> None:
    kit.areas = ZURICH.replace('"sentinel-2-l1c", ', "") + "bands = ['B02']"
    product = tiny(20)
    kit.sandbox.publish(product)
    mirror = kit.mirror()
    for search in mirror.searches:
        mirror.poller().poll(search, StopFlag())
    assert cli.json("pin", "--tile", "32TMT")["pinned"] == [product.id]
    kit.cycle()
    assert kit.entry(product).areas == ("(pinned)", "zurich")
    assert not kit.entry(product).selection.whole, "the area's choice of files stays"


@pytest.mark.long
def test_drop_removes_what_an_area_wants(cli: Cli, kit: Kit) -> None:
    first, second, waiting = tiny(20), tiny(22), tiny(24)
    kit.sandbox.publish([first, second])
    kit.cycle()
    cli("pin", second.id)
    dry = cli.json("drop", first.id, second.id, "--dry-run")
    assert dry["dropped"] == {first.id: "to be moved to the trash"}
    assert set(kit.states().values()) == {"archived"}
    done = cli("drop", first.id, second.id)
    assert (done.code, done.out) == (2, f"{first.id}  moved to the trash\n")
    assert done.err == (
        f"s2mirror: {second.id} is pinned; run `s2mirror unpin {second.id}` first, "
        "or drop it with --pinned\n"
    )
    assert kit.states() == {first.id: "pruned", second.id: "archived"}
    assert cli.json("drop", second.id, "--pinned")["dropped"] == {second.id: "moved to the trash"}
    assert kit.entry(second).areas == ("zurich",)
    kit.sandbox.publish(waiting)
    mirror = kit.mirror()
    for search in mirror.searches:
        mirror.poller().poll(search, StopFlag())
    assert "would be pruned" in cli("drop", waiting.id, "--dry-run").out
    assert cli.json("drop", waiting.id)["dropped"] == {waiting.id: "pruned"}
    kit.assert_invariants()
    assert set(kit.states().values()) == {"pruned"}, "and not downloaded again"
    cli("requeue", first.id)
    kit.cycle()
    kit.cycle()
    assert kit.states()[first.id] == "archived", "an old drop removes nothing later"
