"""`lgbench export`: checkpoints in other forms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.group import Group

app = typer.Typer(cls=Group, help="Write checkpoints in other forms.", no_args_is_help=True)

Source = Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of a reference model.")]
Target = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")]


@app.command()
def hf(checkpoint: Source, folder: Target) -> None:
    """Write a folder that transformers opens as LlamaForCausalLM with a fast tokenizer."""
    from lgbench.models.hf_export import export_hf

    export_hf(checkpoint, folder)
    typer.echo(f"Wrote {folder}")


@app.command()
def bfloat16(checkpoint: Source, folder: Target) -> None:
    """Write the checkpoint with its weights rounded to bfloat16, at half the size."""
    from lgbench.models.checkpoint import round_checkpoint

    round_checkpoint(checkpoint, folder)
    typer.echo(f"Wrote {folder}")
