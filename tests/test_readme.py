from itertools import takewhile
from pathlib import Path

from s2mirror.lifecycle import TRANSITIONS

ROOT = Path(__file__).parent.parent


def test_life_table_in_docs_matches_lifecycle() -> None:
    lines = (ROOT / "docs" / "how-it-works.md").read_text().splitlines()
    rows = lines[lines.index("| from | event | to |") + 2 :]
    table = {
        tuple(cell.strip() for cell in row.strip("|").split("|"))
        for row in takewhile(lambda line: line.startswith("|"), rows)
    }
    expected = {(str(state), str(event), str(to)) for (state, event), to in TRANSITIONS.items()}
    assert table == expected
