import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from cli_kit import Cli
from kit import PATIENCE_SECONDS, Kit, tiny

from s2mirror import __version__
from s2mirror.cli.app import app
from s2mirror.config import load_settings

PRINTS_NO_VALUE = {"init", "run", "demo", "export csv"}


def commands() -> Iterator[tuple[str, object]]:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        if inner is None:
            yield name, command
        else:
            yield from ((f"{name} {sub}", found) for sub, found in inner.items())


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_and_argument_has_its_help(name: str) -> None:
    for parameter in COMMANDS[name].params:  # type: ignore[attr-defined]
        assert parameter.help, f"{name}: {parameter.name} says nothing"


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - PRINTS_NO_VALUE))
def test_every_command_that_prints_a_value_prints_json_too(name: str) -> None:
    options = [option for found in COMMANDS[name].params for option in found.opts]  # type: ignore[attr-defined]
    assert "--json" in options


def test_the_list_of_commands_cuts_no_description_short(cli: Cli) -> None:
    outcome = cli.bare("--help")
    assert outcome.code == 0
    assert "..." not in outcome.out.replace("[ARGS]...", "")


def test_version_is_told_by_option_and_by_command(cli: Cli) -> None:
    assert cli.bare("--version").out == f"s2mirror {__version__}\n"
    assert cli.bare("version").out == f"s2mirror {__version__}\n"


@pytest.mark.parametrize("words", [(), ("mark",)])
def test_a_command_that_is_missing_brings_the_help(cli: Cli, words: tuple[str, ...]) -> None:
    outcome = cli.bare(*words)
    assert (outcome.code, outcome.err) == (2, "")
    assert outcome.out.startswith("Usage: s2mirror")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("stauts", "no such command 'stauts'. Did you mean 'status'? `s2mirror --help` shows"),
        ("sync --arae x", "no such option: --arae (Possible options: --area); `s2mirror sync"),
        ("list --limit x", "invalid value for '--limit': "),
        ("mark processed", "missing argument 'ID...'; `s2mirror mark processed --help` shows"),
        ("show", "missing argument 'ID'; `s2mirror show --help` shows"),
    ],
)
def test_a_mistyped_command_is_told_what_is_wrong_and_where_to_look(
    cli: Cli, words: str, said: str
) -> None:
    outcome = cli.bare(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"s2mirror: {said}")


def test_without_a_configuration_it_says_where_it_looked(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(kit.folder / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    outcome = cli.bare("status")
    assert outcome.code == 2
    assert outcome.err == (
        f"s2mirror: no s2mirror.toml in this folder, {kit.folder}/home/.config/s2mirror, "
        "/etc/s2mirror; `s2mirror init` writes one, --config names another\n"
    )


def test_a_service_needs_no_home(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert "in this folder, /etc/s2mirror" in cli.bare("status").err


def test_the_configuration_in_this_folder_is_found(cli: Cli, kit: Kit) -> None:
    assert kit.config == Path.cwd() / "s2mirror.toml"
    assert cli.bare("plan").code == 0


def test_what_init_writes_is_a_configuration_that_holds(cli: Cli) -> None:
    cli.bare("init")
    assert load_settings(Path("s2mirror.toml"), environment={}).settings.area


@pytest.mark.parametrize("target", ["no/such/folder/x.toml", "."])
def test_init_where_nothing_can_be_written_says_so(cli: Cli, target: str) -> None:
    outcome = cli.bare("init", target, "--force")
    assert outcome.code == 2
    assert outcome.err.startswith(f"s2mirror: cannot write {target}: ")


def test_a_long_list_says_that_there_is_more(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish([tiny(25), tiny(27)])
    cli("sync")
    outcome = cli("list", "--limit", "1")
    assert len(outcome.out.splitlines()) == 2
    assert outcome.err == "s2mirror: there are more than 1; --limit shows more\n"
    assert len(cli.json("list", "--limit", "1")) == 1


def test_an_empty_list_says_so_apart_from_the_results(cli: Cli, kit: Kit) -> None:
    kit.mirror().ledger.close()
    assert (cli("list").out, cli("list").err) == ("", "s2mirror: no product yet\n")
    assert cli("list", "--state", "failed").err == "s2mirror: there is no such product\n"
    assert cli.json("list") == []


@pytest.mark.long
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_come_for_each_shell(kit: Kit, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "s2mirror", "--show-completion", shell],
        # Typer looks for the shell above it, which is make's or a test runner's here.
        env=kit.environment(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "_S2MIRROR_COMPLETE" in done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    ("line", "place", "offered"),
    [
        ("s2mirror sync --area zu", 3, "zurich"),
        ("s2mirror show S2C_MSIL2A", 2, tiny().id),
    ],
)
def test_completion_offers_areas_and_products(
    cli: Cli, kit: Kit, line: str, place: int, offered: str
) -> None:
    kit.sandbox.publish(tiny())
    cli("sync")
    done = subprocess.run(
        [Path(sys.executable).with_name("s2mirror")],
        env=kit.environment(
            _S2MIRROR_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(place),
            S2MIRROR_CONFIG=str(kit.config),
        ),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.stdout.split() == [offered]


@pytest.mark.parametrize(
    ("name", "value"),
    [("LC_ALL", "C"), ("LC_ALL", "en_US.ISO-8859-1"), ("PYTHONIOENCODING", "ascii")],
)
def test_a_poor_locale_is_no_reason_to_fail(kit: Kit, name: str, value: str) -> None:
    folder = kit.folder / "Zürich → 東京"
    kit.sections["ledger"] = f'path = "{folder}/ledger.sqlite"'
    done = kit.run("status", **{name: value})
    assert done.returncode == 5
    assert "there is no ledger at" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("words", [("list", "--json"), ("audit",)])
def test_a_reader_that_has_had_enough_is_no_error(kit: Kit, words: tuple[str, ...]) -> None:
    kit.sandbox.publish(tiny())
    kit.cycle()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        kit.command(*words),
        env=kit.environment(),
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
def test_the_work_goes_on_when_nobody_reads_of_it_any_more(kit: Kit) -> None:
    products = [tiny(day) for day in (25, 26, 27)]
    kit.sandbox.publish(products)
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        kit.command("sync"),
        env=kit.environment(),
        stdout=writing,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 0
    kit.assert_current(*products)
