"""Requests that a real Ceph gateway refuses, and their effect on the mirror."""

import subprocess
from pathlib import Path

import pytest
from installing import ensure_packages
from kit import Kit, tiny
from services import Services

pytestmark = pytest.mark.servers


@pytest.fixture(name="kit")
def _kit(tmp_path: Path, services: Services) -> Kit:
    return Kit(tmp_path, services)


@pytest.mark.parametrize("hours", ["-1h", "+1h"])
def test_wrong_clock_is_reported_and_fails_no_product(
    kit: Kit, services: Services, hours: str
) -> None:
    ensure_packages(("faketime",))
    product = tiny()
    services.publish(product)
    done = subprocess.run(
        ["faketime", "-f", hours, *kit.command("sync")],
        env=kit.environment(FAKETIME_DONT_FAKE_MONOTONIC="1"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 6, done
    assert "403 RequestTimeTooSkewed: this machine's clock is wrong; set it" in done.stderr
    assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    assert kit.run("sync").returncode == 0
    assert kit.states() == {product.id: "archived"}


def test_second_key_is_used_when_first_is_removed(kit: Kit, services: Services) -> None:
    ceph = services.ceph
    second = ceph.add_key()
    kit.more_secrets = {
        "S2MIRROR_S3_ACCESS_KEY_2": second[0],
        "S2MIRROR_S3_SECRET_KEY_2": second[1],
    }
    before, after = tiny(25), tiny(27)
    services.publish(before)
    try:
        assert kit.run("sync").returncode == 0
        assert kit.json("status")["store"]["key"] == 1
        services.publish(after)
        ceph.remove_key(ceph.access_key)
        assert kit.run("sync").returncode == 0
    finally:
        ceph.add_key((ceph.access_key, ceph.secret_key))
        ceph.remove_key(second[0])
    in_use = kit.json("status")["store"]
    assert in_use["key"] == 2
    assert "403 InvalidAccessKeyId" in in_use["why"]
    assert kit.states() == dict.fromkeys((before.id, after.id), "archived")


def test_removed_key_is_reported_and_fails_no_product(kit: Kit, services: Services) -> None:
    ceph = services.ceph
    product = tiny()
    services.publish(product)
    ceph.remove_key(ceph.access_key)
    try:
        done = kit.run("sync")
    finally:
        ceph.add_key((ceph.access_key, ceph.secret_key))
    assert done.returncode == 6
    assert "403 InvalidAccessKeyId: the key pair is wrong or has expired" in done.stderr
    assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    assert kit.run("sync").returncode == 0
    assert kit.states() == {product.id: "archived"}


def test_slow_down_counts_no_attempt(kit: Kit, services: Services) -> None:
    kit.sections |= {"store": "connections = 8", "download": 'backoff = "1 s"\ntries_per_file = 1'}
    products = [tiny(day, band_bytes=2_000_000) for day in (25, 26, 27)]
    services.publish(*products)
    services.ceph.restart(max_concurrent_requests=1)
    try:
        done = kit.run("sync")
        assert done.returncode in (0, 1)
        attempts = {kit.entry(product).attempts for product in products}
        seen = {it.status for it in services.ceph.answered()}
    finally:
        services.ceph.restart()
    assert attempts == {0}
    assert 503 in seen
    assert kit.run("sync").returncode in (0, 1)
