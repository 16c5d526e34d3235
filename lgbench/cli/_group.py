"""The app, the groups and the commands that every part of the command line is made of."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import typer
import typer.core

from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain_lines


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    """What is wrong with a command line is shown in colours, and repeats words of it: the name of a file, say."""
    try:
        yield
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            error.message = plain_lines(message)  # type: ignore[attr-defined]
        raise


_WORDS = {
    "<bool>": "",
    "<int>": "N",
    "<int range>": "N",
    "<list[int]>": "N",
    "<str>": "TEXT",
    "<list[str]>": "TEXT",
    "<path>": "PATH",
    "<list[Path]>": "PATH",
}
"""What an option takes, by what Typer would call it: a flag takes nothing."""


def _nothing(ctx: Any) -> None:
    """What is shown beside the name of an argument, which says what it is."""


def _name_values(params: list[Any], ctx: Any) -> list[Any]:
    """Have the help name values by a word, where Typer names Python types and the range of numbers."""
    for param in params:
        if param.param_type_name == "argument":
            param.display_type_rich = _nothing
        elif param.metavar is None and (typed := getattr(param, "display_type_rich", None)) is not None:
            param.metavar = _WORDS.get(typed(ctx))
        if hasattr(param, "min"):
            param.min = param.max = None  # only the help reads them; a number out of range stays an error
    return params


def _refuse_repeated(given: list[Any]) -> None:
    """Refuse an option that is given more often than it has values.

    Args:
        given: The arguments and options of a command line, each as often as it is given.

    Raises:
        LgbenchError: There is one.
    """
    options = [each for each in given if each.param_type_name == "option" and not (each.multiple or each.is_flag)]
    for option in options:
        if options.count(option) > 1:
            raise LgbenchError(f"{max(option.opts, key=len)} takes one value, and is given more than once. Choose one.")


class Command(typer.core.TyperCommand):
    """A command whose `--help` names values by a word, and breaks lines where the terminal ends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Typer joins the lines of the first paragraph of a docstring only.
        self.help = re.sub(r"(?<=\S)\n(?=[^\s*-])", " ", self.help or "")

    def get_params(self, ctx: Any) -> list[Any]:
        """Its arguments and options."""
        return _name_values(super().get_params(ctx), ctx)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take in its part of the command line.

        Raises:
            LgbenchError: An option that takes one value is given several times: all but the last would be lost.
        """
        if not ctx.resilient_parsing:  # which completes a line that is still being written
            _refuse_repeated(self.make_parser(ctx).parse_args(list(args))[2])
        return super().parse_args(ctx, args)


class App(typer.Typer):
    """An app whose groups and commands are those of this module."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": Group, **options})

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """A decorator that makes a function a command."""
        return super().command(name, **{"cls": Command, **options})


class Group(typer.core.TyperGroup):
    """A group whose `--help` is off rather than unset: for an unset flag, Typer loads pydantic to convert nothing."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Take in the command line, as far as the name of the command."""
        with _plain_errors():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: Any) -> Any:
        """Take in the rest of it, and run the command."""
        with _plain_errors():
            return super().invoke(ctx)

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options, and that of its help."""
        return _name_values(super().get_params(ctx), ctx)

    def get_help_option(self, ctx: Any) -> Any:
        """The help option of the group."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option
