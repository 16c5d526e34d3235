"""The command group that every part of the command line uses."""

from __future__ import annotations

from typing import Any

import typer.core


class Group(typer.core.TyperGroup):
    """A group whose `--help` is off rather than unset: for an unset flag, Typer loads pydantic to convert nothing."""

    def get_help_option(self, ctx: Any) -> Any:
        """The help option of the group."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option
