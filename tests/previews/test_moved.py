"""The Process API at its addresses of before and after March 2026, and the account's balance."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import Kit
from previews_kit import Clock, hub, request, tokens

from s2mirror.adapters.previews import HubOptions, account_balance
from s2mirror.adapters.previews.accounting import _numbers
from s2mirror.adapters.previews.process import WORKING_URLS, other_url
from s2mirror.errors import PreviewError
from s2mirror.sandbox import Answer, Fault, ProductSpec, Sandbox, make_item
from s2mirror.service.checkup import checkup
from s2mirror.stop import StopFlag

STOP = StopFlag()
NEW, OLD = "/process/v1", "/api/v1/process"
RENDERED = (
    '[[area]]\nname = "zurich"\nbbox = [8.45, 47.2, 8.85, 47.4]\nstart = 2020-01-01\n'
    'preview = "process"\n'
)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    WORKING_URLS.clear()
    yield
    WORKING_URLS.clear()


def paths(sandbox: Sandbox) -> list[str]:
    return [exchange.path for exchange in sandbox.process_proxy.traffic.matching()]


def gone(path: str, status: int) -> Fault:
    return Fault(path=f"^{path}$", answer=Answer(status=status), times=None)


@pytest.mark.parametrize("status", [404, 410])
@pytest.mark.parametrize(("configured", "works"), [(NEW, OLD), (OLD, NEW)])
def test_other_path_is_used_and_remembered(
    sandbox: Sandbox, tmp_path: Path, configured: str, works: str, status: int
) -> None:
    sandbox.publish(make_item(ProductSpec(tile="32TMT")))
    sandbox.process_proxy.inject(gone(configured, status))
    url = sandbox.process_url.replace(NEW, configured)
    for _ in range(2):
        assert hub(sandbox, tmp_path, url=url).render(request(), STOP).content
    assert paths(sandbox) == [configured, works, works]
    sandbox.process_proxy.faults.clear()
    sandbox.process_proxy.inject(gone(works, status))
    assert hub(sandbox, tmp_path, url=url).render(request(), STOP).content


def test_error_names_both_paths_when_neither_exists(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.process_proxy.inject(gone(NEW, 404), gone(OLD, 410))
    with pytest.raises(PreviewError) as caught:
        hub(sandbox, tmp_path).render(request(), STOP)
    old = sandbox.process_url.replace(NEW, OLD)
    assert str(caught.value) == (
        f"requesting a preview from {sandbox.process_url}: it answered 404, and {old}, the other "
        "address of this API, does not exist either; check endpoints.process_url"
    )
    assert paths(sandbox) == [NEW, OLD]


def test_address_of_another_form_has_no_other() -> None:
    assert other_url("https://hub.example/render") is None
    assert other_url("https://hub.example/process/v1/") == "https://hub.example/api/v1/process"


def check_of_previews(kit: Kit) -> str:
    """Return the result of the check of previews."""
    kit.areas = RENDERED
    checks = checkup(kit.mirror().settings, timedelta(minutes=5))
    return next(check.detail for check in checks if check.name == "previews")


@pytest.mark.long
def test_check_shows_balance_or_own_count(kit: Kit) -> None:
    kit.sandbox.process.units_left = 1234.5
    balance = "remaining.requests 10,000, remaining.processingUnits 1,234.5"
    assert balance in check_of_previews(kit)
    for status in (403, 404, 500):
        kit.sandbox.process_proxy.faults.clear()
        kit.sandbox.process_proxy.inject(Fault(answer=Answer(status=status), times=None))
        assert "s2mirror counted 0 requests and 0.00 units" in check_of_previews(kit)


ODD = {
    "text": b"soon",
    "a list": b"[1, 2]",
    "no numbers": b'{"a": "1", "b": null, "c": true}',
    "huge": b'{"a": "' + b"x" * 100_000 + b'"}',
    "deep": b'{"a":' * 50 + b"1" + b"}" * 50,
}


@pytest.mark.parametrize("body", ODD.values(), ids=ODD)
def test_odd_balance_is_no_balance(sandbox: Sandbox, body: bytes) -> None:
    sandbox.process_proxy.inject(Fault(answer=Answer(status=200, body=body), times=None))
    options = HubOptions(url=sandbox.process_url, ca_file=sandbox.ca_file)
    assert account_balance(options, "token") == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@settings(max_examples=15)
@given(JSON)
def test_any_balance_is_printable_numbers(document: object) -> None:
    for name, number in _numbers(json.loads(json.dumps(document))):
        assert name.isprintable()
        assert abs(number) < 1e12


@pytest.mark.parametrize(("lifetime_seconds", "issued"), [(600, 7), (1800, 3)])
def test_told_lifetime_of_token_is_used(
    sandbox: Sandbox, tmp_path: Path, lifetime_seconds: int, issued: int
) -> None:
    sandbox.identity.expires_in_seconds = lifetime_seconds
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    for _ in range(360):
        source.token(STOP)
        clock.turn(seconds=10)
    # Each is renewed 60 s before its end: 3600 / 540 and 3600 / 1740, rounded up.
    assert len(sandbox.identity.issued) == issued
