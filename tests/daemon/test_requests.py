"""Commands beside a running daemon: it does what they ask, and they print the same."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from cli_kit import Cli
from daemon_kit import at_work
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import Kit, tiny, wait_until

from s2mirror.adapters.ledger.requests import OperatorRequest
from s2mirror.adapters.lock import InstanceLock, daemon_pid
from s2mirror.sandbox import Sandbox
from s2mirror.service.logs import set_up_logs
from s2mirror.service.requests import fits
from s2mirror.service.workers import Intervals

SELDOM = {
    "catalog": 'interval = "1 d"\njitter = "0 s"',
    "prune": 'after = "0 s"\nmax_products = 1',
}
"""A daemon that does nothing by itself once it has started."""
FAST = Intervals(tick_seconds=0.02, idle_seconds=0.2, process_seconds=0.2)


@pytest.fixture
def kit(tmp_path_factory: pytest.TempPathFactory, sandbox: Sandbox) -> Kit:
    return Kit(tmp_path_factory.mktemp("mirror"), sandbox, sections=dict(SELDOM))


@pytest.fixture
def cli(kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    for name, secret in kit.secrets.items():
        monkeypatch.setenv(name, secret)
    return Cli(kit, capsys)


@contextmanager
def beside_a_daemon(kit: Kit) -> Iterator[None]:
    """Run a daemon of the kit's mirror within this process while the block runs."""
    set_up_logs(level="info", form="json", secrets=())  # as `run` does: never on stdout
    mirror = kit.mirror()
    with InstanceLock(mirror.settings.ledger.path, takes_requests=True), at_work(mirror, FAST):
        yield


def hold_processed(cli: Cli) -> None:
    """Hold every product of the sandbox, and mark each as processed."""
    assert cli("sync").code == 0
    assert cli("mark", "processed", *cli.kit.states()).code == 0


@pytest.mark.long
def test_commands_print_the_same_beside_a_daemon(
    cli: Cli, kit: Kit, tmp_path_factory: pytest.TempPathFactory
) -> None:
    products = [tiny(20), tiny(21), tiny(22)]
    ids = [product.id for product in products]
    kit.sandbox.publish(products)
    hold_processed(cli)
    alone = Cli(Kit(tmp_path_factory.mktemp("alone"), kit.sandbox, sections=SELDOM), cli.capsys)
    hold_processed(alone)
    with beside_a_daemon(kit):
        for words in (
            ["catalog", "rebuild"],
            ["prune"],
            ["sync", "--area", "nowhere"],
            ["prune", "--yes"],
            ["prune"],
            ["sync"],
            ["restore", *ids, "S2A_unknown"],
            ["drop", ids[0], "--pinned"],
        ):
            expected, found = alone(*words), cli(*words)
            folders = (str(alone.kit.folder), str(kit.folder))
            assert found.out == expected.out.replace(*folders), words
            assert found.code == expected.code, words
            assert "the daemon has begun" in found.err
            assert set(expected.err.splitlines()) <= set(found.err.splitlines())
    assert kit.states() == dict(zip(ids, ("pruned", "processed", "processed"), strict=True))
    kit.assert_same_bytes(*products[1:])
    assert daemon_pid(kit.mirror().settings.ledger.path) is None
    kit.assert_invariants()


@pytest.mark.long
def test_sync_beside_a_daemon_downloads_and_processes(cli: Cli, kit: Kit) -> None:
    kit.sections["process"] = 'command = ["true"]'
    kit.sections["prune"] = ""
    product, other = tiny(27, tile="32TMT"), tiny(28, tile="32TNS")
    with beside_a_daemon(kit):
        wait_until(lambda: cli.json("status")["searches"][0]["listed_at"], "the first poll")
        kit.sandbox.publish([product, other])
        found = cli.json("sync", "--area", "zurich")
        assert (found["exit_code"], found["new"], found["remaining"]) == (0, [product.id], 0)
        assert (found["archived"], found["processed"]) == ([product.id], [product.id])
        assert found["received_bytes"] > 0
        kit.sandbox.s3_proxy.traffic.exchanges.clear()
        assert cli.json("sync")["archived"] == []
    assert kit.downloads() == []


@pytest.mark.long
def test_stopped_command_withdraws_its_request(kit: Kit) -> None:
    path = kit.mirror().settings.ledger.path
    with InstanceLock(path, takes_requests=True):
        command = kit.start("prune", "--yes")
        wait_until(kit.mirror().ledger.requests.waiting, "the request")
        command.send_signal(signal.SIGINT)
        out, _ = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "the request is withdrawn; nothing was done" in out
    assert not kit.mirror().ledger.requests.waiting()


@pytest.mark.long
def test_command_ends_when_the_daemon_ends(kit: Kit) -> None:
    mirror = kit.mirror()
    with InstanceLock(mirror.settings.ledger.path, takes_requests=True):
        command = kit.start("prune", "--yes")
        wait_until(mirror.ledger.requests.waiting, "the request")
    command.communicate(timeout=60)
    assert command.returncode == 4
    assert not mirror.ledger.requests.waiting()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)
KINDS = st.sampled_from(["sync", "prune", "rebuild", "drop", "restore", "other"])
NAMES = st.sampled_from(["yes", "unclaimed", "areas", "ids", "pin", "self", "other"])


@settings(max_examples=50)
@given(
    kind=st.sampled_from(["sync", "prune", "rebuild", "drop", "restore", "other"]), data=st.data()
)
def test_only_exact_arguments_fit_a_request(kind: str, data: st.DataObject) -> None:
    arguments = data.draw(JSON | st.dictionaries(NAMES, JSON, max_size=3))
    request = OperatorRequest(id="1", kind=kind, arguments=arguments)
    exact = {
        "sync": lambda a: (
            list(a) == ["areas"]
            and isinstance(a["areas"], list)
            and all(isinstance(name, str) for name in a["areas"])
        ),
        "prune": lambda a: (
            sorted(a) == ["unclaimed", "yes"]
            and all(isinstance(value, bool) for value in a.values())
        ),
        "rebuild": lambda a: a == {},
        "drop": lambda a: a == {},
        "restore": lambda a: (
            sorted(a) == ["ids", "pin"]
            and isinstance(a["pin"], bool)
            and isinstance(a["ids"], list)
            and all(isinstance(name, str) for name in a["ids"])
        ),
        "other": lambda _: False,
    }
    wanted = isinstance(arguments, dict) and exact[kind](arguments)
    assert fits(request) == wanted


def test_request_of_another_version_is_refused(kit: Kit) -> None:
    mirror = kit.mirror()
    with at_work(mirror, FAST):
        request = mirror.ledger.requests.ask("polish", {}, now=datetime.now(UTC))
        wait_until(lambda: mirror.ledger.requests.status(request).answer, "the answer")
    status = mirror.ledger.requests.status(request)
    assert status is not None
    assert status.answer is not None
    assert status.answer["class"] == "UsageError"
    assert "it may be of another version: restart it" in status.answer["error"]


def test_next_start_answers_request_of_killed_daemon(kit: Kit) -> None:
    mirror = kit.mirror()
    request = mirror.ledger.requests.ask("rebuild", {}, now=datetime.now(UTC))
    mirror.ledger.requests.begin_next(now=datetime.now(UTC))
    with at_work(mirror, FAST):
        wait_until(lambda: mirror.ledger.requests.status(request).answer, "the answer")
    status = mirror.ledger.requests.status(request)
    assert status is not None
    assert status.answer is not None
    assert status.answer["error"].startswith("the daemon ended or was reloaded before")
