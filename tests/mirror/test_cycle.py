import pytest
from kit import SENSED_AT, Kit, small, tiny

from s2mirror import __version__


@pytest.mark.long
def test_sync_archives_every_product_in_scope(kit: Kit) -> None:
    products = [small(27), small(25), small(27, level="L1C"), small(20, checksum="MD5")]
    kit.sandbox.publish([*products, small(27, tile="33UUP")])
    result = kit.cycle()
    assert sorted(result.archived) == sorted(product.id for product in products)
    assert result.exit_code == 0
    kit.assert_current(*products)


@pytest.mark.long
def test_second_sync_sends_the_store_no_request(kit: Kit) -> None:
    kit.sandbox.publish([tiny(27), tiny(25)])
    kit.cycle()
    kit.sandbox.s3_proxy.reset()
    assert kit.cycle().received_bytes == 0
    assert kit.sandbox.s3_proxy.traffic.count("") == 0


def test_only_new_products_are_downloaded(kit: Kit) -> None:
    first = tiny(22, baseline="05.11")
    kit.sandbox.publish(first)
    kit.cycle()
    just_now = SENSED_AT.replace(day=28)
    new_products = [
        tiny(27),
        tiny(22, baseline="05.12", processed_at=just_now),
        tiny(baseline="05.00", sensed_at=SENSED_AT.replace(year=2020), processed_at=just_now),
    ]
    kit.sandbox.publish(new_products)
    result = kit.cycle()
    assert sorted(result.new_ids) == sorted(product.id for product in new_products)
    kit.assert_current(first, *new_products)


@pytest.mark.long
def test_every_request_carries_the_user_agent(kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    assert kit.run("sync").returncode == 0
    words = ("--from", "2026-05-27", "--to", "2026-05-27", "--width", "90", "--height", "60")
    assert kit.run("preview", "--area", "zurich", *words).returncode == 0
    stand = kit.sandbox
    asked = {
        name: {exchange.agent.split()[0] for exchange in proxy.traffic.exchanges}
        for name, proxy in {
            "catalog": stand.stac_proxy,
            "store": stand.s3_proxy,
            "deletions": stand.odata_proxy,
            "tokens": stand.identity_proxy,
            "images": stand.process_proxy,
        }.items()
    }
    assert asked == {name: {f"s2mirror/{__version__}"} for name in asked}
