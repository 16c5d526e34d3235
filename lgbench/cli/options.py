"""Options that several commands take, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

SuiteName = Annotated[str, typer.Option("--suite", help="The suite.")]
Preset = Annotated[str, typer.Option("--preset", help="Hyperparameters to start from: mini or paper.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change one hyperparameter; may be repeated."),
]
Build = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE.py:BUILD",
        help="A function from the vocabulary's size to a torch.nn.Module.  [default: the reference model]",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Runs at a time, each with its share of the cores.")]
