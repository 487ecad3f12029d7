"""Partial products: only selected files, verified like others, completed later."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import overwrite
from kit import ZURICH, Kit, small

from s2mirror.sandbox import Answer, Fault, SandboxProduct
from s2mirror.selection import chosen, to_text

SOME = ZURICH + 'bands = ["B02", "SCL"]\n'
RURAL = SOME.replace('"zurich"', '"rural"').replace('"B02", "SCL"', '"B11"')
WANTED = chosen(bands=["B02", "SCL"])


def held(kit: Kit, product: SandboxProduct) -> set[str]:
    folder = kit.archive / product.prefix
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def json_of(kit: Kit, capsys: pytest.CaptureFixture[str], *words: str) -> Any:  # noqa: ANN401 - parsed JSON
    """Run a command with ``--json`` and return what it printed."""
    capsys.readouterr()
    kit.call(*words, "--json")
    return json.loads(capsys.readouterr().out)


def files(product: SandboxProduct) -> set[str]:
    return {path for path in product.files if not path.endswith("/")}


def assert_right_bytes(kit: Kit, product: SandboxProduct) -> None:
    for path in held(kit, product):
        assert (kit.archive / product.prefix / path).read_bytes() == product.files[path], path


@pytest.fixture
def kit(kit: Kit) -> Kit:
    kit.areas = SOME
    return kit


@pytest.mark.long
def test_only_selected_files_are_downloaded_and_verified(kit: Kit) -> None:
    products = [small(27), small(25, level="L1C")]
    kit.sandbox.publish(products)
    result = kit.cycle()
    assert result.exit_code == 0
    for product in products:
        wanted = WANTED.paths(files(product))
        assert held(kit, product) == set(wanted) < files(product)
        assert_right_bytes(kit, product)
        entry = kit.entry(product)
        assert entry.selection == WANTED
        assert entry.product.size_bytes == sum(len(product.files[path]) for path in wanted)
    assert len(kit.downloaded()) == sum(len(held(kit, product)) for product in products)
    kit.assert_current(*products)


@pytest.mark.long
def test_only_a_lost_selected_file_is_repaired(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    band = next((kit.archive / product.prefix).rglob("*_B02_10m.jp2"))
    band.unlink()
    (fault,) = kit.faults()
    assert fault.startswith("proven: ")
    assert "B02_10m.jp2 is missing" in fault
    kit.sandbox.s3_proxy.reset()
    assert kit.run("audit", "--repair").returncode == 1
    assert kit.cycle().exit_code == 0
    assert kit.downloaded("_B02_10m.jp2") == kit.downloaded(".jp2")
    kit.assert_current(product)


@pytest.mark.long
def test_two_areas_get_the_union_of_files(kit: Kit) -> None:
    kit.areas = SOME + RURAL
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    either = WANTED | chosen(bands=["B11"])
    assert held(kit, product) == either.paths(files(product))
    assert kit.entry(product).selection == either
    kit.assert_current(product)


@pytest.mark.long
def test_area_without_selection_gets_all_files(kit: Kit) -> None:
    kit.areas = SOME + ZURICH.replace('"zurich"', '"all"')
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    kit.assert_same_bytes(product)
    assert kit.entry(product).selection.whole
    kit.assert_current(product)


def test_complete_downloads_missing_files_only(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    before = held(kit, product)
    kit.sandbox.s3_proxy.reset()
    assert kit.call("complete", product.id) == 0
    assert held(kit, product) == before, "held files stay until the rest is verified"
    assert kit.cycle().exit_code == 0
    kit.assert_same_bytes(product)
    fetched = {key.partition(".SAFE/")[2] for key in kit.downloaded()}
    assert fetched == files(product) - before
    assert kit.entry(product).selection.whole
    assert kit.entry(product).product.size_bytes == sum(map(len, product.files.values()))
    assert kit.call("complete", product.id) == 0
    kit.assert_current(product)


@pytest.mark.long
def test_failed_completion_keeps_the_held_files(kit: Kit) -> None:
    kit.sections["download"] = 'backoff = "1 h"\ntries_per_file = 1\nmax_attempts = 2'
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    before = held(kit, product)
    kit.call("complete", product.id)
    refused = Fault(path=r"_B03_10m", answer=Answer(status=500), times=None)
    kit.sandbox.s3_proxy.inject(refused)
    kit.cycle()
    assert kit.entry(product).state == "queued"
    assert held(kit, product) == before
    kit.sandbox.s3_proxy.reset()
    kit.sandbox.s3_proxy.inject(Fault(path=r"_B03_10m", flip_byte=7, times=None))
    assert kit.cycle(kit.later()).exit_code == 1
    assert kit.entry(product).state == "quarantined"
    assert held(kit, product) == before
    assert kit.faults() == []
    kit.sandbox.s3_proxy.reset()
    kit.call("requeue", product.id)
    assert kit.cycle().exit_code == 0
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_completion_replaces_a_damaged_held_file(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    band = next((kit.archive / product.prefix).rglob("*_B02_10m.jp2"))
    band.write_bytes(bytes(len(band.read_bytes())))
    kit.call("complete", product.id)
    assert kit.cycle().exit_code == 0
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_wider_selection_completes_products_on_request_only(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    product, later = small(25), small(27)
    kit.sandbox.publish(product)
    kit.cycle()
    before = held(kit, product)
    kit.areas = SOME.replace('"SCL"', '"SCL", "B11"')
    kit.sandbox.publish(later)
    assert kit.cycle().exit_code == 0
    assert held(kit, product) == before
    assert any(path.endswith("_B11_20m.jp2") for path in held(kit, later))
    assert json_of(kit, capsys, "plan")["incomplete"] == [product.id]
    assert json_of(kit, capsys, "complete", "--wider", "--dry-run")["complete"] == [product.id]
    assert json_of(kit, capsys, "complete", "--wider")["complete"] == [product.id]
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle().exit_code == 0
    assert [key[-12:] for key in kit.downloaded("20m.jp2")] == ["_B11_20m.jp2"]
    assert json_of(kit, capsys, "plan")["incomplete"] == []
    kit.assert_current(product, later)


@pytest.mark.long
def test_narrower_selection_removes_no_file(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    before = held(kit, product)
    kit.areas = SOME.replace(', "SCL"', "")
    assert kit.cycle().received_bytes == 0
    assert held(kit, product) == before
    assert json_of(kit, capsys, "plan")["incomplete"] == []
    new = small(seed=1)
    kit.sandbox.replace(new)
    kit.cycle(kit.later())
    assert_right_bytes(kit, new)
    assert held(kit, new) == before, "a republished product keeps its selection"
    kit.assert_current(new)


@pytest.mark.long
def test_commands_report_partial_products(kit: Kit, capsys: pytest.CaptureFixture[str]) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    kit.call("list")
    assert "only B02, SCL" in capsys.readouterr().out
    kit.call("show", product.id)
    assert re.search(r"files +only B02, SCL\n", capsys.readouterr().out)
    assert json_of(kit, capsys, "show", product.id)["partial"] is True
    kit.call("status")
    assert "1 partial by choice" in capsys.readouterr().out
    assert json_of(kit, capsys, "status")["partial_products"] == 1


@pytest.mark.long
def test_complete_needs_either_ids_or_wider(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    assert kit.call("complete") == 2
    assert kit.call("complete", product.id, "--wider") == 2
    assert kit.call("complete", "S2A_unknown") == 2


@pytest.mark.long
def test_missing_selected_object_keeps_the_product_queued(kit: Kit) -> None:
    product = small()
    lacking, needless = "_B02_10m.jp2", "_B05_20m.jp2"
    path = next(path for path in product.files if path.endswith(lacking))
    spare = next(path for path in product.files if path.endswith(needless))
    rest = {name: data for name, data in product.files.items() if name not in (path, spare)}
    kit.sandbox.publish(replace(product, files=rest))
    assert kit.cycle().remaining
    assert "the catalog is ahead of the store" in kit.entry(product).reason
    rest[path] = product.files[path]
    kit.sandbox.replace(replace(product, files=rest))
    assert kit.cycle(kit.later()).exit_code == 0
    assert held(kit, product) == WANTED.paths(files(product))
    assert Path(kit.archive, product.prefix, path).is_file()


@pytest.mark.long
def test_downloading_product_cannot_be_completed(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=r"list-type", answer=Answer(status=500), times=None))
    kit.cycle()
    mirror = kit.later()
    mirror.ledger.products.claim(mirror.now())
    assert kit.call("complete", product.id) == 2
    assert mirror.ledger.selections.asked(product.id) is None


@pytest.mark.long
def test_queued_product_is_downloaded_whole_on_request(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(Fault(path=r"list-type", answer=Answer(status=500), times=None))
    kit.cycle()
    assert kit.call("complete", product.id) == 0
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle(kit.later()).exit_code == 0
    kit.assert_same_bytes(product)
    kit.assert_current(product)


@pytest.mark.long
def test_missing_selected_file_in_ledger_is_a_fault(kit: Kit) -> None:
    product = small()
    kit.sandbox.publish(product)
    kit.cycle()
    claimed = to_text(WANTED | chosen(bands=["B11"]))
    overwrite(kit.mirror().ledger, "document = :claimed", table="selection", claimed=claimed)
    assert any("B11_20m.jp2 has another digest in its file list" in fault for fault in kit.faults())
