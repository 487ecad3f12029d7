"""The page in a real browser: headless Chromium, with axe-core's rules of accessibility."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from installing import CannotInstall, cache_folder, ensure_packages
from kit import PATIENCE_SECONDS
from worlds import WORLDS, running

from s2mirror.adapters.ledger import ProductQuery
from s2mirror.web.pages import Pages
from s2mirror.web.views import Views

AXE: Final = "axe-core@4.14.1"
WIDTHS: Final = (400, 1100)
# The page itself has no script, and its policy forbids any: here, it is a frame without a policy.
RUN_AXE: Final = """
<script>{axe}</script>
<script>
axe.run(document, {{resultTypes: ["violations"]}}).then(found => parent.postMessage({{
  name: "{name}",
  passes: found.passes.length,
  violations: found.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 200)]),
  overflow: document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth,
  width: innerWidth,
  background: getComputedStyle(document.body).backgroundColor,
}}, "*"));
</script>
"""
COLLECT: Final = """<!doctype html><meta charset="utf-8"><title>waiting</title><script>
const found = [];
addEventListener("message", event => {{
  found.push(event.data);
  if (found.length === {count}) {{
    document.body.textContent = JSON.stringify(found);
    document.title = "done";
  }}
}});
</script><body>{frames}</body>"""


@pytest.fixture(scope="module")
def axe() -> str:
    """Return the source of axe-core, which npm installs."""
    folder = cache_folder() / "axe"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    try:
        ensure_packages(["chromium"])
        if not script.exists():
            ensure_packages([] if shutil.which("npm") else ["npm"])
            install = ["npm", "install", "--ignore-scripts", "--no-audit", "--prefix", folder, AXE]
            subprocess.run(install, check=True, capture_output=True, timeout=PATIENCE_SECONDS)
    except (CannotInstall, subprocess.CalledProcessError) as reason:
        if os.environ.get("S2MIRROR_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(reason))
    return script.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the front page of each world, and one page of an area and of a product."""
    found = {}
    for name, make in WORLDS.items():
        mirror = make(tmp_path_factory.mktemp(name))
        with running(mirror):
            views, templates = Views(), Pages()
            found[name] = templates.front(views.front(mirror))
            if name == "broken":
                [entry] = mirror.ledger.products.listed(ProductQuery(limit=1))
                area = mirror.areas[0].name
                found["area"] = templates.area(views.area(mirror, area))
                found["product"] = templates.product(views.product(mirror, entry.product.id))
    return found


def frame(name: str, text: str, axe: str, width: int) -> str:
    inner = text.replace("</body>", RUN_AXE.format(axe=axe, name=f"{name} {width}") + "</body>")
    return f'<iframe width="{width}" height="900" srcdoc="{html.escape(inner)}"></iframe>'


def examined(pages: dict[str, str], axe: str, folder: Path, *options: str) -> list[dict[str, Any]]:
    """Return what axe-core and the layout say of each page, at each width."""
    frames = [frame(name, text, axe, width) for name, text in pages.items() for width in WIDTHS]
    document = folder / "frames.html"
    document.write_text(COLLECT.format(count=len(frames), frames="".join(frames)), "utf-8")
    done = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,1000",
            f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=200000", "--dump-dom",
            *options, document.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert "<title>done</title>" in done.stdout, done.stderr[-2000:]
    body = re.search(r"<body>(.*)</body>", done.stdout, re.DOTALL)
    assert body
    found: list[dict[str, Any]] = json.loads(html.unescape(body[1]))
    return found


@pytest.mark.servers
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_accessible_at_every_width(
    theme: str, pages: dict[str, str], axe: str, tmp_path: Path
) -> None:
    dark = ["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []
    found = examined(pages, axe, tmp_path, *dark)
    assert len(found) == len(pages) * len(WIDTHS)
    for page in found:
        assert page["passes"] > 10, page["name"]
        assert [each for each in page["violations"] if each[0] != "minor"] == [], page["name"]
        assert page["overflow"] <= 0, page["name"]
        assert page["width"] in WIDTHS
    assert {page["background"] for page in found} == {
        "rgb(251, 251, 249)" if theme == "light" else "rgb(18, 23, 26)"
    }
