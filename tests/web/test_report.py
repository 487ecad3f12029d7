"""``report``: the page as one file."""

from pathlib import Path

import pytest
from web_kit import make_mirror

from s2mirror.cli.main import main


def test_report_replaces_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_mirror(tmp_path).ledger.close()
    out = tmp_path / "status.html"
    out.write_text("old")
    config = ["--config", str(tmp_path / "s2mirror.toml")]
    assert main(["report", "--html", str(out), *config]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.glob("*status.html*")] == ["status.html"]
    assert main(["report", "--html", str(tmp_path / "no" / "such.html"), *config]) == 2
