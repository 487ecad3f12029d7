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


def assert_absent(text: bytes, secrets: dict[str, str], place: object) -> None:
    for name, secret in secrets.items():
        assert secret.encode() not in text, f"{name} can be read in {place}"


def assert_absent_on_disk(folder: Path, secrets: dict[str, str]) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            assert_absent(path.read_bytes(), secrets, path)


@pytest.mark.parametrize("right", [True, False])
def test_no_command_prints_or_stores_a_secret(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch, *, right: bool
) -> None:
    secrets = dict(PLANTED)
    if right:
        secrets |= kit.secrets
    for name, secret in secrets.items():
        monkeypatch.setenv(name, secret)
    kit.sandbox.publish(tiny())
    kit.sections["log"] = 'level = "debug"'
    for command in COMMANDS:
        outcome = (
            cli.bare(*command.split())
            if "init" in command or "version" in command
            else cli(*command.split())
        )
        assert_absent((outcome.out + outcome.err).encode(), secrets, command)
    assert_absent_on_disk(kit.folder, secrets)


def test_secret_in_configuration_is_refused_unprinted(cli: Cli, kit: Kit) -> None:
    path = kit.folder / "with-secret.toml"
    path.write_text(kit.config.read_text() + '\n[secrets]\ns3_secret_key = "planted-in-toml"\n')
    outcome = cli.bare("check", "--config", str(path))
    assert outcome.code == 2
    assert "planted-in-toml" not in outcome.out + outcome.err


@pytest.mark.long
def test_hook_finds_no_secret_in_process_list(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish(tiny())
    seen = kit.folder / "seen"
    script = f"for p in /proc/[0-9]*; do cat $p/cmdline; done > {seen}; true"
    kit.sections["process"] = f'command = ["/bin/sh", "-c", "{script}"]'
    assert cli("sync").code == 0
    assert seen.stat().st_size
    assert_absent(seen.read_bytes(), kit.secrets, "ps")
