from pathlib import Path

import pytest
from cli_kit import Cli, Outcome
from kit import Kit, tiny

from s2mirror.sandbox import SandboxProduct


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


def test_audit_names_file_one_byte_short(cli: Cli, kit: Kit, product: SandboxProduct) -> None:
    band(kit).write_bytes(band(kit).read_bytes()[:-1])
    assert_names(cli("audit"), product, band(kit))
    assert_names(cli("audit", "--quick"), product, band(kit))


def test_audit_names_missing_file(cli: Cli, kit: Kit, product: SandboxProduct) -> None:
    path = band(kit)
    path.unlink()
    assert_names(cli("audit"), product, path)


def test_repair_and_sync_fetch_only_the_bad_file(
    cli: Cli, kit: Kit, product: SandboxProduct
) -> None:
    flip_a_byte(band(kit))
    assert cli.json("audit", "--repair")["queued_for_repair"] == [product.id]
    kit.sandbox.s3_proxy.traffic.forget()
    assert cli("sync").code == 0
    fetched = kit.sandbox.s3_proxy.traffic.matching(r"\.jp2|\.xml|\.jpg")
    assert [exchange.path.rpartition("/")[2] for exchange in fetched] == [band(kit).name]
    kit.assert_current(product)


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
    assert "to download what the ledger lacks, run `s2mirror sync`" in cli("audit", "--online").out
    assert product.id not in {fault["product"] for fault in found["faults"]}


@pytest.mark.usefixtures("product")
def test_audit_claims_only_what_it_checked(cli: Cli) -> None:
    assert cli("audit", "--quick").out.endswith(
        "all sizes agree; to read every byte, leave out --quick\n"
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
        "zurich 2026-05: 1 published, 1 held, 0 missing, checked "
        in cli("audit", "--area", "zurich").out
    )
    assert cli.json("status")["areas"][0]["certified"]["complete"] is True
    kit.sandbox.publish(tiny(day=29))
    assert "2 published, 1 held, 1 missing" in cli("audit", "--area", "zurich").out
    assert "1 missing" in cli("status").out
