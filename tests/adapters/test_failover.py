"""One store by several ways: which one is taken, left, and taken again."""

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
    StoreBusy,
    StoreChanged,
    StoreUnavailable,
    StoreUnreachable,
)
from s2mirror.model import RemoteFile
from s2mirror.sandbox import Answer, Fault, Sandbox

PREFIX = "Sentinel-2/MSI/L2A/2026/05/27/X.SAFE/"
CONTENT = bytes(range(256)) * 8
NOWHERE = "https://nowhere.invalid"
WRONG = ("AKIAIOSFODNN7EXAMPLE", "wrong")


class Heard:
    """Remembers the ways that were taken."""

    def __init__(self) -> None:
        self.moves: list[tuple[StoreTarget, str]] = []

    def __call__(self, target: StoreTarget, why: str) -> None:
        self.moves.append((target, why))


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(autouse=True)
def _object(sandbox: Sandbox) -> Iterator[None]:
    sandbox.store.put({f"{PREFIX}MTD.xml": CONTENT})
    yield
    sandbox.s3_second_proxy.reset()


def by(
    sandbox: Sandbox,
    heard: Callable[[StoreTarget, str], None],
    *endpoints: str,
    keys: tuple[tuple[str, str], ...] = (),
    **facts: object,
) -> FailoverStore:
    targets = StoreTargets(
        endpoints=endpoints or (sandbox.s3_endpoint, sandbox.s3_second_endpoint),
        keys=keys or ((sandbox.access_key, sandbox.secret_key),),
        **facts,  # type: ignore[arg-type]
    )
    return FailoverStore(options_of(sandbox, connections=1), targets, heard)


def break_down(sandbox: Sandbox, status: int = 503, path: str = "", body: bytes = b"") -> None:
    answer = Answer(status=status, body=body)
    sandbox.s3_proxy.inject(Fault(path=path, answer=answer, times=None))


def fails(store: FailoverStore, kind: type[MirrorError], times: int = 1) -> MirrorError:
    """Let a listing fail so many times; return the last error."""
    for _ in range(times):
        with pytest.raises(kind) as caught:
            store.list_product(PREFIX)
    return caught.value


def the_file(store: FailoverStore) -> RemoteFile:
    (found,) = store.list_product(PREFIX).files
    return found


def test_an_endpoint_that_cannot_be_reached_is_left_at_once_and_not_asked_again(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard, NOWHERE, sandbox.s3_second_endpoint)
    assert b"".join(store.read(the_file(store))) == CONTENT
    assert store.target == StoreTarget(sandbox.s3_second_endpoint)
    ((target, why),) = heard.moves
    assert target == store.target
    assert NOWHERE in why


def test_an_endpoint_that_answers_nothing_but_5xx_is_left_when_it_cannot_list_either(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard)
    break_down(sandbox)
    assert store.list_product(PREFIX).files
    assert [target for target, _ in heard.moves] == [StoreTarget(sandbox.s3_second_endpoint)]


def test_a_gateway_that_is_restarted_is_not_left(sandbox: Sandbox, heard: Heard) -> None:
    store = by(sandbox, heard)
    sandbox.s3_proxy.inject(Fault(answer=Answer(status=503)))
    fails(store, StoreUnavailable)
    assert store.list_product(PREFIX).files
    assert heard.moves == []


def test_reads_that_all_fail_make_an_endpoint_left_when_it_cannot_list_either(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard)
    file = the_file(store)
    break_down(sandbox)
    with pytest.raises(StoreUnavailable, match="reading"):
        list(store.read(file))
    assert b"".join(store.read(file)) == CONTENT
    assert [target for target, _ in heard.moves] == [StoreTarget(sandbox.s3_second_endpoint)]


def test_one_object_that_always_fails_makes_nobody_leave(sandbox: Sandbox, heard: Heard) -> None:
    store = by(sandbox, heard)
    file = the_file(store)
    break_down(sandbox, path="MTD")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="reading"):
            list(store.read(file))
    assert heard.moves == []


def test_a_login_page_in_place_of_the_store_makes_it_left(sandbox: Sandbox, heard: Heard) -> None:
    store = by(sandbox, heard)
    break_down(sandbox, 200, body=b"<html>Please sign in</html>")
    assert store.list_product(PREFIX).files
    assert store.target.endpoint == sandbox.s3_second_endpoint


@pytest.mark.parametrize(("status", "kind"), [(429, StoreBusy), (412, StoreChanged)])
def test_an_answer_that_makes_sense_is_no_reason_to_leave(
    sandbox: Sandbox, heard: Heard, status: int, kind: type[MirrorError]
) -> None:
    store = by(sandbox, heard)
    break_down(sandbox, status)
    fails(store, kind, times=6)
    assert heard.moves == []


