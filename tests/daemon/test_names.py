"""Host names that nobody resolves, and then somebody does, while the mirror is at work."""

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


def test_a_store_whose_name_begins_to_resolve_is_found_without_a_hand(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    product = tiny(25)
    sandbox.publish(product)
    with NameServer(None) as names:
        kit = NamingKit(tmp_path, sandbox, sections=dict(IMPATIENT), names=names)
        kit.catalog_host = "127.0.0.1"
        with Running(kit) as daemon:
            daemon.start()
            daemon.wait_until_sick("check the network, its DNS and store.endpoint")
            wait_until(lambda: kit.states() == {product.id: "queued"}, "back in the queue")
            assert kit.entry(product).attempts == 0
            wait_until(lambda: daemon.log("work.paused"), "a word in the log")
            assert daemon.log("work.paused")[0]["seconds"] == 30
            names.knows = True
            daemon.wait_until_held(product.id)
            daemon.wait_until_well()
            daemon.stop()
        kit.assert_current(product)


def test_a_catalog_whose_name_begins_to_resolve_is_listed_by_the_same_daemon(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    product = tiny(25)
    sandbox.publish(product)
    with NameServer(SERVER_FAILURE) as names:
        kit = NamingKit(tmp_path, sandbox, sections=dict(IMPATIENT), names=names)
        with Running(kit) as daemon:
            daemon.start()
            daemon.wait_until_sick("Failed to resolve 'localhost'")
            assert kit.states() == {}
            names.knows = True
            daemon.wait_until_held(product.id)
            daemon.wait_until_well()
            daemon.stop()
        kit.assert_current(product)


def test_a_sync_goes_on_when_names_begin_to_resolve_and_ends_with_exit_3_if_they_do_not(
    tmp_path: Path, sandbox: Sandbox
) -> None:
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
