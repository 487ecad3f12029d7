"""One token at a time: shared by threads and commands, renewed early, refused with a reason."""

import gzip
import json
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hostile_server import HostileServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit import PATIENCE_SECONDS
from previews_kit import Clock, Hurried, options, tokens

from s2mirror.errors import CredentialError, LedgerError, Stopped, TokenError, TokenUnavailable
from s2mirror.sandbox import Answer, Fault, Sandbox
from s2mirror.stop import StopFlag

STOP = StopFlag()
DASHBOARD = "https://shapps.dataspace.copernicus.eu/dashboard"


def asked(sandbox: Sandbox) -> int:
    return sandbox.identity_proxy.traffic.count()


def test_twenty_threads_share_one_token(sandbox: Sandbox, tmp_path: Path) -> None:
    source, gate = tokens(sandbox, tmp_path), threading.Barrier(20)

    def ask(_: int) -> str:
        gate.wait()
        return source.token(STOP)

    with ThreadPoolExecutor(20) as pool:
        got = set(pool.map(ask, range(20)))
    assert got == set(sandbox.identity.issued)
    assert len(got) == 1
    assert asked(sandbox) == 1


CHILD = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from s2mirror.adapters.tokens import ClientTokens, TokenOptions
from s2mirror.stop import StopFlag
url, client, secret, cache, ca = sys.argv[1:]
source = ClientTokens(TokenOptions(url=url, client_id=client, client_secret=secret,
                                   cache_file=Path(cache), ca_file=Path(ca)))
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(20) as pool:
    print(*set(pool.map(lambda _: source.token(StopFlag()), range(20))))
