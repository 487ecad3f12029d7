import signal

import pytest
from daemon_kit import Running
from kit import BAND_BYTES, DRIP, ZURICH, Kit, tiny, wait_until

from s2mirror.sandbox import Answer, Fault

VALLEY = """
[[area]]
name = "valley"
tiles = ["32TNS"]
start = 2020-01-01
"""


def reload(daemon: Running) -> None:
    daemon.sent.clear()
    daemon.send(signal.SIGHUP)


@pytest.mark.long
def test_sighup_applies_a_new_area(daemon: Running, kit: Kit) -> None:
    here, there = tiny(tile="32TMT"), tiny(tile="32TNS")
    kit.sandbox.publish([here, there])
    daemon.start()
    daemon.wait_until_held(here.id)
    pid = daemon.process.pid
    kit.areas = ZURICH + VALLEY
    assert kit.config
    reload(daemon)
    daemon.wait_for("READY=1")
    assert any(words.startswith("RELOADING=1") for words in daemon.sent)
    assert any(words.startswith("MONOTONIC_USEC=") for words in daemon.sent)
    daemon.wait_until_held(here.id, there.id)
    assert daemon.process.pid == pid
    assert daemon.stop() < 20
    kit.assert_current(here, there)


@pytest.mark.long
def test_sighup_during_a_download_fetches_no_byte_twice(daemon: Running, kit: Kit) -> None:
    product = tiny(band_bytes=BAND_BYTES)
    kit.sandbox.publish(product)
    kit.sandbox.s3_proxy.inject(DRIP)
    daemon.start()
    wait_until(kit.bands_begun, "partial bytes")
    kit.sandbox.s3_proxy.faults.clear()  # requests in progress stay slow
    reload(daemon)
    daemon.wait_for("READY=1")
    daemon.wait_until_held(product.id)
    daemon.stop()
    again = [e for e in kit.sandbox.s3_proxy.traffic.matching("_B0[23]_") if e.range]
    assert again, "it went on where it was"
    kit.assert_current(product)


@pytest.mark.long
def test_sighup_with_a_bad_configuration_logs_every_fault(daemon: Running, kit: Kit) -> None:
    first, later = tiny(25), tiny(27)
    kit.sandbox.publish(first)
    daemon.start()
    daemon.wait_until_held(first.id)
    path = kit.config
    good = path.read_text()
    path.write_text(good.replace("bbox = [8.45,", "bbox = [").replace("reserve", "reserved"))
    reload(daemon)
    wait_until(lambda: daemon.log("config.refused"), "config.refused")
    (started,) = daemon.log("mirror.started")
    assert started["configuration"] == str(path)
    assert (started["pid"], started["areas"], started["searches"]) == (daemon.process.pid, 1, 2)
    faults = daemon.log("config.refused")[0]["faults"]
    assert any("area[0].bbox" in fault for fault in faults)
    assert any("unknown key 'reserved'" in fault for fault in faults)
    daemon.wait_until_unhealthy(f"the old one stays active: {faults[0]}")
    path.write_text(good)
    kit.sandbox.publish(later)
    daemon.wait_until_held(first.id, later.id)
    assert "READY=1" not in daemon.sent, "nothing was reloaded"
    assert len(daemon.log("mirror.started")) == 1
    reload(daemon)
    daemon.wait_for("READY=1")
    daemon.wait_until_healthy()
    daemon.stop()
    assert kit.events("mirror", "config") == [
        *("mirror.started", "config.refused"),
        *("config.accepted", "mirror.stopped", "mirror.started", "mirror.stopped"),
    ]


@pytest.mark.long
def test_sighup_cannot_change_ledger_or_lose_archive(daemon: Running, kit: Kit) -> None:
    daemon.start()
    kit.sections["ledger"] = 'path = "elsewhere.sqlite"'
    assert kit.config
    reload(daemon)
    wait_until(lambda: daemon.log("config.refused"), "config.refused")
    assert daemon.log("config.refused")[0]["faults"] == [
        "ledger.path has changed; restart the daemon to use the new ledger"
    ]
    del kit.sections["ledger"]
    kit.config.write_text(kit.config.read_text().replace('root = "archive"', 'root = "unmounted"'))
    reload(daemon)
    wait_until(lambda: len(daemon.log("config.refused")) == 2, "config.refused")
    assert "is its disk mounted?" in daemon.log("config.refused")[1]["faults"][0]
    daemon.stop()


@pytest.mark.long
def test_sighup_reads_a_new_secret_key(daemon: Running, kit: Kit) -> None:
    product = tiny()
    kit.sandbox.publish(product)
    key_file = kit.folder / "secret-key"
    key_file.touch(mode=0o600)
    key_file.write_text("not-the-right-one")
    daemon.without = ("S2MIRROR_S3_SECRET_KEY",)
    daemon.variables = {"S2MIRROR_S3_SECRET_KEY_FILE": str(key_file)}
    daemon.start()
    wait_until(lambda: daemon.log("work.paused"), "work.paused")
    daemon.wait_until_unhealthy("the key pair is wrong or has expired")
    assert daemon.process.poll() is None
    # Every worker tries the key once before it pauses.
    wait_until(lambda: list(kit.states().values()) == ["queued"], "back in the queue")
    assert [f["attempts"] for f in kit.json("list")["products"]] == [0]
    key_file.write_text(kit.sandbox.secret_key)
    reload(daemon)
    daemon.wait_until_held(product.id)
    daemon.wait_until_healthy()
    daemon.stop()
    kit.assert_current(product)


@pytest.mark.long
def test_daemon_without_keys_polls_and_reports_them_missing(daemon: Running, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    daemon.without = ("S2MIRROR_S3_SECRET_KEY",)
    daemon.start()
    wait_until(lambda: daemon.log("work.paused"), "work.paused")
    daemon.wait_until_unhealthy("no s3 secret key given")
    wait_until(lambda: list(kit.states().values()) == ["queued"], "back in the queue")
    daemon.stop()


@pytest.mark.long
def test_catalog_outage_makes_health_red_until_it_ends(daemon: Running, kit: Kit) -> None:
    kit.sections["log"] += '\nlevel = "debug"'
    daemon.start()
    wait_until(lambda: len(daemon.log("search.listed")) >= 2, "both searches")
    kit.sandbox.stac_proxy.inject(Fault(answer=Answer(status=503), times=None))
    kit.sandbox.publish(tiny())
    wait_until(lambda: len(daemon.log("job.failed")) >= 2, "job.failed")
    daemon.wait_until_unhealthy("answered 503")
    kit.sandbox.stac_proxy.reset()
    daemon.wait_until_held(tiny().id)
    daemon.wait_until_healthy()
    daemon.stop()


@pytest.mark.long
def test_health_reports_a_killed_daemon(
    daemon: Running,
) -> None:
    daemon.start()
    daemon.wait_until_healthy()
    daemon.process.kill()
    daemon.process.wait()
    said = daemon.kit.run("health")
    assert (said.returncode, said.stdout) == (1, "not healthy: the daemon does not run\n")
