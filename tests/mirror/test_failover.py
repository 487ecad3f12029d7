"""Failover between endpoints and key pairs, as an operator sees it."""

import json
import re
from datetime import timedelta

import pytest
from kit import Kit, tiny

from s2mirror.sandbox import Answer, Fault, Sandbox
from s2mirror.service.logs import set_up_logs
from s2mirror.service.report import status
from s2mirror.service.wiring import utc_now
from s2mirror.stop import StopFlag

NOWHERE = "https://nowhere.invalid"


def two_endpoints(kit: Kit, first: str, second: str, *more: str) -> None:
    """Configure two endpoints, the first one preferred."""
    kit.store_endpoint = first
    kit.sections["store"] = "\n".join([f'fallback_endpoints = ["{second}"]', *more])


def last_day(days: int) -> str:
    return f"{(utc_now() + timedelta(days=days)).date()}"


def test_second_endpoint_is_used_and_kept_over_restarts(kit: Kit, sandbox: Sandbox) -> None:
    two_endpoints(kit, NOWHERE, sandbox.s3_endpoint)
    first, second = tiny(20), tiny(22)
    sandbox.publish(first)
    assert kit.cycle().exit_code == 0
    sandbox.publish(second)
    since = status(kit.mirror()).store.since
    assert kit.cycle().exit_code == 0
    in_use = status(kit.mirror()).store
    assert in_use.since == since, "a restart begins with the good one"
    assert (in_use.endpoint, in_use.preferred) == (sandbox.s3_endpoint, False)
    assert NOWHERE in in_use.why
    kit.assert_current(first, second)


@pytest.mark.long
def test_preferred_endpoint_is_used_again_when_it_responds(kit: Kit, sandbox: Sandbox) -> None:
    two_endpoints(kit, sandbox.s3_endpoint, sandbox.s3_second_endpoint, 'prefer_again = "1 s"')
    sandbox.s3_proxy.inject(Fault(answer=Answer(status=503), times=None))
    products = [tiny(20), tiny(22)]
    sandbox.publish(products)
    assert kit.cycle().exit_code == 0
    assert status(kit.mirror()).store.endpoint == sandbox.s3_second_endpoint
    sandbox.s3_proxy.reset()
    store = kit.mirror().store(StopFlag())
    while not status(kit.mirror()).store.preferred:
        store.probe()
    kit.assert_current(*products)


@pytest.mark.long
def test_unreachable_store_is_exit_3_without_an_attempt(kit: Kit, sandbox: Sandbox) -> None:
    kit.store_endpoint = NOWHERE
    product = tiny(20)
    sandbox.publish(product)
    result = kit.cycle()
    assert (result.exit_code, result.failed) == (3, [])
    assert "check the network, its DNS and store.endpoint" in str(result.store_error)
    assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
    kit.store_endpoint = sandbox.s3_endpoint
    assert kit.cycle().exit_code == 0
    kit.assert_current(product)


@pytest.mark.long
def test_product_queued_under_a_fast_clock_is_downloaded(kit: Kit, sandbox: Sandbox) -> None:
    kit.store_endpoint = NOWHERE
    product = tiny(20)
    sandbox.publish(product)
    assert kit.cycle(kit.later(hours=5)).exit_code == 3
    assert kit.entry(product).next_attempt_at > utc_now()
    kit.store_endpoint = sandbox.s3_endpoint
    assert kit.cycle().archived == [product.id]
    kit.assert_current(product)


@pytest.mark.long
def test_second_key_pair_replaces_a_revoked_one(kit: Kit, sandbox: Sandbox) -> None:
    old = (sandbox.access_key, sandbox.secret_key)
    sandbox.store.renew_key()
    kit.more_secrets = {
        "S2MIRROR_S3_ACCESS_KEY": old[0],
        "S2MIRROR_S3_SECRET_KEY": old[1],
        "S2MIRROR_S3_ACCESS_KEY_2": sandbox.access_key,
        "S2MIRROR_S3_SECRET_KEY_2": sandbox.secret_key,
    }
    first, second = tiny(20), tiny(22)
    sandbox.publish(first)
    kit.cycle()
    assert kit.json("status")["store"]["key"] == 1
    sandbox.store.revoke_key(old[0])
    sandbox.publish(second)
    done = kit.run("sync")
    assert done.returncode == 0
    in_use = kit.json("status")["store"]
    assert in_use["key"] == 2
    assert "InvalidAccessKeyId" in in_use["why"]
    assert "with key pair 2 since" in kit.run("status").stdout
    kit.assert_current(first, second)


@pytest.mark.long
def test_check_tries_every_endpoint_and_key_pair(kit: Kit, sandbox: Sandbox) -> None:
    two_endpoints(kit, sandbox.s3_endpoint, NOWHERE)
    kit.more_secrets = {"S2MIRROR_S3_ACCESS_KEY_2": "AKIA", "S2MIRROR_S3_SECRET_KEY_2": "wrong-one"}
    done = kit.run("check", "--json")
    found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert found["store"]["exit_code"] == 0
    assert found[f"store {NOWHERE}"]["exit_code"] == 3
    assert found["key pair 2"]["exit_code"] == 6
    assert found["key expiry"]["detail"].startswith("not known; set store.key_expires")


@pytest.mark.long
def test_expiring_key_is_reported_everywhere_once_per_stage(
    kit: Kit, capsys: pytest.CaptureFixture[str]
) -> None:
    day = last_day(5)
    kit.sections["store"] = f"key_expires = {day}"
    set_up_logs(level="info", form="json", secrets=())  # An earlier test may have left it silent.
    for _ in range(2):
        kit.cycle()
    # After midnight there is one day less.
    said = rf"S3 key pair 1 expires in [45] days: its last day is {day}"
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("key.expiry_noted") == 1
    assert kit.events("key") == ["key.expiry_noted"]
    assert re.search(said, kit.run("status").stdout)
    assert re.search(said, kit.run("check").stdout)
    health = kit.json("health")
    (problem,) = health["problems"]
    assert re.match(f"{said};", problem)


@pytest.mark.long
def test_expired_key_makes_health_red_unless_second_exists(kit: Kit) -> None:
    kit.sections["store"] = f"key_expires = {last_day(-2)}"
    kit.cycle()
    said = "S3 key pair 1 has expired: its last day was"
    assert any(text.startswith(said) for text in kit.json("health")["problems"])
    pair = {"S2MIRROR_S3_ACCESS_KEY_2": "a", "S2MIRROR_S3_SECRET_KEY_2": "next-secret"}
    kit.more_secrets = pair
    health = kit.json("health")
    assert [text.startswith(said) for text in health["notes"]] == [True]
    assert not any(text.startswith(said) for text in health["problems"])
