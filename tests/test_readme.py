from pathlib import Path

from s2mirror.lifecycle import TRANSITIONS

ROOT = Path(__file__).parent.parent


def test_the_readme_shows_the_life_of_a_product_as_the_code_has_it() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    table = {
        tuple(cell.strip() for cell in line.strip("|").split("|"))
        for line in lines[lines.index("| from | event | to |") + 2 :]
        if line.count("|") == 4
    }
    expected = {(str(state), str(event), str(to)) for (state, event), to in TRANSITIONS.items()}
    assert table == expected
