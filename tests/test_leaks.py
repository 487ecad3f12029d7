"""The search for secrets, which runs after every test, finds them."""

from pathlib import Path

import pytest
from leaks import Leaks

SECRET = "planted/secret+key"  # noqa: S105 - planted
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjE3MDAwMDAwMDB9.c2lnbmF0dXJlLW9mLWl0"  # noqa: S105 - made up


@pytest.fixture
def leaks(tmp_path: Path) -> Leaks:
    found = Leaks()
    found.plant({"S2MIRROR_S3_SECRET_KEY_2": SECRET, "S2MIRROR_S3_ACCESS_KEY": "ACCESSKEY"})
    found.watch(tmp_path)
    return found


@pytest.mark.parametrize("text", [SECRET, "planted%2Fsecret%2Bkey", TOKEN])
def test_secrets_in_output_and_files_are_found(leaks: Leaks, tmp_path: Path, text: str) -> None:
    (tmp_path / "ledger-wal").write_bytes(b"\0\1" + text.encode())
    leaks.look(f"key={text}", "the log")
    found = leaks.harvest()
    what = "an access token" if text == TOKEN else "S2MIRROR_S3_SECRET_KEY_2"
    places = ("the log", tmp_path / "ledger-wal")
    assert found == [f"{what} can be read in {place}" for place in places]
    assert leaks.harvest() == []


def test_products_tokens_and_secret_files_may_contain_secrets(leaks: Leaks, tmp_path: Path) -> None:
    leaks.plant({"S2MIRROR_S3_SECRET_KEY_FILE": str(tmp_path / "key")})
    product = tmp_path / "archive/X.SAFE"
    product.mkdir(parents=True)
    for path in (tmp_path / "key", tmp_path / "ledger.token", product / "band.jp2"):
        path.write_text(SECRET + TOKEN)
    leaks.look("ACCESSKEY", "the log")
    assert leaks.harvest() == []
