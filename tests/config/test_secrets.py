"""Secrets are read from the environment, files or systemd, and are never printed."""

import re
from pathlib import Path

import pytest
from config_builders import ARCHIVE, AREA, faults, load
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from s2mirror.config import Secrets
from s2mirror.config.credentials import read_secrets
from s2mirror.errors import CredentialError

PRECIOUS = "hunter2-and-more"
ALONE = "expected a secret alone on one line; got {} (not shown)"


def secret_file(folder: Path, text: str, *, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def systemd(folder: Path, **credentials: str) -> dict[str, str]:
    room = folder / "credentials"
    room.mkdir()
    for name, text in credentials.items():
        (room / name).write_text(text)
    return {"CREDENTIALS_DIRECTORY": str(room)}


def secrets(folder: Path, environment: dict[str, str]) -> Secrets:
    return load(folder, ARCHIVE + AREA, environment).settings.secrets


def test_each_secret_has_its_variable(tmp_path: Path) -> None:
    found = secrets(
        tmp_path,
        {
            "S2MIRROR_S3_ACCESS_KEY": "a",
            "S2MIRROR_S3_SECRET_KEY": "b",
            "S2MIRROR_CLIENT_ID": "c",
            "S2MIRROR_CLIENT_SECRET": "d",
        },
    )
    assert found.require_s3() == (("a", "b"),)
    assert found.require_client() == ("c", "d")


def test_secret_file_is_read_without_line_end(tmp_path: Path) -> None:
    path = secret_file(tmp_path, f"{PRECIOUS}\r\n")
    found = secrets(tmp_path, {"S2MIRROR_S3_SECRET_KEY_FILE": str(path)})
    assert found.s3_secret_key.get_secret_value() == PRECIOUS


def test_systemd_credentials_are_found_by_their_names(tmp_path: Path) -> None:
    environment = systemd(tmp_path, **{"s3-access-key": "a\n", "s3-secret-key": "b\n"})
    assert secrets(tmp_path, environment).require_s3() == (("a", "b"),)


def test_a_variable_comes_before_systemd(tmp_path: Path) -> None:
    environment = systemd(tmp_path, **{"client-id": "theirs"}) | {"S2MIRROR_CLIENT_ID": "mine"}
    assert secrets(tmp_path, environment).client_id.get_secret_value() == "mine"


def test_a_file_comes_before_systemd(tmp_path: Path) -> None:
    path = secret_file(tmp_path, "mine")
    environment = systemd(tmp_path, **{"client-id": "theirs"}) | {
        "S2MIRROR_CLIENT_ID_FILE": str(path)
    }
    assert secrets(tmp_path, environment).client_id.get_secret_value() == "mine"


def test_variable_and_file_for_one_secret_conflict(tmp_path: Path) -> None:
    path = secret_file(tmp_path, PRECIOUS)
    environment = {
        "S2MIRROR_CLIENT_SECRET": PRECIOUS,
        "S2MIRROR_CLIENT_SECRET_FILE": str(path),
    }
    assert faults(tmp_path, ARCHIVE + AREA, environment) == [
        (
            "environment: S2MIRROR_CLIENT_SECRET: expected either this or "
            "S2MIRROR_CLIENT_SECRET_FILE; got both"
        )
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" \n", "expected a secret; got nothing"),
        (b"hunter2\nhunter3\n", ALONE.format("several lines")),
        (b"hunter2 hunter3", ALONE.format("a blank within it")),
        (b"hunter2\xc2\xa0hunter3", ALONE.format("a blank within it")),
        (b"hunter2\xe2\x80\x8bhunter3", ALONE.format("a character outside ASCII")),
        (b"hunter2\x07hunter3", ALONE.format("a control character")),
        (b'"hunter2', ALONE.format("a quotation mark")),
        (b"S3_SECRET_KEY=hunter2", ALONE.format("a NAME=value pair; give the value alone")),
        (b"\xff\xfe", "expected a secret; got nothing"),
        (b"\x80hunter2", "expected a file of text; got {path}, which is not UTF-8"),
    ],
)
def test_invalid_secret_file_is_refused_unshown(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    found = faults(tmp_path, ARCHIVE + AREA, {"S2MIRROR_S3_SECRET_KEY_FILE": str(path)})
    place = "environment: S2MIRROR_S3_SECRET_KEY_FILE"
    assert found == [f"{place}: {words.format(path='key')}"]


def test_an_empty_systemd_credential_is_a_fault(tmp_path: Path) -> None:
    assert faults(tmp_path, ARCHIVE + AREA, systemd(tmp_path, **{"client-id": ""})) == [
        "environment: CREDENTIALS_DIRECTORY/client-id: expected a secret; got nothing"
    ]


def test_readable_secret_file_is_used_with_note(tmp_path: Path) -> None:
    path = secret_file(tmp_path, PRECIOUS, mode=0o644)
    loaded = load(tmp_path, ARCHIVE + AREA, {"S2MIRROR_S3_SECRET_KEY_FILE": str(path)})
    assert loaded.notes == (
        f"S2MIRROR_S3_SECRET_KEY_FILE: {path} can be read by other users; chmod 600 {path}",
    )
    assert loaded.settings.secrets.s3_secret_key.get_secret_value() == PRECIOUS


def test_private_and_systemd_secrets_cause_no_note(tmp_path: Path) -> None:
    path = secret_file(tmp_path, PRECIOUS, mode=0o600)
    environment = systemd(tmp_path, **{"client-id": "x"}) | {
        "S2MIRROR_S3_SECRET_KEY_FILE": str(path)
    }
    assert load(tmp_path, ARCHIVE + AREA, environment).notes == ()


def test_no_secret_shows_when_settings_are_printed(tmp_path: Path) -> None:
    environment = {
        "S2MIRROR_S3_ACCESS_KEY": PRECIOUS,
        "S2MIRROR_S3_SECRET_KEY": PRECIOUS,
        "S2MIRROR_CLIENT_ID": PRECIOUS,
        "S2MIRROR_CLIENT_SECRET": PRECIOUS,
    }
    loaded = load(tmp_path, ARCHIVE + AREA, environment)
    printed = f"{loaded!r} {loaded} {loaded.settings} {loaded.settings.secrets!r}"
    assert PRECIOUS not in printed + loaded.settings.model_dump_json(exclude={"area"})


@pytest.mark.parametrize(
    "text",
    [
        '[store]\nsecret_key = "{}"\n',
        '[secrets]\nx = "{}"\n',
        '[secrets.deep]\nclient_id = ["{}"]\n',
        '[catalog]\nurl = "https://me:{}@example.org"\n',
        '[catalog]\nurl = "me:{}@example.org"\n',
        '[[store]]\npassword = "{}"\n',
        'token = "{}"\n',
    ],
)
def test_secret_in_configuration_is_refused_unshown(tmp_path: Path, text: str) -> None:
    found = faults(tmp_path, text.format(PRECIOUS) + ARCHIVE + AREA)
    assert found
    assert PRECIOUS not in " ".join(found)


def test_missing_keys_are_reported_when_needed(
    tmp_path: Path,
) -> None:
    found = secrets(tmp_path, {"S2MIRROR_S3_ACCESS_KEY": "a"})
    with pytest.raises(CredentialError) as caught:
        found.require_s3()
    assert str(caught.value) == (
        "no s3 secret key given: set S2MIRROR_S3_SECRET_KEY, or S2MIRROR_S3_SECRET_KEY_FILE to "
        "the path of a file that contains it, or the systemd credential s3-secret-key; "
        "create one at https://eodata-s3keysmanager.dataspace.copernicus.eu"
    )


def test_without_any_client_both_halves_are_named() -> None:
    with pytest.raises(CredentialError) as caught:
        Secrets().require_client()
    assert str(caught.value) == (
        "no client id and no client secret given: set S2MIRROR_CLIENT_ID and "
        "S2MIRROR_CLIENT_SECRET, or S2MIRROR_CLIENT_ID_FILE and S2MIRROR_CLIENT_SECRET_FILE to "
        "the path of a file that contains it, or the systemd credential client-id and "
        "client-secret; create one at https://shapps.dataspace.copernicus.eu/dashboard"
    )


def test_half_a_second_key_pair_is_refused(tmp_path: Path) -> None:
    first = {"S2MIRROR_S3_ACCESS_KEY": "a", "S2MIRROR_S3_SECRET_KEY": "b"}
    half = first | {"S2MIRROR_S3_ACCESS_KEY_2": "c"}
    with pytest.raises(CredentialError, match="set S2MIRROR_S3_SECRET_KEY_2"):
        secrets(tmp_path, half).require_s3()
    whole = half | {"S2MIRROR_S3_SECRET_KEY_2": "d"}
    assert secrets(tmp_path, whole).require_s3() == (("a", "b"), ("c", "d"))


def test_the_second_pair_comes_from_systemd_too(tmp_path: Path) -> None:
    names = ("s3-access-key", "s3-secret-key", "s3-access-key-2", "s3-secret-key-2")
    found = secrets(tmp_path, systemd(tmp_path, **dict(zip(names, "abcd", strict=True))))
    assert found.require_s3() == (("a", "b"), ("c", "d"))


BLANKS = st.text(st.sampled_from(" \t\r\n\u00a0\ufeff\u200b"), max_size=4)
KEYS = st.text(st.sampled_from("ABCdef019+/=-_"), min_size=1, max_size=40).filter(
    lambda key: not re.match(r"[A-Z0-9]+_[A-Z0-9_]+=", key)
)


@given(KEYS, BLANKS, BLANKS, st.sampled_from(["{}", '"{}"', "'{}'", "\u201c{}\u201d", '" {} "']))
def test_pasted_secrets_are_cleaned(key: str, before: str, after: str, form: str) -> None:
    pasted = before + form.format(key) + after
    reading = read_secrets({"S2MIRROR_S3_SECRET_KEY": pasted})
    assert reading.faults == ()
    assert reading.secrets.s3_secret_key == SecretStr(key)


@given(st.text(min_size=1))
def test_no_fault_shows_a_secret(text: str) -> None:
    reading = read_secrets({"S2MIRROR_S3_SECRET_KEY": f"hunter2{text}hunter3"})
    assert not any("hunter" in fault.message("environment") for fault in reading.faults)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_secret_file_may_have_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    path = secret_file(tmp_path, "")
    path.write_bytes(f"{PRECIOUS}\r\n".encode(encoding))
    found = secrets(tmp_path, {"S2MIRROR_S3_SECRET_KEY_FILE": str(path)})
    assert found.s3_secret_key == SecretStr(PRECIOUS)


@pytest.mark.parametrize("blank", ["", " \n", '""'])
def test_blank_second_key_pair_counts_as_absent(tmp_path: Path, blank: str) -> None:
    pair = {"S2MIRROR_S3_ACCESS_KEY": "a", "S2MIRROR_S3_SECRET_KEY": "b"}
    second = {"S2MIRROR_S3_ACCESS_KEY_2": blank, "S2MIRROR_S3_SECRET_KEY_2": blank}
    assert secrets(tmp_path, pair | second).require_s3() == (("a", "b"),)


def test_blank_half_of_second_key_pair_is_refused(tmp_path: Path) -> None:
    second = {"S2MIRROR_S3_ACCESS_KEY_2": "c", "S2MIRROR_S3_SECRET_KEY_2": ""}
    assert faults(tmp_path, ARCHIVE + AREA, second) == [
        "environment: S2MIRROR_S3_SECRET_KEY_2: expected a secret; got nothing"
    ]


def test_client_secret_may_hold_quotation_marks(tmp_path: Path) -> None:
    found = secrets(tmp_path, {"S2MIRROR_CLIENT_SECRET": "ab'c\"d"})
    assert found.client_secret == SecretStr("ab'c\"d")


def test_alert_urls_are_one_per_line(tmp_path: Path) -> None:
    text = "# mail\nmailtos://me:word@example.org\n\n  ntfy://topic  \r\n"
    found = secrets(tmp_path, {"S2MIRROR_ALERT_URLS_FILE": str(secret_file(tmp_path, text))})
    assert found.alert_url_list == ("mailtos://me:word@example.org", "ntfy://topic")
    assert "word" not in repr(found)


@pytest.mark.parametrize("text", [f"no url {PRECIOUS}", f"json://{PRECIOUS} b", "# none"])
def test_alert_urls_refused_without_quoting(text: str) -> None:
    reading = read_secrets({"S2MIRROR_ALERT_URLS": text})
    (fault,) = reading.faults
    assert "per line" in str(fault)
    assert PRECIOUS not in str(fault)
