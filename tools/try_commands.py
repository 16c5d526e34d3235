"""Try an installed lgbench with the extras that it has: import every module, show every help, plan experiments.

For an environment that holds what a user installs and nothing else, as the packages of `dev` hide that one is missing:
`python -I tools/try_commands.py FOLDER`, with a folder to work in. `poe dist` and the tests do so.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import lgbench
from lgbench.cli import app, main
from lgbench.cli._lazy import LazyCommand
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import EXTRAS

ROOT = Path(__file__).parents[1]
TINY = ("layers=1", "heads=2", "width=16", "hidden=16", "batch=8", "steps=2", "evaluate_every=2", "precision=float32")
RECORDED = ROOT / "docs" / "runs" / "reference-rope" / "mini-v1-copy-mqar-control-seed1"
BROUGHT = {"httpx2": "openai", "tokenizers": "transformers"}
"""Packages that modules import, by those of an extra that bring them."""


def import_modules() -> int:
    """Import every module of the package, without those that need an extra which is missing; how many there are.

    Raises:
        ModuleNotFoundError: One needs a package that no missing extra brings.
    """
    missing = {name for names in EXTRAS.values() for name in names if importlib.util.find_spec(name) is None}
    missing |= {name for name, bringer in BROUGHT.items() if bringer in missing}
    package = Path(lgbench.__file__).parent
    paths = sorted(package.rglob("*.py"))
    for path in paths:
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in missing:
                raise
        except LgbenchError as error:  # as of a module for users, which says itself what it needs
            if not any(name in str(error) for name in missing):
                raise
    return len(paths)


def command_lines(group: Any, *before: str) -> Iterator[tuple[str, ...]]:
    """Every command, as its names follow each other on the command line."""
    yield before
    for name, listed in group.commands.items():
        command = listed.load() if isinstance(listed, LazyCommand) else listed
        if hasattr(command, "commands"):
            yield from command_lines(command, *before, name)
        else:
            yield (*before, name)


def run(*arguments: str) -> str:
    """What a command prints.

    Raises:
        SystemExit: It failed.
    """
    sys.argv = ["lgbench", *arguments]
    printed, status = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            main()
        except SystemExit as end:
            status = end.code
    if status:
        sys.exit(f"lgbench {' '.join(arguments)} failed with status {status}.")
    return printed.getvalue()


def plan_and_train() -> int:
    """Plan an experiment of each kind and train a tiny run; how many commands that took."""
    shutil.copy(ROOT / "examples" / "my_study.py", "my_study.py")
    tiny = [part for change in TINY for part in ("--set", change)]
    options = [part for change in TINY for part in ("--option", f"change={change}")]
    group = "capitalize-reverse"
    planned = [
        ("reproduce", "--group", group, "--seeds", "1", *tiny),
        ("sweep", group, "--main-lengths", "2", "--aux-lengths", "4", *tiny),
        ("ablate", group, "--seeds", "1", *tiny),
        ("run", "my_study.py:Rates", *options),
        ("retrain", str(RECORDED)),
    ]
    for command in planned:
        if "of training in all" not in run(*command, "--output", "planned", "--dry-run"):
            sys.exit(f"lgbench {command[0]} --dry-run planned nothing.")
    run("train", group, "main_only", *tiny, "--output", "trained", "--quiet")
    run("eval", "trained/checkpoint", "--task", "reverse", "--limit", "2", "--output", "evaluated", "--quiet")
    return len(planned) + 2


def try_all(folder: Path) -> None:
    """Try everything, in a folder."""
    os.chdir(folder)
    modules, helps = import_modules(), 0
    for names in command_lines(typer.main.get_command(app)):
        helps += 1
        if "Usage: lgbench" not in run(*names, "--help"):
            sys.exit(f"lgbench {' '.join(names)} --help shows no help.")
    tried = f"{modules} modules, {helps} helps"
    if importlib.util.find_spec("torch") is not None:
        tried += f", {plan_and_train()} commands"
    print(f"Tried {tried}.")


if __name__ == "__main__":
    try_all(Path(sys.argv[1]))
