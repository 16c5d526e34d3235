"""Every `lgbench` command on every page is one that the command line takes: nothing is run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import lgbench.cli
from lgbench.cli._lazy import LazyCommand

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "submissions/README.md", "studies/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
_PLACEHOLDER = re.compile(r"\$\w+|\.\.\.$")


def written_in_blocks(page: str) -> Iterator[list[str]]:
    """The command lines of a page's blocks of code, without the shell around them."""
    for language, block in re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page, flags=re.M | re.S):
        all_commands = all(line.startswith("lgbench ") for line in block.splitlines())
        if language not in ("sh", "console") and not (language == "" and all_commands):
            continue  # of another language, or what a command printed
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.split(r" && |; (?=lgbench )", line.strip().removeprefix("$ ")):
                if re.match(r"(?:\S*/)?lgbench [a-z]", command):
                    yield shlex.split(command.removesuffix("&"), comments=True)[1:]


@cache
def commands() -> Any:
    return typer.main.get_command(lgbench.cli.app)


@cache
def loaded(name: str) -> Any:
    command = commands().commands[name]
    return command.load() if isinstance(command, LazyCommand) else command


def parse(words: list[str]) -> None:
    """Take in a command line as far as its values."""
    command: Any = commands()
    words = [_PLACEHOLDER.sub("1", word) for word in words if word != "..."]
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            if command.name in ("tasks", "suites"):  # lists without a command of its own
                break
            raise AssertionError(f"there is no command {words[0]!r}")
        below = loaded(words[0]) if command is commands() else command.commands[words[0]]
        command, words = below, words[1:]
    command.make_context(command.name, list(words))


def test_a_wrong_command_is_found() -> None:
    page = "```sh\nlgbench compare runs/a --base rope\nlgbench audits x\n```\n`lgbench show --fulls`\n"
    first, second = written_in_blocks(page)
    with pytest.raises(Exception, match="--base"):
        parse(first)
    with pytest.raises(AssertionError, match="audits"):
        parse(second)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_taken(page: Path) -> None:
    for words in written_in_blocks(page.read_text("utf-8")):
        print(f"lgbench {shlex.join(words)}")  # shown if it fails
        with suppress(SystemExit):  # --help and --version
            parse(words)
