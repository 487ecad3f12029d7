"""What each address of the page answers."""

import json
from pathlib import Path

from builders import ID, NOW, overwrite, product
from web_kit import make_mirror, page_of

from s2mirror.model import PINNED
from s2mirror.service.health import Problems


def test_readiness_follows_the_judgement(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    with page_of(mirror) as browser:
        assert browser.get("/readyz").status == 503
        status = json.loads(browser.get("/status.json").body)
    assert [found["code"] for found in status["judgement"]["findings"]] == ["daemon.never_ran"]


def test_liveness_follows_the_daemon(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    with page_of(mirror) as browser:
        assert browser.get("/healthz").status == 200
    with page_of(mirror, is_alive=lambda: False) as browser:
        assert browser.get("/healthz").status == 503


def test_front_page_shows_each_finding(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    Problems(mirror.ledger, mirror.now).set("fetch", "the store <b>refuses</b> the key")
    with page_of(mirror) as browser:
        text = browser.get("/").text
    assert "the store &lt;b&gt;refuses&lt;/b&gt; the key" in text
    assert "lake" in text


def test_area_page_names_mixed_baselines(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    found = [product("S2C_old", baseline="05.11"), product("S2C_new", baseline="05.12")]
    mirror.ledger.products.record(found, {p.id: ["lake"] for p in found}, priorities={}, now=NOW)
    with page_of(mirror) as browser:
        assert "Several baselines" not in browser.get("/areas/lake").text
    overwrite(mirror.ledger, "state = 'archived', path = 'L2A/' || id || '.SAFE'")
    with page_of(mirror) as browser:
        text = browser.get("/areas/lake").text
    assert "Several baselines of sentinel-2-l2a are held: 05.11 (1), 05.12 (1)." in text


def test_area_page_explains_requested_products(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    mirror.ledger.products.record([product()], {ID: [PINNED]}, priorities={}, now=NOW)
    with page_of(mirror) as browser:
        assert "s2mirror unpin" in browser.get(f"/areas/{PINNED}").text
