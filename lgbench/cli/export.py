"""`lgbench export`: checkpoints, the suite and results in other forms."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._group import App
from lgbench.cli._opening import open_named, opened
from lgbench.cli._options import DraftName, Groups, Quiet, SuiteName, Tasks, listed
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

app = App(help="Write checkpoints, the suite and results in other formats.", no_args_is_help=True)

Source = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint of a reference model: a folder, or as tiny:transfer.")
]
Target = Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write.")]


@app.command()
def hf(checkpoint: Source, folder: Target) -> None:
    """Write a folder that transformers opens as LlamaForCausalLM with a fast tokenizer."""
    require_extra("torch", purpose="`lgbench export hf`")
    from lgbench.models.folders import checkpoint_folder
    from lgbench.models.hf_export import export_hf

    export_hf(checkpoint_folder(checkpoint), folder)
    template = shlex.quote("template=<begin><{task}>{prompt}")
    typer.echo(f"Wrote {folder}. Evaluate it with:\n  lgbench eval hf:{folder} --model-option {template}")


@app.command()
def bfloat16(checkpoint: Source, folder: Target) -> None:
    """Write the checkpoint with its weights rounded to bfloat16, at half the size."""
    require_extra("torch", purpose="`lgbench export bfloat16`")
    from lgbench.models.checkpoint import round_checkpoint
    from lgbench.models.folders import checkpoint_folder

    round_checkpoint(checkpoint_folder(checkpoint), folder)
    typer.echo(f"Wrote {folder}")


@app.command()
def ternary(
    checkpoint: Source,
    folder: Target,
    packing: Annotated[
        str, typer.Option(help="tq2_0 (2.0625 bits a weight) or tq1_0 (1.6875), as in llama.cpp.")
    ] = "tq2_0",
) -> None:
    """Write the checkpoint with the matrices of its blocks as packed ternary weights.

    A model that was trained with weights=ternary replies as before. Any other model is rounded, and may
    get every reply wrong.
    """
    require_extra("torch", purpose="`lgbench export ternary`")
    from lgbench.models.checkpoint import WEIGHTS, pack_checkpoint
    from lgbench.models.folders import checkpoint_folder
    from lgbench.models.trits import BLOCK_BYTES, bits_a_weight
    from lgbench.util.errors import UnknownNameError

    named = next((known for known in BLOCK_BYTES if known == packing), None)
    if named is None:
        raise UnknownNameError("packing", packing, BLOCK_BYTES)
    place = checkpoint_folder(checkpoint)
    record = pack_checkpoint(place, folder, named)
    before, after = ((each / WEIGHTS).stat().st_size for each in (place, folder))
    typer.echo(f"Wrote {folder}: {after:,} bytes instead of {before:,}, {bits_a_weight(named)} bits a packed weight.")
    if record.architecture is not None and record.architecture.weights == "float":
        typer.echo("The model was not trained with ternary weights: its replies will differ.")
    typer.echo(f"Evaluate it with:\n  lgbench eval {shlex.quote(str(folder))}")


@app.command("lm-eval")
def lm_eval(
    folder: Target,
    suite: SuiteName = "mini-v1",
    group: Groups = None,
    task: Tasks = None,
    template: Annotated[
        str | None, typer.Option(help='What a model is given, as "<{task}>{prompt}".', show_default="{prompt}")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write the test cells as tasks of lm-evaluation-harness, scored by strict exact match."""
    from lgbench.cli._progress import counting
    from lgbench.evaluation.planning import make_plan
    from lgbench.export.lm_eval import export_lm_eval

    plan = make_plan(opened(suite), groups=listed(group), tasks=listed(task))
    with counting("writing cells", quiet=quiet) as report:
        name = export_lm_eval(plan, folder, template=template, report=report)
    if not quiet:
        typer.echo(f"Wrote {folder}. Run, with your model:")
        typer.echo(f"  lm_eval --model hf --model_args pretrained=MODEL --include_path {folder} --tasks {name}")


@app.command()
def dataset(
    folder: Target,
    suite: SuiteName = "mini-v1",
    train_examples: Annotated[
        int, typer.Option(min=0, help="Examples of each arm's training stream; 0 for the test cells alone.")
    ] = 10_000,
    quiet: Quiet = False,
) -> None:
    """Write the test cells of each task, and the arms' training streams, as parquet with a dataset card."""
    require_extra("export", purpose="`lgbench export dataset`")
    from lgbench.cli._progress import counting
    from lgbench.export.dataset import export_dataset

    found = opened(suite)
    with counting("writing files", quiet=quiet) as report:
        written = export_dataset(found, folder, train_examples=train_examples, report=report)
    if not quiet:
        typer.echo(f"Wrote {len(written)} files to {folder}")


@app.command()
def eee(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="The folder of a finished run.")],
    folder: Target,
    suite: DraftName = None,
) -> None:
    """Write a result and all its replies in the format of Every Eval Ever."""
    from lgbench.evaluation.folder import RESULT_FILE
    from lgbench.export.every_eval_ever import export_every_eval_ever

    open_named(suite)
    if not (result / RESULT_FILE).exists() and (folder / RESULT_FILE).exists():
        raise LgbenchError(f"{str(result)!r} holds no {RESULT_FILE}, {str(folder)!r} does. The result comes first.")
    for path in export_every_eval_ever(result, folder):
        typer.echo(f"Wrote {path}")
