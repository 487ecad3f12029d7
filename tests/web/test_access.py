"""Who may read the page, and what every response says to a browser."""

import base64
from pathlib import Path

import pytest
from web_kit import TOKEN, make_mirror, page_of

PATHS = ["/", "/status.json", "/readyz", "/healthz", "/nothing"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_page_needs_its_token(tmp_path: Path) -> None:
    with page_of(make_mirror(tmp_path), token=TOKEN) as browser:
        for given in ("", f"Bearer {TOKEN}x", "Bearer", basic("", ""), "Basic !", f"Basic {TOKEN}"):
            refused = browser.get("/status.json", authorization=given)
            assert refused.status == 401, given
            assert refused.headers["www-authenticate"].startswith("Basic ")
        for given in (f"Bearer {TOKEN}", basic("anyone", TOKEN), basic("", TOKEN)):
            assert browser.get("/status.json", authorization=given).status == 200, given
        assert browser.get(f"/status.json?token={TOKEN}").status == 401
        assert browser.get("/healthz").status == 200
        assert browser.get("/readyz").status == 503


def test_foreign_host_names_are_refused(tmp_path: Path) -> None:
    with page_of(make_mirror(tmp_path)) as browser:
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765"):
            assert browser.get("/healthz", host=host).status == 421, host
        for host in ("127.0.0.1", "[::1]:8765", "LOCALHOST:1", "10.0.0.7", "mirror.example.org"):
            assert browser.get("/healthz", host=host).status == 200, host


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_page_is_read_only(tmp_path: Path, method: str) -> None:
    with page_of(make_mirror(tmp_path)) as browser:
        for path in PATHS:
            refused = browser.get(path, method)
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_every_response_forbids_scripts_and_frames(tmp_path: Path) -> None:
    with page_of(make_mirror(tmp_path)) as browser:
        for path in PATHS:
            answer = browser.get(path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert "<script" not in answer.text
