"""One store behind several targets: which one is used, abandoned, and used again."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from adapters_builders import options_of

from s2mirror.adapters.objectstore import FailoverStore, StoreTarget, StoreTargets
from s2mirror.errors import (
    CredentialError,
    KeyRefused,
    MirrorError,
    Stopped,
    StoreBusy,
    StoreChanged,
    StoreUnavailable,
    StoreUnreachable,
)
from s2mirror.model import RemoteFile
from s2mirror.sandbox import Answer, Fault, Sandbox
from s2mirror.stop import StopFlag

PREFIX = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
CONTENT = bytes(range(256)) * 8
NOWHERE = "https://nowhere.invalid"
WRONG = ("AKIAIOSFODNN7EXAMPLE", "wrong")


class Failovers:
    """Records the changes of target."""

    def __init__(self) -> None:
        self.changes: list[tuple[StoreTarget, str]] = []

    def __call__(self, target: StoreTarget, why: str) -> None:
        self.changes.append((target, why))


@pytest.fixture
def failovers() -> Failovers:
    return Failovers()


@pytest.fixture(autouse=True)
def _object(sandbox: Sandbox) -> Iterator[None]:
    sandbox.store.put({f"{PREFIX}MTD.xml": CONTENT})
    yield
    sandbox.s3_second_proxy.reset()


def failover_store(
    sandbox: Sandbox,
    failovers: Callable[[StoreTarget, str], None],
    *endpoints: str,
    keys: tuple[tuple[str, str], ...] = (),
    stop: StopFlag | None = None,
    **given: object,
) -> FailoverStore:
    targets = StoreTargets(
        endpoints=endpoints or (sandbox.s3_endpoint, sandbox.s3_second_endpoint),
        keys=keys or ((sandbox.access_key, sandbox.secret_key),),
        **given,  # type: ignore[arg-type]
    )
    options = options_of(sandbox, connections=1)
    return FailoverStore(options, targets, failovers, stop or StopFlag())


def break_down(sandbox: Sandbox, status: int = 503, path: str = "", body: bytes = b"") -> None:
    answer = Answer(status=status, body=body)
    sandbox.s3_proxy.inject(Fault(path=path, answer=answer, times=None))


def fails(store: FailoverStore, kind: type[MirrorError], times: int = 1) -> MirrorError:
    """Require a listing to fail *times* times; return the last error."""
    for _ in range(times):
        with pytest.raises(kind) as caught:
            store.list_product(PREFIX)
    return caught.value


def the_file(store: FailoverStore) -> RemoteFile:
    (found,) = store.list_product(PREFIX).files
    return found


def test_unreachable_endpoint_is_abandoned_at_once(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, NOWHERE, sandbox.s3_second_endpoint)
    assert b"".join(store.read(the_file(store))) == CONTENT
    assert store.target == StoreTarget(sandbox.s3_second_endpoint)
    ((target, why),) = failovers.changes
    assert target == store.target
    assert NOWHERE in why


def test_endpoint_with_only_5xx_is_abandoned(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers)
    break_down(sandbox)
    assert store.list_product(PREFIX).files
    assert [target for target, _ in failovers.changes] == [StoreTarget(sandbox.s3_second_endpoint)]


def test_restarted_gateway_keeps_its_endpoint(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers)
    sandbox.s3_proxy.inject(Fault(answer=Answer(status=503)))
    fails(store, StoreUnavailable)
    assert store.list_product(PREFIX).files
    assert failovers.changes == []


def test_failed_reads_and_listing_abandon_endpoint(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers)
    file = the_file(store)
    break_down(sandbox)
    with pytest.raises(StoreUnavailable, match="reading"):
        list(store.read(file))
    assert b"".join(store.read(file)) == CONTENT
    assert [target for target, _ in failovers.changes] == [StoreTarget(sandbox.s3_second_endpoint)]


def test_one_failing_object_keeps_the_endpoint(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers)
    file = the_file(store)
    break_down(sandbox, path="MTD")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="reading"):
            list(store.read(file))
    assert failovers.changes == []


def test_login_page_abandons_the_endpoint(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers)
    break_down(sandbox, 200, body=b"<html>Please sign in</html>")
    assert store.list_product(PREFIX).files
    assert store.target.endpoint == sandbox.s3_second_endpoint


@pytest.mark.parametrize(("status", "kind"), [(429, StoreBusy), (412, StoreChanged)])
def test_meaningful_errors_keep_the_endpoint(
    sandbox: Sandbox, failovers: Failovers, status: int, kind: type[MirrorError]
) -> None:
    store = failover_store(sandbox, failovers)
    break_down(sandbox, status)
    fails(store, kind, times=6)
    assert failovers.changes == []


def test_error_names_every_endpoint_that_failed(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, NOWHERE, sandbox.s3_endpoint)
    break_down(sandbox)
    error = fails(store, StoreUnreachable)
    assert f"{NOWHERE} with key pair 1: " in str(error)
    assert "answered 503" in str(error)
    sandbox.s3_proxy.reset()
    assert store.list_product(PREFIX).files


def test_single_unreachable_endpoint_is_named(sandbox: Sandbox, failovers: Failovers) -> None:
    error = fails(failover_store(sandbox, failovers, NOWHERE), StoreUnreachable)
    assert str(error).startswith(f"listing {PREFIX}: {NOWHERE}: ")
    assert failovers.changes == []


@pytest.mark.long
def test_single_endpoint_with_5xx_is_unreachable(sandbox: Sandbox, failovers: Failovers) -> None:
    break_down(sandbox)
    error = fails(failover_store(sandbox, failovers, sandbox.s3_endpoint), StoreUnreachable)
    assert "answered 503" in str(error)


def test_preferred_endpoint_returns_once_it_answers(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, prefer_again_seconds=0.0)
    break_down(sandbox)
    for _ in range(3):
        assert store.list_product(PREFIX).files
        assert store.target.endpoint == sandbox.s3_second_endpoint, "it does not answer yet"
    sandbox.s3_proxy.reset()
    assert store.list_product(PREFIX).files
    assert [target.endpoint for target, _ in failovers.changes] == [
        sandbox.s3_second_endpoint,
        sandbox.s3_endpoint,
    ]
    assert failovers.changes[-1][1] == "it answers again"


def test_preferred_endpoint_is_not_probed_too_soon(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, started_with=sandbox.s3_second_endpoint)
    asked = sandbox.s3_proxy.traffic.count()
    assert store.list_product(PREFIX).files
    assert sandbox.s3_proxy.traffic.count() == asked
    assert failovers.changes == []


def test_unconfigured_endpoint_is_not_started_with(sandbox: Sandbox, failovers: Failovers) -> None:
    assert (
        failover_store(sandbox, failovers, started_with=NOWHERE).target.endpoint
        == sandbox.s3_endpoint
    )


def test_second_key_pair_replaces_a_refused_one(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(
        sandbox, failovers, keys=(WRONG, (sandbox.access_key, sandbox.secret_key))
    )
    assert b"".join(store.read(the_file(store))) == CONTENT
    ((target, why),) = failovers.changes
    assert target == StoreTarget(sandbox.s3_endpoint, key=2)
    assert "InvalidAccessKeyId" in why


def test_error_names_every_refused_key_pair(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, keys=(WRONG, (sandbox.access_key, "wrong")))
    for _ in range(2):
        error = str(fails(store, KeyRefused))
        assert "with key pair 1: " in error
        assert "InvalidAccessKeyId" in error
        assert "with key pair 2: " in error
        assert "SignatureDoesNotMatch" in error


def test_wrong_clock_does_not_change_the_key(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(
        sandbox, failovers, keys=((sandbox.access_key, sandbox.secret_key), WRONG)
    )
    break_down(sandbox, 403, body=b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    assert type(fails(store, CredentialError)) is CredentialError
    assert failovers.changes == []


def test_concurrent_failures_switch_endpoint_once(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, NOWHERE, sandbox.s3_second_endpoint)
    barrier = threading.Barrier(4)

    def listed(_: int) -> int:
        barrier.wait()
        return len(store.list_product(PREFIX).files)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(listed, range(4))) == [1] * 4
    assert [target for target, _ in failovers.changes] == [StoreTarget(sandbox.s3_second_endpoint)]


@pytest.mark.long
def test_threads_return_to_preferred_endpoint_once(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(
        sandbox,
        failovers,
        started_with=sandbox.s3_second_endpoint,
        prefer_again_seconds=0.0,
    )
    barrier = threading.Barrier(4)

    def listed(_: int) -> int:
        barrier.wait()
        return len(store.list_product(PREFIX).files)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(listed, range(4))) == [1] * 4
    assert [target for target, _ in failovers.changes] == [StoreTarget(sandbox.s3_endpoint)]


class StoppedWhileWaiting(StopFlag):
    """A stop flag that is set during the first wait."""

    def wait(self, timeout_seconds: float) -> bool:  # noqa: ARG002 - as the flag has it
        self.set()
        return True


def test_stop_flag_ends_the_failover_pause(sandbox: Sandbox, failovers: Failovers) -> None:
    store = failover_store(sandbox, failovers, stop=StoppedWhileWaiting())
    break_down(sandbox)
    before = sandbox.s3_proxy.traffic.count()
    with pytest.raises(Stopped):
        store.list_product(PREFIX)
    assert sandbox.s3_proxy.traffic.count() == before + 1
    assert failovers.changes == []


def test_keys_are_hidden_in_repr(sandbox: Sandbox) -> None:
    targets = StoreTargets(endpoints=(NOWHERE,), keys=((sandbox.access_key, sandbox.secret_key),))
    assert sandbox.access_key not in repr(targets)
    assert sandbox.secret_key not in repr(targets)
