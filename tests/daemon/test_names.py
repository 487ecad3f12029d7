"""Host names that do not resolve at first, and do later, while the mirror runs."""

from pathlib import Path

import pytest
from daemon_kit import IMPATIENT, Running
from kit import PATIENCE_SECONDS, tiny, wait_until
from name_kit import NO_SUCH_NAME, SERVER_FAILURE, NameServer, NamingKit, require_namespaces

from s2mirror.sandbox import Sandbox

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    require_namespaces()


def test_daemon_resumes_when_the_store_name_resolves(tmp_path: Path, sandbox: Sandbox) -> None:
    product = tiny(25)
    sandbox.publish(product)
    with NameServer(None) as names:
        kit = NamingKit(tmp_path, sandbox, sections=dict(IMPATIENT), names=names)
        kit.catalog_host = "127.0.0.1"
        with Running(kit) as daemon:
            daemon.start()
            daemon.wait_until_unhealthy("check the network, its DNS and store.endpoint")
            wait_until(lambda: kit.states() == {product.id: "queued"}, "back in the queue")
            assert kit.entry(product).attempts == 0
            wait_until(lambda: daemon.log("work.paused"), "a log line")
            assert daemon.log("work.paused")[0]["seconds"] == 30
            names.knows = True
            daemon.wait_until_held(product.id)
            daemon.wait_until_healthy()
            daemon.stop()
        kit.assert_current(product)


def test_daemon_polls_when_the_catalog_name_resolves(tmp_path: Path, sandbox: Sandbox) -> None:
    product = tiny(25)
    sandbox.publish(product)
    with NameServer(SERVER_FAILURE) as names:
        kit = NamingKit(tmp_path, sandbox, sections=dict(IMPATIENT), names=names)
        with Running(kit) as daemon:
            daemon.start()
            daemon.wait_until_unhealthy("Failed to resolve 'localhost'")
            assert kit.states() == {}
            names.knows = True
            daemon.wait_until_held(product.id)
            daemon.wait_until_healthy()
            daemon.stop()
        kit.assert_current(product)


def test_sync_without_dns_ends_with_exit_code_3(tmp_path: Path, sandbox: Sandbox) -> None:
    product = tiny(25)
    sandbox.publish(product)
    with NameServer(NO_SUCH_NAME) as names:
        kit = NamingKit(tmp_path, sandbox, names=names)
        done = kit.run("sync")
        assert (done.returncode, kit.states()) == (3, {})
        kit.catalog_host = "127.0.0.1"
        done = kit.run("sync")
        assert done.returncode == 3
        assert "check the network, its DNS and store.endpoint" in done.stderr
        assert (kit.entry(product).state, kit.entry(product).attempts) == ("queued", 0)
        kit.catalog_host, kit.tries = "localhost", 6
        names.asked.clear()
        with kit.start("sync") as at_work:
            assert names.asked.wait(PATIENCE_SECONDS)
            assert at_work.poll() is None
            names.knows = True
            said, _ = at_work.communicate(timeout=PATIENCE_SECONDS)
        assert at_work.returncode == 0, said
        kit.assert_current(product)
