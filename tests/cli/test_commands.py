"""Commands are imported one at a time: the list shows what each says of itself, and shells complete them all."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

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
