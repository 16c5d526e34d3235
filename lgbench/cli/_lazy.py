"""Commands whose modules are imported when one runs, completes its options or shows its own help."""

from __future__ import annotations

import importlib
from typing import Any

import typer
import typer.core

from lgbench.cli._group import App

EXPERIMENTS = ("finetune", "retrain", "reproduce", "sweep", "ablate")


class LazyCommand(typer.core.TyperCommand):
    """A command as the list of all commands shows it. Once it is called, the command itself takes over.

    Args:
        name: Its name. The command itself is `command` or `app` of the module of this name in `lgbench.cli`, or the
            experiment of this name.
        summary: The first paragraph of its help.
        panel: The heading of the list that it is in.
    """

    def __init__(self, name: str, summary: str, panel: str | None = None) -> None:
        super().__init__(name, help=summary, rich_help_panel=panel)
        self._name = name

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Take in the command's own part of the command line."""
        return self.load().make_context(*arguments, **options)

    def load(self) -> Any:
        """The command itself."""
        holder = App()
        if self._name in EXPERIMENTS:
            from lgbench.cli._experiment import command_of

            module = importlib.import_module(f"lgbench.experiments.{self._name}")
            holder.command(self._name)(command_of(getattr(module, self._name.capitalize())))
        else:
            module = importlib.import_module(f"lgbench.cli.{self._name}")
            if hasattr(module, "app"):
                holder.add_typer(module.app, name=self._name)
            else:
                holder.command(self._name)(module.command)
        return typer.main.get_group(holder).commands[self._name]
