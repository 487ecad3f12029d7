"""Random damages to a mirror: ledger rows, foreign entries, links, permissions, product bytes."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

FOREIGN_FILES = (".DS_Store", "Thumbs.db", "._x", "desktop.ini", "note\n.txt", "\udcff.tmp")
FOREIGN_FOLDERS = ("@eaDir", "lost+found", "#recycle", ".Trash-1000", "a.SAFE")
_SKIPPED_TABLES = ("sqlite_", "_sqlite")


def flip_ledger_bit(root: Path, random: Random, table: str = "", column: str = "") -> str:
    """Flip one bit of one value in the ledger, as a failing disk does: no trigger runs."""
    with closing(sqlite3.connect(root / "s2mirror.sqlite", isolation_level=None)) as ledger:
        ledger.text_factory = bytes
        cell = _cell_in(ledger, table, column, random) if table else _any_cell(ledger, random)
        if cell is None:
            return ""
        changed = _flipped(cell.value, random)
        triggers = ledger.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        dropped = [(name.decode(), sql.decode()) for name, sql in triggers]
        for name, _ in dropped:
            ledger.execute(f'DROP TRIGGER "{name}"')
        ledger.execute("PRAGMA ignore_check_constraints = ON")
        outcome = f"{changed!r:.80}"
        try:
            ledger.execute(cell.update, (changed, *cell.row))
        except sqlite3.Error as error:
            outcome = f"refused by SQLite: {error}"
        for _, sql in dropped:
            ledger.execute(sql)
    return f"{cell.name}: {cell.value!r:.80} -> {outcome}"


@dataclass(frozen=True)
class _Cell:
    """One value of the ledger, and the statement that changes it."""

    name: str
    value: object
    update: str
    row: tuple[object, ...]


def ledger_columns(root: Path) -> list[tuple[str, str]]:
    """Return table and name of every column of the ledger."""
    with closing(sqlite3.connect(root / "s2mirror.sqlite")) as ledger:
        found = ledger.execute(
            "SELECT m.name, c.name FROM sqlite_master AS m, pragma_table_info(m.name) AS c"
            " WHERE m.type = 'table' ORDER BY 1, 2"
        )
        return [(table, column) for table, column in found if not table.startswith(_SKIPPED_TABLES)]


def _cell_in(ledger: sqlite3.Connection, table: str, column: str, random: Random) -> "_Cell | None":
    """Return a value of a column that is neither NULL nor empty; None if there is none."""
    names = [row[1].decode() for row in ledger.execute(f'PRAGMA table_info("{table}")')]
    at = names.index(column)
    rows = ledger.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - our own names
    filled = [row for row in rows if row[at] not in (None, b"")]
    return _cell(ledger, table, random.choice(filled), at) if filled else None


def _any_cell(ledger: sqlite3.Connection, random: Random) -> _Cell:
    """Return a value of any table that is neither NULL nor empty."""
    names = ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    tables = sorted(name.decode() for (name,) in names)
    while True:
        table = random.choice([name for name in tables if not name.startswith(_SKIPPED_TABLES)])
        rows = ledger.execute(f'SELECT * FROM "{table}"').fetchall()  # noqa: S608 - our own names
        row = random.choice(rows) if rows else ()
        full = [index for index, value in enumerate(row) if value not in (None, b"")]
        if full:
            return _cell(ledger, table, row, random.choice(full))


def _cell(ledger: sqlite3.Connection, table: str, row: tuple[object, ...], index: int) -> _Cell:
    info = ledger.execute(f'PRAGMA table_info("{table}")').fetchall()
    columns = [entry[1].decode() for entry in info]
    marks = ["CAST(? AS TEXT)" if entry[2] == b"TEXT" else "?" for entry in info]
    found = " AND ".join(
        f'"{column}" IS {mark}' for column, mark in zip(columns, marks, strict=True)
    )
    update = f'UPDATE "{table}" SET "{columns[index]}" = {marks[index]} WHERE {found}'  # noqa: S608
    return _Cell(f"{table}.{columns[index]}", row[index], update, row)


def _flipped(value: object, random: Random) -> object:
    if isinstance(value, int):
        return value ^ (1 << random.randrange(40))
    if isinstance(value, float):
        return value + random.choice([1e-9, 1.0, 1e300])
    assert isinstance(value, bytes)
    at = random.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << random.randrange(8))]) + value[at + 1 :]


def damage_ledger_path(root: Path, random: Random) -> str:
    """Give a product the path of one of its parents, of another product, or one outside."""
    with closing(sqlite3.connect(root / "s2mirror.sqlite")) as ledger, ledger:
        rows = ledger.execute("SELECT id, path FROM product WHERE path IS NOT NULL").fetchall()
        if not rows:
            return "no product has a path"
        product_id, path = random.choice(rows)
        parents = [str(parent) for parent in Path(path).parents]
        others = [other for _, other in rows if other != path]
        wrong = random.choice([*parents, *others, "/", "..", ".s2mirror", "catalog", f"{path}/.."])
        ledger.execute("UPDATE product SET path = ? WHERE id = ?", (wrong, product_id))
    return f"{product_id}: {path} -> {wrong}"


def add_foreign_file(root: Path, random: Random) -> str:
    folder = random.choice(_folders(root))
    path = folder / random.choice(FOREIGN_FILES)
    path.write_bytes(b"foreign")
    return repr(str(path.relative_to(root)))


def add_foreign_folder(root: Path, random: Random) -> str:
    path = random.choice(_folders(root)) / random.choice(FOREIGN_FOLDERS)
    path.mkdir(exist_ok=True)
    (path / "foreign").write_bytes(b"foreign")
    path.chmod(random.choice([0o755, 0o700, 0o000]))
    return repr(str(path.relative_to(root)))


def plant_link(root: Path, random: Random) -> str:
    """Put a link to a folder outside in a free place, or in place of an empty or moved folder."""
    outside = root / "outside"
    own = root / "archive/.s2mirror"
    new_ids = (root / "new_ids").read_text(encoding="utf-8").split()
    future = [root / "archive" / line for line in new_ids]
    targets = [
        *(future + [path.parent for path in future]),
        *(own / "staging" / f"{path.name}" for path in future),
        *(own / "staging" / f"{path.stem}.part" for path in future),
        *(own / name for name in ("trash", "staging", "quarantine")),
        *(own / "trash/20200101T000000Z_x", root / "archive/catalog", root / "archive/previews"),
        root / "s2mirror.sqlite.lock",
    ]
    path = random.choice(targets)
    kept = root / f"kept-{random.randrange(10**9)}"
    if path.is_dir() and not path.is_symlink():
        path.rename(kept)
    elif path.exists() or path.is_symlink():
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(random.choice([outside, outside / "file", root / "nothing"]))
    return f"{path.relative_to(root)} -> {path.readlink().name}"


def link_parent(root: Path, random: Random) -> str:
    """Move a folder of products outside, and put a link in its place."""
    days = sorted({path.parent for path in (root / "archive").glob("Sentinel-2/**/*.SAFE")})
    if not days:
        return "no folder of products"
    day = random.choice(days)
    kept = root / f"kept-{random.randrange(10**9)}"
    day.rename(kept)
    day.symlink_to(kept)
    return str(day.relative_to(root))


def change_mode(root: Path, random: Random) -> str:
    entries = sorted(path for path in (root / "archive").rglob("*") if not path.is_symlink())
    entries += [root / "s2mirror.sqlite", root / "archive"]
    folders = [path for path in entries if path.is_dir()]
    path = random.choice(random.choice([entries, folders]))
    mode = random.choice([0o000, 0o000, 0o111, 0o444, 0o500])
    path.chmod(mode)
    return f"{path.relative_to(root)}: {mode:03o}"


def flip_product_bit(root: Path, random: Random) -> str:
    path = random.choice(_product_files(root))
    content = bytearray(path.read_bytes())
    if not content:
        return f"{path.name} is empty"
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    _replace(path, bytes(content))
    return path.name


def cut_product_file(root: Path, random: Random) -> str:
    path = random.choice(_product_files(root))
    _replace(path, path.read_bytes()[: random.randrange(2000)])
    return path.name


def replace_entry(root: Path, random: Random) -> str:
    """Put a file where a folder of the mirror belongs, or a folder where a file belongs."""
    own = root / "archive/.s2mirror"
    names = ("trash", "staging", "quarantine")
    folder = own / random.choice(names)
    if folder.is_dir() and not folder.is_symlink():
        folder.rename(root / f"kept-{random.randrange(10**9)}")
    elif folder.is_symlink() or folder.exists():
        folder.unlink()
    folder.write_bytes(b"")
    return str(folder.relative_to(root))


DAMAGES: dict[str, Callable[[Path, Random], str]] = {
    function.__name__: function
    for function in (
        *(flip_ledger_bit, damage_ledger_path, add_foreign_file, add_foreign_folder),
        *(plant_link, link_parent, change_mode, flip_product_bit, cut_product_file),
        replace_entry,
    )
}


def _folders(root: Path) -> list[Path]:
    found = [path for path in (root / "archive").rglob("*") if _is_plain_folder(path)]
    return sorted([root / "archive", *found])


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _product_files(root: Path) -> list[Path]:
    files = (root / "archive").glob("Sentinel-2/**/*.SAFE/**/*")
    return sorted(path for path in files if path.is_file() and not path.is_symlink())


def _replace(path: Path, content: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(content)
