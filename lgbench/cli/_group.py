"""The command group that every part of the command line uses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import typer.core

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

    def get_help_option(self, ctx: Any) -> Any:
        """The help option of the group."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option
