"""Another user of the group reads everything that the mirror writes, and changes nothing."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from kit import PATIENCE_SECONDS, Kit, tiny, wait_until

from s2mirror.sandbox import Sandbox

GROUP, READER, STRANGERS = 64_100, 64_102, 64_104
"""Numbers of a group, a user and another group that no machine gives to people."""
SOME = (("list",), ("status",), ("export", "csv"))
ALL = (
    *SOME,
    *(("log",), ("forecast",), ("metrics",), ("health",), ("audit",)),
    ("export", "stac", "--out", "{out}/stac"),
    ("export", "geoparquet", "--out", "{out}/parquet"),
    ("report", "--html", "{out}/page.html"),
)
READ = """
import contextlib, io, json, os, sys
from pathlib import Path
from s2mirror import Mirror
from s2mirror.cli.main import main
warm, config, out, user, group, commands = json.loads(sys.argv[1])

def said(words, config, out):
    "Run a command; return its exit code and what it printed."
    text, error = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.redirect_stderr(error):
        code = main([*(word.format(out=out) for word in words), "--config", config])
        text.flush()
    return code, text.buffer.getvalue().decode(), error.getvalue()

def read_all(config):
    "Read every file of the archive; return the products."
    with Mirror(config) as mirror:
        found = [item.id for item in mirror.items()]
        for item in mirror.items():
            for asset in item.assets.values():
                assert Path(asset.href).read_bytes()
        for path in mirror.root.rglob("*"):
            assert not path.is_file() or path.read_bytes() is not None
    return found

# Once as root on a copy: another user may not find the modules that commands import late.
for words in commands:
    said(words, warm, out + "/warm")
read_all(warm)
os.setgroups([]); os.setgid(group); os.setuid(user); os.umask(0o077)
answers = [said(words, config, out) for words in commands]
try:
    products = read_all(config)
except Exception as error:
    products = str(error)
print(json.dumps([answers, products]))
"""
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root to act as another user"),
]


class SharedMirror:
    """A mirror whose files a group may read and other users may not."""

    def __init__(self, folder: Path, kit: Kit) -> None:
        self.folder = folder
        self.kit = kit
        self.home = folder / "home"
        folder.chmod(0o755)
        self.home.mkdir(mode=0o750)
        (folder / "out").mkdir(mode=0o700)
        os.chown(folder / "out", READER, GROUP)
        shutil.copy(kit.sandbox.ca_file, ca_file := folder / "ca.pem")
        ca_file.chmod(0o644)
        self.config = self.home / "s2mirror.toml"
        self.config.write_text(kit.toml().replace(str(kit.sandbox.ca_file), str(ca_file)))
        self.config.chmod(0o640)
        for path in (self.home, self.config):
            os.chown(path, -1, GROUP)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command as the mirror's user, with a umask that would exclude the group."""
        return subprocess.Popen(
            [sys.executable, "-m", "s2mirror", *words, "--config", str(self.config)],
            group=GROUP, umask=0o077, env=self.kit.environment(), text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def read(
        self, commands: tuple[tuple[str, ...], ...], group: int = GROUP
    ) -> tuple[list[tuple[int, str, str]], Any]:
        """Return what each command says to another user, and the products that Python reads."""
        warm = self.folder / "warm"
        shutil.copytree(self.home, warm)
        names = [str(path) for path in (warm / self.config.name, self.config, self.folder / "out")]
        values = json.dumps([*names, READER, group, commands])
        done = subprocess.run(
            [sys.executable, "-c", READ, values], env={"PATH": os.environ["PATH"]}, text=True,
            capture_output=True, timeout=PATIENCE_SECONDS, check=False, cwd=self.folder / "out",
        )  # fmt: skip
        shutil.rmtree(warm)
        assert done.returncode == 0, done.stderr
        answers, products = json.loads(done.stdout.splitlines()[-1])
        return answers, products

    def assert_readable(self, commands: tuple[tuple[str, ...], ...] = SOME) -> None:
        """Assert that a member of the group can use commands that read, and every file."""
        before = self.files()
        answers, products = self.read(commands)
        for words, (code, out, err) in zip(commands, answers, strict=True):
            assert code in (0, 1), (words, err)
            assert out or "{out}" in words[-1], (words, err)
            assert not any(text in err for text in ("ermission", "readonly", "Traceback")), err
        assert isinstance(products, list), products
        assert len(products) == 2
        assert self.files() == before, "a reader leaves nothing"

    def files(self) -> set[str]:
        """Return the files of the mirror, but for those that come and go while it works."""
        found = {str(path) for path in self.home.rglob("*")}
        come_and_go = ("-wal", "-shm", ".new")
        return {n for n in found if not n.endswith(come_and_go) and "/backups" not in n}

    def assert_closed(self) -> None:
        """Assert that the group may write nothing, and other users may read nothing."""
        for path in [self.home, *self.home.rglob("*")]:
            assert not path.lstat().st_mode & (stat.S_IWGRP | stat.S_IRWXO), path
        answers, products = self.read(SOME, STRANGERS)
        assert {code for code, _, _ in answers} == {2}
        assert all("ermission" in err for _, _, err in answers)
        assert "ermission" in products


@pytest.fixture
def shared(sandbox: Sandbox) -> Iterator[SharedMirror]:
    with TemporaryDirectory(prefix="s2mirror-group-") as folder:
        kit = Kit(Path(folder, "home"), sandbox)
        kit.sections["archive"] = "group_readable = true"
        kit.sections["local_catalog"] = 'geoparquet_every = "1 h"'
        yield SharedMirror(Path(folder), kit)


def test_group_reads_mirror_while_it_runs_and_rests(shared: SharedMirror) -> None:
    shared.kit.sandbox.publish([tiny(20), tiny(22)])
    assert shared.start("sync").wait(PATIENCE_SECONDS) == 0
    shared.assert_readable(ALL)
    daemon = shared.start("run")
    try:
        wal = shared.home / "s2mirror.sqlite-wal"
        wait_until(wal.exists, "the daemon has opened the ledger")
        shared.assert_readable()
    finally:
        daemon.send_signal(signal.SIGKILL)
        daemon.wait(PATIENCE_SECONDS)
    assert wal.exists()
    shared.assert_readable()
    shared.assert_closed()
