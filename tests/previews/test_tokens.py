"""One token at a time: shared by threads and commands, renewed early, refused with a reason."""

import json
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from kit import PATIENCE_SECONDS
from previews_kit import Clock, Hurried, options, tokens

from s2mirror.errors import CredentialError, LedgerError, Stopped, TokenError, TokenUnavailable
from s2mirror.sandbox import Answer, Fault, Sandbox
from s2mirror.stop import StopFlag

STOP = StopFlag()
DASHBOARD = "https://shapps.dataspace.copernicus.eu/dashboard"


def asked(sandbox: Sandbox) -> int:
    return sandbox.identity_proxy.traffic.count()


def test_twenty_threads_that_ask_at_once_get_one_token(sandbox: Sandbox, tmp_path: Path) -> None:
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


def test_three_processes_of_twenty_threads_that_ask_at_once_get_one_token(
    sandbox: Sandbox, tmp_path: Path
) -> None:
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


def test_the_next_command_uses_the_token_of_the_last_one(sandbox: Sandbox, tmp_path: Path) -> None:
    assert tokens(sandbox, tmp_path).token(STOP) == tokens(sandbox, tmp_path).token(STOP)
    assert asked(sandbox) == 1


def test_a_token_is_renewed_a_minute_before_its_end_and_not_sooner(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    first = source.token(STOP)
    clock.turn(seconds=539)
    assert source.token(STOP) == first
    clock.turn(seconds=1)
    assert source.token(STOP) != first
    assert len(sandbox.identity.issued) == 2


def test_a_token_that_lives_shorter_than_a_minute_serves_for_half_its_life(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    sandbox.identity.expires_in_seconds = 40
    first = source.token(STOP)
    clock.turn(seconds=19)
    assert source.token(STOP) == first
    clock.turn(seconds=1)
    assert source.token(STOP) != first


def test_the_jwt_has_the_last_word_when_expires_in_says_more(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    clock = Clock()
    source = tokens(sandbox, tmp_path, clock)
    sandbox.identity.claims["expires_in"] = 86_400
    first = source.token(STOP)
    clock.turn(seconds=540)
    assert source.token(STOP) != first


@pytest.mark.parametrize("skew_hours", [-30, -0.1, 30])
def test_a_clock_that_differs_from_the_servers_by_hours_changes_nothing(
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


def test_after_the_clock_was_set_back_no_old_token_is_trusted(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    clock = Clock()
    first = tokens(sandbox, tmp_path, clock).token(STOP)
    clock.turn(days=-1)
    assert tokens(sandbox, tmp_path, clock).token(STOP) != first


def test_a_token_that_a_service_refused_is_given_to_nobody_again(
    sandbox: Sandbox, tmp_path: Path
) -> None:
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
def test_a_refusal_says_which_credential_is_wrong_and_where_to_make_a_new_one(
    sandbox: Sandbox, tmp_path: Path, wrong: dict[str, str], advice: str, *, in_body: bool
) -> None:
    source = tokens(sandbox, tmp_path, in_body=in_body, **wrong)
    with pytest.raises(CredentialError) as caught:
        source.token(STOP)
    assert advice in str(caught.value)
    assert f"make a new one at {DASHBOARD}" in str(caught.value)
    assert not caught.value.transient
    assert "planted-wrong" not in str(caught.value)


@pytest.mark.parametrize("in_body", [True, False])
def test_the_client_may_say_who_it_is_in_the_form_or_by_basic_authentication(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, in_body: bool
) -> None:
    # What breaks careless encoders.
    monkeypatch.setattr(sandbox.identity, "client_secret", "a+b c%/=ü")
    got = tokens(sandbox, tmp_path, in_body=in_body).token(STOP)
    assert sandbox.identity.is_valid(got)


def test_a_revoked_client_is_not_asked_for_again_by_every_thread(
    sandbox: Sandbox, tmp_path: Path
) -> None:
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


def test_a_busy_endpoint_is_asked_again_after_as_long_as_it_says(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    busy = Answer(status=429, headers={"Retry-After": "7"}, body=b'{"error":"rate"}')
    sandbox.identity_proxy.inject(Fault(answer=busy, times=2))
    stop = Hurried()
    assert tokens(sandbox, tmp_path).token(stop)
    assert stop.waits == [7.0, 7.0]


def test_an_endpoint_that_wants_an_hour_gets_it(sandbox: Sandbox, tmp_path: Path) -> None:
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


def test_a_server_error_is_told_as_one_and_not_as_a_missing_token(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    sandbox.identity_proxy.inject(Fault(answer=Answer(status=503, body=b"<html>"), times=None))
    stop = Hurried()
    with pytest.raises(TokenUnavailable) as caught:
        tokens(sandbox, tmp_path).token(stop)
    assert str(caught.value) == (
        f"asking {sandbox.token_url} for a token: it answered 503; will be tried again"
    )
    assert asked(sandbox) == 5
    assert stop.waits == sorted(stop.waits)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer(status=404), TokenError, "this is no token endpoint. Check endpoints.token_url"),
        (
            Answer(status=302, headers={"Location": "https://localhost:1/"}),
            TokenError,
            "it answered 302",
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
def test_what_is_no_token_is_never_taken_for_one(
    sandbox: Sandbox, tmp_path: Path, answer: Answer, kind: type[Exception], words: str
) -> None:
    sandbox.identity_proxy.inject(Fault(answer=answer, times=None))
    with pytest.raises(kind) as caught:
        tokens(sandbox, tmp_path).token(Hurried())
    assert words in str(caught.value)


def test_an_endpoint_that_repeats_a_secret_is_not_quoted(sandbox: Sandbox, tmp_path: Path) -> None:
    said = json.dumps({"error": "x", "error_description": f"not {sandbox.client_secret}!"})
    sandbox.identity_proxy.inject(Fault(answer=Answer(status=401, body=said.encode())))
    with pytest.raises(CredentialError) as caught:
        tokens(sandbox, tmp_path).token(STOP)
    assert sandbox.client_secret not in str(caught.value)
    assert "(x not ********!)" in str(caught.value)


def test_an_unknown_authority_is_told_as_one(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(TokenError, match=r"set network\.ca_file") as caught:
        tokens(sandbox, tmp_path, ca_file=None).token(STOP)
    assert not caught.value.transient


def test_the_token_file_is_its_owners_alone_and_names_no_credential(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    tokens(sandbox, tmp_path).token(STOP)
    files = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert files == {"ledger.token": 0o600, "ledger.token.lock": 0o600}
    text = (tmp_path / "ledger.token").read_text()
    assert sandbox.client_id not in text
    assert sandbox.client_secret not in text


@pytest.mark.parametrize("harm", ["open", "damaged", "link", "foreign"])
def test_a_token_file_that_cannot_be_trusted_is_replaced(
    sandbox: Sandbox, tmp_path: Path, harm: str
) -> None:
    first = tokens(sandbox, tmp_path).token(STOP)
    path = tmp_path / "ledger.token"
    if harm == "open":
        path.chmod(0o644)
    elif harm == "damaged":
        path.write_text('{"whose": ["')
    elif harm == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text(path.read_text().replace('"whose": "', '"whose": "0'))
    second = tokens(sandbox, tmp_path).token(STOP)
    assert second != first
    assert path.stat(follow_symlinks=False).st_mode & 0o777 == 0o600
    assert tokens(sandbox, tmp_path).token(STOP) == second


def test_a_closed_folder_is_told(sandbox: Sandbox, tmp_path: Path) -> None:
    source = tokens(sandbox, tmp_path, cache_file=tmp_path / "nowhere" / "token")
    with pytest.raises(LedgerError, match="cannot keep the OAuth token in"):
        source.token(STOP)


def test_who_waits_for_a_token_stops_when_told_to(sandbox: Sandbox, tmp_path: Path) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(Stopped):
        tokens(sandbox, tmp_path).token(stop)
    assert asked(sandbox) == 0


def test_neither_secret_nor_token_is_seen_in_logs_and_reprs(
    sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = tokens(sandbox, tmp_path)
    got = source.token(STOP)
    seen = caplog.text + repr(source) + repr(options(sandbox, tmp_path)) + repr(vars(source))
    for secret in (got, sandbox.client_secret, sandbox.client_id):
        assert secret not in seen
