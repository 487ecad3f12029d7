from pathlib import Path

import pytest
from cli_kit import Cli
from kit import Kit, tiny

PLANTED = {
    "S2MIRROR_S3_ACCESS_KEY": "PLANTEDACCESSKEY",
    "S2MIRROR_S3_SECRET_KEY": "planted/secret+key",
    "S2MIRROR_CLIENT_ID": "planted-client-id",
    "S2MIRROR_CLIENT_SECRET": "planted-client-secret",
}
COMMANDS = (
    "check", "plan", "sync --verbose", "sync --json", "status", "status --json", "list",
    "list --json", "audit --online", "prune", "health", "show nothing", "requeue nothing",
    "mark processed nothing", "init other.toml", "version", "sync --area nowhere", "sync --bogus",
)  # fmt: skip


def assert_nowhere(text: bytes, secrets: dict[str, str], where: object) -> None:
    for name, secret in secrets.items():
        assert secret.encode() not in text, f"{name} can be read in {where}"


def assert_nowhere_on_disk(folder: Path, secrets: dict[str, str]) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert_nowhere(path.read_bytes(), secrets, path)


@pytest.mark.parametrize("right", [True, False])
def test_no_command_shows_or_keeps_a_secret(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch, *, right: bool
) -> None:
    secrets = dict(PLANTED)
    if right:
        secrets |= kit.secrets
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    kit.sandbox.publish(tiny())
    kit.sections["log"] = 'level = "debug"'
    for words in COMMANDS:
        outcome = (
            cli.bare(*words.split())
            if "init" in words or "version" in words
            else cli(*words.split())
        )
        assert_nowhere((outcome.out + outcome.err).encode(), secrets, words)
    assert_nowhere_on_disk(kit.folder, secrets)


def test_a_secret_in_the_configuration_is_refused_and_not_repeated(cli: Cli, kit: Kit) -> None:
    path = kit.folder / "with-secret.toml"
    path.write_text(kit.config.read_text() + '\n[secrets]\ns3_secret_key = "planted-in-toml"\n')
    outcome = cli.bare("check", "--config", str(path))
    assert outcome.code == 2
    assert "planted-in-toml" not in outcome.out + outcome.err


def test_a_hook_that_tells_what_it_sees_in_ps_tells_no_secret(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    seen = kit.folder / "seen"
    script = f"for p in /proc/[0-9]*; do cat $p/cmdline; done > {seen}; true"
    kit.sections["process"] = f'command = ["/bin/sh", "-c", "{script}"]'
    assert cli("sync").code == 0
    assert seen.stat().st_size
    assert_nowhere(seen.read_bytes(), kit.secrets, "ps")
