"""`s2mirror relayout` moves held products to a changed layout, and nothing is lost on the way."""

from pathlib import Path

import pytest
from crashing import CrashServer
from kit import Kit, tiny
from test_crash import killed_at_every_step, requests_so_far

from s2mirror.sandbox import SandboxProduct
from s2mirror.service.relayout import relayout
from s2mirror.stop import StopFlag

FORCE = 'layout = "force"'


def held_products(kit: Kit, count: int = 2) -> list[SandboxProduct]:
    """Download products in the layout of CDSE."""
    products = [tiny(20 + number, band_bytes=1000) for number in range(count)]
    kit.sandbox.publish(products)
    assert kit.cycle().exit_code == 0
    return products


def new_path(product: SandboxProduct) -> str:
    return f"T32TMT/{product.id}.SAFE"


def assert_moved(kit: Kit, *products: SandboxProduct) -> None:
    """Assert that exactly these products are in the new layout, whole, and no byte was fetched."""
    for product in products:
        assert kit.entry(product).path == new_path(product)
        for path, content in product.files.items():
            held = kit.archive / new_path(product) / path
            assert held.is_dir() if path.endswith("/") else held.read_bytes() == content
    assert not (kit.archive / "Sentinel-2").exists(), "emptied folders are removed"
    kit.assert_invariants()


def test_relayout_moves_products_markers_and_items(kit: Kit) -> None:
    kit.sections["processing"] = 'marker_suffix = ".done"'
    first, second = held_products(kit)
    marker = Path(f"{kit.archive / first.prefix}".rstrip("/") + ".done")
    marker.touch()
    kit.sections["archive"] = FORCE
    assert kit.cycle().received_bytes == 0
    assert kit.entry(first).path == first.prefix.rstrip("/"), "the old path stays valid"
    changed_at = kit.entry(second).changed_at
    found = relayout(kit.mirror(), StopFlag())
    assert found["refused"] == {}
    assert found["moved"][first.id] == {"from": first.prefix.rstrip("/"), "to": new_path(first)}
    assert_moved(kit, first, second)
    assert kit.entry(second).changed_at == changed_at, "a move makes no product younger"
    assert (kit.archive / f"{new_path(first)}.done").exists()
    assert [step.event for step in kit.mirror().ledger.products.history(second.id)][-1] == "move"
    assert relayout(kit.mirror(), StopFlag())["moved"] == {}


def test_taken_place_refuses_only_its_product(kit: Kit) -> None:
    first, second = held_products(kit)
    kit.sections["archive"] = FORCE
    (taken := kit.archive / new_path(first)).mkdir(parents=True)
    found = relayout(kit.mirror(), StopFlag())
    assert list(found["refused"]) == [first.id]
    assert f"{taken} exists already" in found["refused"][first.id]
    assert list(found["moved"]) == [second.id]
    kit.assert_same_bytes(first)
    assert list(taken.iterdir()) == []


def test_link_in_place_of_marker_stops_no_move(kit: Kit) -> None:
    """The folder has moved already: an error there would end every later start, too."""
    kit.sections["processing"] = 'marker_suffix = ".done"'
    (product,) = held_products(kit, 1)
    marker = Path(f"{kit.archive / product.prefix}".rstrip("/") + ".done")
    marker.touch()
    link = kit.archive / f"{new_path(product)}.done"
    link.parent.mkdir()
    link.symlink_to("/nowhere")
    kit.sections["archive"] = FORCE
    assert list(relayout(kit.mirror(), StopFlag())["moved"]) == [product.id]
    assert kit.entry(product).path == new_path(product)
    assert kit.mirror().ledger.moves.pending() == {}
    assert marker.exists()
    assert link.is_symlink()


def test_changed_layout_is_noticed_until_relayout(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    held_products(kit)
    kit.sections["archive"] = FORCE
    kit.cycle()
    assert kit.call("status") == 0, "a notice turns nothing red"
    assert "2 products at paths of another layout" in capsys.readouterr().out
    assert kit.call("relayout", "--dry-run") == 0
    assert "would move 2 products" in capsys.readouterr().out
    assert kit.call("relayout") == 0
    assert "moved 2 products" in capsys.readouterr().out
    assert kit.call("status") == 0
    assert "another layout" not in capsys.readouterr().out


@pytest.mark.long
def test_kill_at_every_step_of_relayout_resumes(kit: Kit, server: CrashServer) -> None:
    products = held_products(kit)
    (kit.archive / f"{products[0].prefix.rstrip('/')}.processed").touch()
    kit.sections["archive"] = FORCE
    start = requests_so_far(kit)
    copies = killed_at_every_step(kit, server, "relayout")
    assert len(copies) > 5
    for killed in copies:
        with killed.explained():
            assert killed.mirror.cycle().received_bytes == 0
            killed.mirror.assert_invariants()
            assert relayout(killed.mirror.mirror(), StopFlag())["refused"] == {}
            assert (killed.mirror.archive / f"{new_path(products[0])}.processed").exists()
            assert_moved(killed.mirror, *products)
    assert kit.downloads(start) == []
