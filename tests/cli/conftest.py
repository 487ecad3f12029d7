import pytest
from cli_kit import Cli
from kit import Kit


@pytest.fixture
def cli(kit: Kit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Return the command line, called within this process."""
    for name, secret in kit.secrets.items():
        monkeypatch.setenv(name, secret)
    monkeypatch.chdir(kit.folder)
    return Cli(kit, capsys)
