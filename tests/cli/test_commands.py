"""Commands are imported one at a time: the list shows what each says of itself, and shells complete them all."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import lgbench.cli
from lgbench.cli import COMMANDS
from lgbench.cli._lazy import EXPERIMENTS, LazyCommand

COMPLETED = {
    "ev": ["eval"],
    "re": ["retrain", "reproduce", "rescore"],
    "export h": ["hf"],
    "sweep --ma": ["--main-lengths"],
    "eval --batch": ["--batch-size"],
    "suites lock --c": ["--check"],
    "nothing-like-it --": ["--version", "--help"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_summary_is_the_first_paragraph_of_the_commands_own_help(name: str) -> None:
    command = LazyCommand(name, "").load()
    first, *_ = inspect.cleandoc(command.help).split("\n\n")
    assert COMMANDS[name] == " ".join(first.split())
    assert (command.name, command.hidden, command.deprecated) == (name, False, False)
    assert not command.rich_help_panel, "the list of commands would not show it"


def test_every_command_is_listed() -> None:
    files = {path.stem for path in Path(lgbench.cli.__file__).parent.glob("*.py") if not path.stem.startswith("_")}
    assert files | set(EXPERIMENTS) == set(COMMANDS)


TABLES = {
    *("show", "errors", "compare", "rescore", "validate", "tasks", "suites", "methods", "models"),
    *("demo", "doctor", "eval", "finetune", "retrain", "reproduce", "sweep", "ablate", "run"),
    *(f"analyze {name}" for name in ("errors", "heads", "reuse", "attention", "confidence", "relatedness", "points")),
    *("analyze superposition", "analyze in-context"),
}
LONG = {"submit", "leaderboard build", "leaderboard site", "suites lock", "export dataset", "export lm-eval"}
LONG |= {"train", "plot", "data export"}


def every_command(found: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each command and each group of commands by what a user calls it."""
    command = found.load() if isinstance(found, LazyCommand) else found
    yield " ".join(words), command
    for name, below in getattr(command, "commands", {}).items():
        yield from every_command(below, (*words, name))


@pytest.fixture(scope="module")
def commands() -> dict[str, Any]:
    return dict(every_command(typer.main.get_command(lgbench.cli.app)))


def test_help_names_no_python_type(commands: dict[str, Any]) -> None:
    assert len(commands) > 40
    for name, command in commands.items():
        context = typer.Context(command, info_name=name)
        shown = {param.opts[0]: param.display_type_rich(context) for param in command.get_params(context)}
        assert "--help" in shown
        assert not [each for each in shown.items() if "<" in str(each[1])], name
        assert not [each for each in command.get_params(context) if each._get_number_range_help_str()], name


def test_help_breaks_lines_only_where_the_terminal_ends(commands: dict[str, Any]) -> None:
    for name, command in commands.items():
        paragraphs = (command.help or "").split("\n\n")
        assert not [each for each in paragraphs[1:] if "\n" in each and "\n-" not in each], name


def test_a_number_out_of_range_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        lgbench.cli.app(["errors", "runs", "--limit", "0"])
    assert "greater than or equal to 1" in capfd.readouterr().err


def test_tables_come_as_json_and_whatever_takes_long_can_be_quiet(commands: dict[str, Any]) -> None:
    options = {name: {each for param in command.params for each in param.opts} for name, command in commands.items()}
    assert not {name for name in TABLES if not {"--json", "--quiet", "-q"} <= options[name]}
    assert not {name for name in LONG if not {"--quiet", "-q"} <= options[name]}
    meanings = {param.help for command in commands.values() for param in command.params if "--quiet" in param.opts}
    assert len(meanings) == 1


def run(code: str, **variables: str) -> str:
    """What Python prints when it executes code as `lgbench`."""
    start = "import sys; sys.argv = ['lgbench', *sys.argv[1:]]\n"
    done = subprocess.run(
        [sys.executable, "-c", start + code],
        env=os.environ | variables,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_list_of_commands_imports_none_of_them() -> None:
    code = """
import contextlib, io, json
from lgbench.cli import main
def imported(*command):
    sys.argv = ['lgbench', *command]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()
    ours = [name.split('.') for name in sys.modules if name.startswith('lgbench.')]
    return sorted('.'.join(name[1:]) for name in ours if len(name) > 2 and not name[2].startswith('_'))
print(json.dumps([imported('--help'), imported('schema', '--help'), imported('sweep', '--help')]))
"""
    listed, one, experiment = map(set, json.loads(run(code)))
    assert {name.split(".")[0] for name in listed} == {"util"}
    assert one == listed | {"cli.schema"}
    assert {"experiments.sweep", "experiments.base"} <= experiment - one
    assert not {"experiments.ablate", "cli.eval"} & experiment


@pytest.mark.slow
@pytest.mark.parametrize("words", COMPLETED)
def test_a_shell_completes_commands_and_options(words: str) -> None:
    code = "from lgbench.__main__ import main\nmain()\n"
    asked = {"COMP_WORDS": f"lgbench {words}", "COMP_CWORD": str(len(words.split()))}
    assert run(code, _LGBENCH_COMPLETE="complete_bash", **asked).split() == COMPLETED[words]


@pytest.mark.slow
def test_the_script_for_a_shell_names_the_program_and_its_variable() -> None:
    for shell in ("bash", "zsh", "fish"):
        script = run("from lgbench.__main__ import main\nmain()\n", _LGBENCH_COMPLETE=f"source_{shell}")
        assert f"_LGBENCH_COMPLETE=complete_{shell}" in script
