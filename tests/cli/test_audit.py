from dataclasses import replace
from pathlib import Path

import pytest
from cli_kit import Cli, Outcome
from kit import Kit, tiny

from s2mirror.adapters.ledger.state_values import ARCHIVE_ID
from s2mirror.sandbox import Answer, Fault, SandboxProduct

ONE_BIT_OFF = "char((unicode(value) | 1) - (unicode(value) & 1)) || substr(value, 2)"


@pytest.fixture(autouse=True)
def _short_period(kit: Kit) -> None:
    """Certificates count each month of the period."""
    kit.areas = kit.areas.replace("start = 2020-01-01", "start = 2026-04-01")


@pytest.fixture
def product(cli: Cli, kit: Kit) -> SandboxProduct:
    """Return a product that is held."""
    made = tiny()
    kit.sandbox.publish(made)
    assert cli("sync").code == 0
    return made


def band(kit: Kit) -> Path:
    return next(kit.archive.rglob("*_B02_10m.jp2"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def assert_names(outcome: Outcome, product: SandboxProduct, path: Path) -> None:
    assert outcome.code == 1
    assert f"FAULT proven: {product.id}: " in outcome.out
    assert path.name in outcome.out


def test_audit_of_empty_archive_claims_no_proof(cli: Cli) -> None:
    assert cli("sync").code == 0
    found = cli("audit")
    assert (found.code, found.out) == (
        0,
        "the archive holds no product: there was nothing to verify\n",
    )


def test_audit_names_the_file_of_one_flipped_byte(
    cli: Cli, kit: Kit, product: SandboxProduct
) -> None:
    flip_a_byte(band(kit))
    assert_names(cli("audit"), product, band(kit))


@pytest.mark.long
def test_audit_names_file_one_byte_short(cli: Cli, kit: Kit, product: SandboxProduct) -> None:
    band(kit).write_bytes(band(kit).read_bytes()[:-1])
    assert_names(cli("audit"), product, band(kit))
    assert_names(cli("audit", "--quick"), product, band(kit))


def test_audit_names_missing_file(cli: Cli, kit: Kit, product: SandboxProduct) -> None:
    path = band(kit)
    path.unlink()
    assert_names(cli("audit"), product, path)


@pytest.mark.long
def test_repair_fetches_only_bad_file_into_its_place(
    cli: Cli, kit: Kit, product: SandboxProduct
) -> None:
    flip_a_byte(band(kit))
    kit.sandbox.s3_proxy.traffic.forget()
    folder = (kit.archive / product.prefix).stat().st_ino
    assert cli.json("audit", "--repair")["repaired"] == [product.id]
    assert (kit.archive / product.prefix).stat().st_ino == folder
    assert kit.events("product.repaired") == ["product.repaired"]
    fetched = kit.sandbox.s3_proxy.traffic.matching(r"\.jp2|\.xml|\.jpg")
    assert [exchange.path.rpartition("/")[2] for exchange in fetched] == [band(kit).name]
    kit.assert_current(product)


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_repair_keeps_product_the_store_lost(cli: Cli, kit: Kit, product: SandboxProduct) -> None:
    flip_a_byte(band(kit))
    before = files_below(kit.archive / product.prefix)
    kit.sandbox.withdraw(product.id, cause="Corrupted product")
    found = cli.json("audit", "--repair")
    assert found["queued_for_repair"] == []
    why = found["kept_damaged"][product.id]
    assert why.startswith("damaged, and kept because the store no longer has this product: ")
    assert band(kit).name in why
    assert kit.entry(product).reason == why
    assert f"kept in the archive: {product.id}: {why}" in cli("audit", "--repair").out
    assert cli("sync").code == 1, "a damaged product is a warning"
    assert kit.states() == {product.id: "archived"}
    assert files_below(kit.archive / product.prefix) == before


@pytest.mark.long
def test_repair_keeps_product_with_lost_files(cli: Cli, kit: Kit, product: SandboxProduct) -> None:
    flip_a_byte(band(kit))
    rest = {path: data for path, data in product.files.items() if not path.endswith(band(kit).name)}
    kit.sandbox.replace(replace(product, files=rest))
    why = cli.json("audit", "--repair")["kept_damaged"][product.id]
    assert "the store no longer has 1 of its files, such as " in why
    assert band(kit).is_file()


@pytest.mark.long
@pytest.mark.parametrize("status", [403, pytest.param(503, marks=pytest.mark.long)])
def test_repair_keeps_products_while_store_is_away(
    cli: Cli, kit: Kit, product: SandboxProduct, status: int
) -> None:
    flip_a_byte(band(kit))
    kit.sandbox.s3_proxy.inject(Fault(answer=Answer(status=status), times=None))
    found = cli.json("audit", "--repair")
    assert found["queued_for_repair"] == []
    assert found["kept_damaged"][product.id].startswith("the store could not be asked whether ")
    assert band(kit).is_file()
    kit.sandbox.s3_proxy.faults.clear()
    assert cli.json("audit", "--repair")["repaired"] == [product.id]


@pytest.mark.long
@pytest.mark.parametrize("value", [ONE_BIT_OFF, pytest.param("'another'", marks=pytest.mark.long)])
@pytest.mark.usefixtures("product")
def test_repair_restores_a_damaged_archive_id(cli: Cli, kit: Kit, value: str) -> None:
    ledger = kit.mirror().ledger
    before = ledger.state.get(ARCHIVE_ID)
    ledger.connection.execute(
        f"UPDATE state_value SET value = {value} WHERE name = 'archive_id'"  # noqa: S608 - constants
    )
    ledger.close()
    refused = cli("audit")
    assert refused.code == 5
    assert "stored value of archive_id (table state_value) is damaged; run `s2mirror" in refused.err
    moved = (kit.archive / ".s2mirror").rename(kit.folder / "unmounted")
    unmounted = cli("audit", "--repair")
    assert unmounted.code == 5
    assert "Mount the disk of the archive, then run `s2mirror audit --repair`" in unmounted.err
    moved.rename(kit.archive / ".s2mirror")
    repaired = cli("audit", "--repair")
    assert repaired.code == 0
    assert "ledger: archive_id: value (table state_value) was damaged and is" in repaired.out
    assert cli("sync").code == 0
    assert kit.mirror().ledger.state.get(ARCHIVE_ID) == before


@pytest.mark.long
def test_online_audit_names_product_missing_from_ledger(
    cli: Cli, kit: Kit, product: SandboxProduct
) -> None:
    missed = tiny(day=29)
    kit.sandbox.publish(missed)
    assert cli("audit").code == 0
    found = cli.json("audit", "--online")
    assert [(fault["invariant"], fault["product"]) for fault in found["faults"]] == [
        ("accounted", missed.id)
    ]
    assert "to cure it, run `s2mirror sync`" in cli("audit", "--online").out
    assert product.id not in {fault["product"] for fault in found["faults"]}


@pytest.mark.long
@pytest.mark.usefixtures("product")
def test_audit_claims_only_what_it_checked(cli: Cli) -> None:
    assert cli("audit", "--quick").out.endswith(
        "all sizes agree; to read every byte, omit --quick\n"
    )
    assert cli("audit").out.endswith(
        "ledger and disk agree; to compare with the STAC catalog too, add --online\n"
    )
    assert cli("audit", "--online").out.endswith("all five invariants hold\n")


def test_audit_refuses_an_unknown_area(cli: Cli) -> None:
    cli("sync")
    assert "no area is named 'nowhere'" in cli("audit", "--online", "--area", "nowhere").err


@pytest.mark.usefixtures("product")
def test_area_is_certified_by_month_for_status(cli: Cli, kit: Kit) -> None:
    assert (
        "zurich 2026-05: 1 by STAC, 1 by OData, 1 held, 0 missing, checked "
        in cli("audit", "--area", "zurich").out
    )
    assert cli.json("status")["areas"][0]["certified"]["complete"] is True
    kit.sandbox.publish(tiny(day=29))
    assert "2 by STAC, 2 by OData, 1 held, 1 missing" in cli("audit", "--area", "zurich").out
    assert "1 missing" in cli("status").out
