"""What watches every other test: that a planted secret is found wherever a mirror leaves it."""

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
def test_what_was_said_or_written_is_searched_and_no_secret_repeated(
    leaks: Leaks, tmp_path: Path, text: str
) -> None:
    (tmp_path / "ledger-wal").write_bytes(b"\0\1" + text.encode())
    leaks.look(f"key={text}", "the log")
    found = leaks.harvest()
    what = "an access token" if text == TOKEN else "S2MIRROR_S3_SECRET_KEY_2"
    places = ("the log", tmp_path / "ledger-wal")
    assert found == [f"{what} can be read in {place}" for place in places]
    assert leaks.harvest() == []


def test_products_token_files_and_the_tests_own_secret_files_may_hold_them(
    leaks: Leaks, tmp_path: Path
) -> None:
    leaks.plant({"S2MIRROR_S3_SECRET_KEY_FILE": str(tmp_path / "key")})
    product = tmp_path / "archive/X.SAFE"
    product.mkdir(parents=True)
    for path in (tmp_path / "key", tmp_path / "ledger.token", product / "band.jp2"):
        path.write_text(SECRET + TOKEN)
    leaks.look("ACCESSKEY", "the log")
    assert leaks.harvest() == []