def test_when_no_endpoint_can_be_reached_each_is_named_and_all_are_tried_again(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard, NOWHERE, sandbox.s3_endpoint)
    break_down(sandbox)
    told = fails(store, StoreUnreachable)
    assert f"{NOWHERE} with key pair 1: " in str(told)
    assert "answered 503" in str(told)
    sandbox.s3_proxy.reset()
    assert store.list_product(PREFIX).files


def test_a_single_endpoint_that_is_down_says_so_in_its_own_words(
    sandbox: Sandbox, heard: Heard
) -> None:
    told = fails(by(sandbox, heard, NOWHERE), StoreUnreachable)
    assert str(told).startswith(f"listing {PREFIX}: {NOWHERE}: ")
    assert heard.moves == []


def test_a_single_endpoint_that_answers_nothing_but_5xx_is_no_products_fault(
    sandbox: Sandbox, heard: Heard
) -> None:
    break_down(sandbox)
    told = fails(by(sandbox, heard, sandbox.s3_endpoint), StoreUnreachable)
    assert "answered 503" in str(told)


def test_the_preferred_endpoint_is_taken_again_once_it_answers(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard, prefer_again_seconds=0.0)
    break_down(sandbox)
    for _ in range(3):
        assert store.list_product(PREFIX).files
        assert store.target.endpoint == sandbox.s3_second_endpoint, "it does not answer yet"
    sandbox.s3_proxy.reset()
    assert store.list_product(PREFIX).files
    assert [target.endpoint for target, _ in heard.moves] == [
        sandbox.s3_second_endpoint,
        sandbox.s3_endpoint,
    ]
    assert heard.moves[-1][1] == "it answers again"


def test_the_preferred_endpoint_is_left_alone_for_a_while(sandbox: Sandbox, heard: Heard) -> None:
    store = by(sandbox, heard, started_with=sandbox.s3_second_endpoint)
    asked = sandbox.s3_proxy.traffic.count()
    assert store.list_product(PREFIX).files
    assert sandbox.s3_proxy.traffic.count() == asked
    assert heard.moves == []


def test_an_endpoint_that_is_no_longer_configured_is_not_started_with(
    sandbox: Sandbox, heard: Heard
) -> None:
    assert by(sandbox, heard, started_with=NOWHERE).target.endpoint == sandbox.s3_endpoint


def test_the_second_key_pair_takes_over_when_the_first_is_refused(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard, keys=(WRONG, (sandbox.access_key, sandbox.secret_key)))
    assert b"".join(store.read(the_file(store))) == CONTENT
    ((target, why),) = heard.moves
    assert target == StoreTarget(sandbox.s3_endpoint, key=2)
    assert "InvalidAccessKeyId" in why


def test_when_both_key_pairs_are_refused_each_is_named_and_both_are_tried_again(
    sandbox: Sandbox, heard: Heard
) -> None:
    store = by(sandbox, heard, keys=(WRONG, (sandbox.access_key, "wrong")))
    for _ in range(2):
        told = str(fails(store, KeyRefused))
        assert "with key pair 1: " in told
        assert "InvalidAccessKeyId" in told
        assert "with key pair 2: " in told
        assert "SignatureDoesNotMatch" in told


def test_a_wrong_clock_is_no_reason_to_take_the_other_key(sandbox: Sandbox, heard: Heard) -> None:
    store = by(sandbox, heard, keys=((sandbox.access_key, sandbox.secret_key), WRONG))
    break_down(sandbox, 403, body=b"<Error><Code>RequestTimeTooSkewed</Code></Error>")
    assert type(fails(store, CredentialError)) is CredentialError
    assert heard.moves == []


def test_threads_that_meet_the_same_trouble_move_once(sandbox: Sandbox, heard: Heard) -> None:
    store = by(sandbox, heard, NOWHERE, sandbox.s3_second_endpoint)
    barrier = threading.Barrier(4)

    def listed(_: int) -> int:
        barrier.wait()
        return len(store.list_product(PREFIX).files)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(listed, range(4))) == [1] * 4
    assert [target for target, _ in heard.moves] == [StoreTarget(sandbox.s3_second_endpoint)]


def test_no_key_is_shown(sandbox: Sandbox) -> None:
    targets = StoreTargets(endpoints=(NOWHERE,), keys=((sandbox.access_key, sandbox.secret_key),))
    assert sandbox.access_key not in repr(targets)
    assert sandbox.secret_key not in repr(targets)
