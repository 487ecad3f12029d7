import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import Cli
from kit import PATIENCE_SECONDS, Kit, tiny

from s2mirror import __version__
from s2mirror.cli.commands import FUNCTIONS, PANELS, load_command
from s2mirror.config import load_settings

PRINTS_NO_VALUE = {"init", "run", "demo", "export csv", "metrics", "report"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_and_argument_has_help(name: str) -> None:
    for parameter in load_command(name).params:
        assert parameter.help, f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - PRINTS_NO_VALUE))
def test_every_command_with_a_result_prints_json(name: str) -> None:
    options = [option for found in load_command(name).params for option in found.opts]
    assert "--json" in options


def test_listed_help_is_first_line_of_command_help() -> None:
    listed = {}
    for command in (each for panel in PANELS.values() for each in panel):
        listed |= {f"{command.name} {member.name}": member.help for member in command.members}
        if command.function:
            listed[command.name] = command.help
    found = {name: (load_command(name).help or "").partition("\n")[0] for name in FUNCTIONS}
    assert found == listed


def test_help_lists_every_command_below_its_heading(cli: Cli) -> None:
    outcome = cli.bare("--help")
    assert (outcome.code, outcome.err) == (0, "")
    listed = outcome.out.partition("Everyday:")[2].partition("\n\n  Exit codes")[0]
    lines = [line.split()[0] for line in ("Everyday:" + listed).splitlines() if line]
    expected = [[f"{panel.split()[0]}", *(c.name for c in PANELS[panel])] for panel in PANELS]
    assert [line.rstrip(":") for line in lines] == [line for panel in expected for line in panel]
    assert "..." not in listed


@pytest.mark.parametrize("name", FUNCTIONS)
def test_help_names_values_without_python_types(cli: Cli, name: str) -> None:
    shown = cli.bare(*name.split(), "--help").out
    assert shown.startswith(f"Usage: s2mirror {name} ")
    assert not re.search(r"[<{}]|\[\[|\btext\b.*\[", shown), shown


def test_option_and_command_print_the_version(cli: Cli) -> None:
    assert cli.bare("--version").out == f"s2mirror {__version__}\n"
    assert cli.bare("version").out == f"s2mirror {__version__}\n"


@pytest.mark.parametrize("words", [(), ("mark",)])
def test_missing_command_prints_the_help(cli: Cli, words: tuple[str, ...]) -> None:
    outcome = cli.bare(*words)
    assert (outcome.code, outcome.err) == (2, "")
    assert outcome.out.startswith("Usage: s2mirror")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            "stauts",
            "no such command 'stauts'. Did you mean 'status'? run `s2mirror --help` for usage\n",
        ),
        ("sync --arae x", "no such option: --arae (Possible options: --area); run `s2mirror sync"),
        ("list --limit x", "invalid value for '--limit': "),
        (
            "mark processed",
            "missing argument 'ID'; run `s2mirror mark processed --help` for usage\n",
        ),
        ("show", "missing argument 'ID'; run `s2mirror show --help` for usage\n"),
    ],
)
def test_mistyped_command_names_mistake_and_help(cli: Cli, words: str, said: str) -> None:
    outcome = cli.bare(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"s2mirror: {said}")


def test_missing_configuration_names_searched_folders(
    cli: Cli, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(kit.folder / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    outcome = cli.bare("status")
    assert outcome.code == 2
    assert outcome.err == (
        f"s2mirror: no s2mirror.toml was found in this folder, {kit.folder}/home/.config/s2mirror, "
        "/etc/s2mirror; write one with `s2mirror init`, or name one with --config\n"
    )


def test_service_needs_no_home(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert "in this folder, /etc/s2mirror" in cli.bare("status").err


def test_configuration_in_this_folder_is_found(cli: Cli, kit: Kit) -> None:
    assert kit.config == Path.cwd() / "s2mirror.toml"
    assert cli.bare("plan").code == 0


def test_init_writes_a_valid_configuration(cli: Cli) -> None:
    cli.bare("init")
    assert load_settings(Path("s2mirror.toml"), environment={}).settings.area


@pytest.mark.parametrize("target", ["no/such/folder/x.toml", "."])
def test_init_names_unwritable_file(cli: Cli, target: str) -> None:
    outcome = cli.bare("init", target, "--force")
    assert outcome.code == 2
    assert outcome.err.startswith(f"s2mirror: cannot write {target}: ")


@pytest.mark.long
def test_cut_list_reports_that_it_is_cut(cli: Cli, kit: Kit) -> None:
    kit.sandbox.publish([tiny(25), tiny(27)])
    cli("sync")
    outcome = cli("list", "--limit", "1")
    assert len(outcome.out.splitlines()) == 2
    assert outcome.err == "s2mirror: only the first 1 are listed; use --limit to list more\n"
    assert len(cli.json("list", "--limit", "1")["products"]) == 1


def test_empty_list_is_reported_on_stderr(cli: Cli, kit: Kit) -> None:
    kit.mirror().ledger.close()
    assert (cli("list").out, cli("list").err) == ("", "s2mirror: no products yet\n")
    assert cli("list", "--state", "failed").err == "s2mirror: no product matches\n"
    assert cli.json("list")["products"] == []


@pytest.mark.long
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_completion_script(kit: Kit, shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "s2mirror", "--show-completion", shell],
        # Typer detects the parent shell, which is make's or a test runner's here.
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


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONIOENCODING", "ascii"),
        pytest.param("LC_ALL", "C", marks=pytest.mark.long),
        pytest.param("LC_ALL", "en_US.ISO-8859-1", marks=pytest.mark.long),
    ],
)
def test_ascii_locale_prints_escaped_characters(kit: Kit, name: str, value: str) -> None:
    folder = kit.folder / "Zürich → 東京"
    kit.sections["ledger"] = f'path = "{folder}/ledger.sqlite"'
    done = kit.run("status", **{name: value})
    assert done.returncode == 5
    assert "there is no ledger at" in done.stderr