"""


@pytest.mark.long
def test_three_processes_share_one_token(sandbox: Sandbox, tmp_path: Path) -> None:
    of = options(sandbox, tmp_path)
    words = [of.url, of.client_id, of.client_secret, str(of.cache_file), str(of.ca_file)]
    command = [sys.executable, "-c", CHILD, *words]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    said = {child.communicate(timeout=PATIENCE_SECONDS)[0].strip() for child in children}
    assert said == set(sandbox.identity.issued)
    assert len(sandbox.identity.issued) == 1


def test_next_command_uses_the_cached_token(sandbox: Sandbox, tmp_path: Path) -> None:
    assert tokens(sandbox, tmp_path).token(STOP) == tokens(sandbox, tmp_path).token(STOP)
    assert asked(sandbox) == 1


def test_token_is_renewed_a_minute_before_expiry(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    first = source.token(STOP)
    clock.turn(seconds=539)
    assert source.token(STOP) == first
    clock.turn(seconds=1)
    assert source.token(STOP) != first
    assert len(sandbox.identity.issued) == 2


def test_short_lived_token_is_used_half_its_lifetime(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    sandbox.identity.expires_in_seconds = 40
    first = source.token(STOP)
    clock.turn(seconds=19)
    assert source.token(STOP) == first
    clock.turn(seconds=1)
    assert source.token(STOP) != first


def test_jwt_expiry_limits_expires_in(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    sandbox.identity.claims["expires_in"] = 86_400
    first = source.token(STOP)
    clock.turn(seconds=540)
    assert source.token(STOP) != first


@pytest.mark.parametrize("skew_hours", [-30, -0.1, 30])
def test_clock_skew_does_not_change_the_lifetime(
    sandbox: Sandbox, tmp_path: Path, skew_hours: float
) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    theirs = Clock(clock.moment + timedelta(hours=skew_hours))
    sandbox.identity.clock = theirs.seconds
    first = source.token(STOP)
    clock.turn(seconds=539)
    assert source.token(STOP) == first
    clock.turn(seconds=1)
    theirs.turn(seconds=540)
    assert source.token(STOP) != first


def test_token_from_the_future_is_not_used(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = Clock()
    first = tokens(sandbox, tmp_path, clock).token(STOP)
    clock.turn(days=-1)
    assert tokens(sandbox, tmp_path, clock).token(STOP) != first


def test_refused_token_is_never_returned_again(sandbox: Sandbox, tmp_path: Path) -> None:
    mine, theirs = tokens(sandbox, tmp_path), tokens(sandbox, tmp_path)
    first = mine.token(STOP)
    assert theirs.token(STOP) == first
    mine.refuse(first)
    second = mine.token(STOP)
    theirs.refuse(first)
    assert theirs.token(STOP) == second != first
    assert len(sandbox.identity.issued) == 2


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"client_id": "sh-nobody"}, "the client id (S2MIRROR_CLIENT_ID) is unknown"),
        ({"client_secret": "planted-wrong"}, "the client secret (S2MIRROR_CLIENT_SECRET) is wrong"),
    ],
)
@pytest.mark.parametrize("in_body", [True, False])
def test_refusal_names_credential_and_dashboard(
    sandbox: Sandbox, tmp_path: Path, wrong: dict[str, str], advice: str, *, in_body: bool
) -> None:
    source = tokens(sandbox, tmp_path, in_body=in_body, **wrong)
    with pytest.raises(CredentialError) as caught:
        source.token(STOP)
    assert advice in str(caught.value)
    assert f"create a new one at {DASHBOARD}" in str(caught.value)
    assert not caught.value.transient
    assert "planted-wrong" not in str(caught.value)


@pytest.mark.parametrize("in_body", [True, False])
def test_client_authenticates_by_body_or_basic_header(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_body: bool
) -> None:
    # Characters that a careless encoder would break.
    monkeypatch.setattr(sandbox.identity, "client_secret", "a+b c%/=ü")
    got = tokens(sandbox, tmp_path, in_body=in_body).token(STOP)
    assert sandbox.identity.is_valid(got)


def test_revoked_client_is_requested_once_a_minute(sandbox: Sandbox, tmp_path: Path) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    sandbox.identity.revoked = True
    for _ in range(20):
        with pytest.raises(CredentialError, match="has expired or was revoked"):
            source.token(STOP)
    assert asked(sandbox) == 1
    sandbox.identity.revoked = False
    clock.turn(seconds=61)
    assert sandbox.identity.is_valid(source.token(STOP))


def test_busy_endpoint_is_retried_after_its_delay(sandbox: Sandbox, tmp_path: Path) -> None:
    busy = Answer(status=429, headers={"Retry-After": "7"}, body=b'{"error":"rate"}')
    sandbox.identity_proxy.inject(Fault(answer=busy, times=2))
    stop = Hurried()
    assert tokens(sandbox, tmp_path).token(stop)
    assert stop.waits == [7.0, 7.0]


def test_retry_after_of_an_hour_is_respected(sandbox: Sandbox, tmp_path: Path) -> None:
    clock, stop = Clock(), Hurried()
    source = tokens(sandbox, tmp_path, clock)
    busy = Answer(status=429, headers={"Retry-After": "3600"})
    sandbox.identity_proxy.inject(Fault(answer=busy))
    for _ in range(5):
        with pytest.raises(TokenUnavailable, match="answered 429; will be tried again"):
            source.token(stop)
        clock.turn(minutes=10)
    assert (asked(sandbox), stop.waits) == (1, [])
    clock.turn(minutes=10)
    assert source.token(stop)


def test_server_error_is_reported_with_its_status(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.identity_proxy.inject(Fault(answer=Answer(status=503, body=b"<html>"), times=None))
    stop = Hurried()
    with pytest.raises(TokenUnavailable) as caught:
        tokens(sandbox, tmp_path).token(stop)
    assert str(caught.value) == (
        f"requesting a token from {sandbox.token_url}: it answered 503; will be tried again"
    )
    assert asked(sandbox) == 5
    assert stop.waits == sorted(stop.waits)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(status=404), TokenError, "this is not a token endpoint. Check endpoints.token_url"),
        (
            Answer(status=302, headers={"Location": "https://localhost:1/"}),
            TokenError,
            "which is not followed: this request is never redirected",
        ),
        (
            Answer(status=200, body=b"<html>log in</html>"),
            TokenUnavailable,
            "a login page of a proxy?",
        ),
        (
            Answer(status=200, body=b'{"access_token":"a b\\r\\nX: y"}'),
            TokenError,
            "no access_token",
        ),
        (Answer(status=400, body=b"[]"), CredentialError, "endpoints.token_url are wrong"),
    ],
    ids=["404", "a redirect", "a login page", "a token that breaks headers", "400"],
)
def test_response_without_token_is_never_accepted(
    sandbox: Sandbox, tmp_path: Path, answer: Answer, kind: type[Exception], words: str
) -> None:
    sandbox.identity_proxy.inject(Fault(answer=answer, times=None))
    with pytest.raises(kind) as caught:
        tokens(sandbox, tmp_path).token(Hurried())
    assert words in str(caught.value)


def test_slow_token_ends_at_the_deadline(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.identity_proxy.inject(Fault(bytes_per_second=100, times=None))
    source = tokens(sandbox, tmp_path, timeout_seconds=0.5)
    with pytest.raises(TokenUnavailable, match="was not complete within 1 s"):
        source.token(STOP)
    with pytest.raises(TokenUnavailable):
        source.token(STOP)
    assert asked(sandbox) == 1, "the endpoint is asked again after a minute only"


ODD_TOKENS = {
    "a bomb": gzip.compress(bytes(1024**2)),
    "deep JSON": gzip.compress(b'{"access_token":' * 100_000),
    "an infinite lifetime": gzip.compress(b'{"access_token": "a", "expires_in": Infinity}'),
    "a lifetime of 5000 digits": gzip.compress(
        b'{"access_token": "a", "expires_in": %s}' % (b"1" * 5000)
    ),
}


@pytest.mark.parametrize("body", ODD_TOKENS.values(), ids=ODD_TOKENS)
def test_odd_response_is_a_token_or_its_error(
    sandbox: Sandbox, tmp_path: Path, body: bytes
) -> None:
    answer = Answer(status=200, headers={"Content-Encoding": "gzip"}, body=body)
    sandbox.identity_proxy.inject(Fault(answer=answer, times=None))
    with suppress(TokenError):
        assert tokens(sandbox, tmp_path).token(Hurried()) == "a"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
FIELDS = ("access_token", "expires_in", "token_type", "error", "error_description")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    document=JSON | st.dictionaries(st.sampled_from(FIELDS), JSON | st.just("a")),
    status=st.sampled_from([200, 200, 400, 401]),
)
def test_any_json_is_a_token_or_its_error(
    sandbox: Sandbox, tmp_path: Path, document: object, status: int
) -> None:
    answer = Answer(status=status, body=json.dumps(document).encode())
    sandbox.identity_proxy.inject(Fault(answer=answer))
    with suppress(TokenError, CredentialError), TemporaryDirectory(dir=tmp_path) as folder:
        assert tokens(sandbox, Path(folder), tries=1).token(Hurried())


def test_redirect_of_a_token_request_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    with HostileServer().running() as elsewhere:
        moved = Answer(status=307, headers={"Location": elsewhere.url})
        sandbox.identity_proxy.inject(Fault(answer=moved, times=None))
        with pytest.raises(TokenError, match=f"redirects to {elsewhere.url}, which is not"):
            tokens(sandbox, tmp_path).token(Hurried())
    assert elsewhere.requests == []


def test_repeated_secret_is_masked_in_the_error(sandbox: Sandbox, tmp_path: Path) -> None:
    said = json.dumps({"error": "x", "error_description": f"not {sandbox.client_secret}!"})
    sandbox.identity_proxy.inject(Fault(answer=Answer(status=401, body=said.encode())))
    with pytest.raises(CredentialError) as caught:
        tokens(sandbox, tmp_path).token(STOP)
    assert sandbox.client_secret not in str(caught.value)
    assert "(x not ********!)" in str(caught.value)


def test_unknown_authority_error_names_ca_file(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(TokenError, match=r"set network\.ca_file") as caught:
        tokens(sandbox, tmp_path, ca_file=None).token(STOP)
    assert not caught.value.transient


def test_token_file_is_private_without_credentials(sandbox: Sandbox, tmp_path: Path) -> None:
    tokens(sandbox, tmp_path).token(STOP)
    files = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert files == {"ledger.token": 0o600, "ledger.token.lock": 0o600}
    text = (tmp_path / "ledger.token").read_text()
    assert sandbox.client_id not in text
    assert sandbox.client_secret not in text


@pytest.mark.parametrize("harm", ["open", "damaged", "link", "foreign"])
def test_untrusted_token_file_is_replaced(sandbox: Sandbox, tmp_path: Path, harm: str) -> None:
    first = tokens(sandbox, tmp_path).token(STOP)
    path = tmp_path / "ledger.token"
    if harm == "open":
        path.chmod(0o644)
    elif harm == "damaged":
        path.write_text('{"owner": ["')
    elif harm == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text(path.read_text().replace('"owner": "', '"owner": "0'))
    second = tokens(sandbox, tmp_path).token(STOP)
    assert second != first
    assert path.stat(follow_symlinks=False).st_mode & 0o777 == 0o600
    assert tokens(sandbox, tmp_path).token(STOP) == second


def test_unwritable_folder_is_reported(sandbox: Sandbox, tmp_path: Path) -> None:
    source = tokens(sandbox, tmp_path, cache_file=tmp_path / "nowhere" / "token")
    with pytest.raises(LedgerError, match="storing the OAuth token in"):
        source.token(STOP)


def test_waiting_for_token_respects_stop_flag(sandbox: Sandbox, tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Stopped):
        tokens(sandbox, tmp_path).token(stop)
    assert asked(sandbox) == 0


def test_logs_and_reprs_show_no_secret(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = tokens(sandbox, tmp_path)
    got = source.token(STOP)
    seen = caplog.text + repr(source) + repr(options(sandbox, tmp_path)) + repr(vars(source))
    for secret in (got, sandbox.client_secret, sandbox.client_id):
        assert secret not in seen
