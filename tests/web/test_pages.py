"""The pages of mirrors in several conditions: complete, escaped, small, and without links out."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from builders import NOW, overwrite
from hypothesis import given
from hypothesis import strategies as st
from web_kit import Browser, make_mirror, page_of
from worlds import ALPS, WORLDS, busy, passes, record

from s2mirror.model import Rejected
from s2mirror.service.health import Problems
from s2mirror.web.pages import Pages
from s2mirror.web.views import Views

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"


class Elements(HTMLParser):
    """Collects the elements of a page, and the addresses that it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.attributes: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.addresses += [str(value) for name, value in attrs if name in ("href", "src")]
        self.ids += [str(value) for name, value in attrs if name == "id"]


def assert_harmless(text: str) -> None:
    """Assert that a page has no script, no handler of events and no address elsewhere."""
    page = Elements(text)
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert not {name for name in page.attributes if name.startswith("on")}
    elsewhere = [each for each in page.addresses if not each.startswith(("/", "#", "data:,"))]
    assert elsewhere == []
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.long
@pytest.mark.parametrize("world", ["empty", "busy", "broken"])
def test_every_linked_page_exists(tmp_path: Path, world: str) -> None:
    with page_of(WORLDS[world](tmp_path)) as browser:
        front = browser.get("/")
        assert_harmless(front.text)
        for address in sorted(set(Elements(front.text).addresses)):
            if address.startswith("/"):
                found = browser.get(address)
                assert found.status == 200, address
                if "html" in found.headers["content-type"]:
                    assert_harmless(found.text)


def test_hostile_texts_are_shown_as_text(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    [product, *_] = passes(ALPS[:1], 1)
    record(mirror, {"lake": [product], EVIL: [product]})
    overwrite(
        mirror.ledger,
        "state = 'quarantined', reason = :evil, tile = :evil, platform = :evil, s3_prefix = :evil",
        evil=EVIL,
    )
    Problems(mirror.ledger, mirror.now).set("job", EVIL)
    mirror.ledger.cursors.reject(
        [Rejected(id=EVIL, collection=EVIL, reason=EVIL)], now=mirror.now()
    )
    with page_of(mirror) as browser:
        pages = [browser.get("/"), browser.get("/findings"), browser.get(f"/products/{product.id}")]
        pages.append(browser.get("/areas/lake"))
    for page in pages:
        assert page.status == 200
        assert_harmless(page.text)
        assert "alert(1)" in page.text


TEXT = st.one_of(
    st.text(max_size=60),
    st.sampled_from([EVIL, "..%2f..%2fetc/passwd", "%00", "a" * 5000, "\u202e", "lake", "-"]),
)
START = st.sampled_from(
    ["/", "/areas/", "/products/", "/findings", "/status.json", "/readyz", "/m"]
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Browser:
    with page_of(busy(tmp_path_factory.mktemp("fuzz"))) as found:
        yield found  # type: ignore[misc]  # a fixture


@pytest.mark.long
@given(start=START, path=TEXT, end=st.sampled_from(["", "/", "/preview", "/x"]), query=TEXT)
def test_no_request_crashes_or_is_reflected(
    browser: Browser, start: str, path: str, end: str, query: str
) -> None:
    answer = browser.get(f"{start}{path}{end}?x={query}&refresh={query}")
    assert answer.status in (200, 404)
    assert answer.status == 404 or start != "/products/" or path
    text = answer.text
    assert_harmless(text) if "html" in answer.headers["content-type"] else None
    assert EVIL not in text
    assert "content-security-policy" in answer.headers


@pytest.mark.long
def test_page_in_file_needs_no_server(tmp_path: Path) -> None:
    mirror = busy(tmp_path)
    text = Pages(in_file=True).front(Views().front(mirror))
    assert [each for each in Elements(text).addresses if each != "data:,"] == ["#main"]
    assert "Content-Security-Policy" in text


@pytest.mark.long
def test_rate_is_the_growth_since_the_last_look(tmp_path: Path) -> None:
    mirror, times = busy(tmp_path), iter([0.0, 0.0, 0.0, 10.0, 10.0, 10.0])
    views = Views(clock=lambda: next(times, 10.0))
    first = views.front(mirror).lists.moving[0]
    assert (first.staged_bytes, first.bytes_per_second) == (300_000, None)
    folder = mirror.archive.stage(first.entry.product.id).folder
    (folder / "manifest.safe").write_bytes(b"x" * 50_000)
    second = views.front(mirror).lists.moving[0]
    assert second.bytes_per_second == 5000.0


@pytest.mark.long
def test_newest_image_decides_the_colour_of_a_tile(tmp_path: Path) -> None:
    view = Views().front(busy(tmp_path))
    kinds = {tile.name: tile.kind for tile in view.map.tiles}
    assert kinds["32TMS"] == "f0"
    assert kinds["32TNT"] == "f1"
    assert kinds["32TMT"] == "f2"
    assert view.newest_at
    assert (NOW - view.newest_at).total_seconds() < 7200


@pytest.mark.long
def test_calendar_counts_each_product_once(tmp_path: Path) -> None:
    mirror = busy(tmp_path)
    shown = Views().front(mirror).calendar
    counts = mirror.ledger.products.counts()
    assert sum(shown.totals.values()) == sum(products for products, _ in counts.values())
    assert [row.tile for row in shown.rows] == sorted(ALPS)
    assert {mark.kind for row in shown.rows for mark in row.marks} == {"held", "waiting", "pruned"}


def test_map_shows_tiles_on_both_sides_of_antimeridian(tmp_path: Path) -> None:
    mirror = make_mirror(tmp_path)
    record(mirror, {"lake": [*passes(["01KAB", "60KXF"], 3)]})
    found = Views().front(mirror).map
    assert all(0 <= tile.x <= 960 for tile in found.tiles)
