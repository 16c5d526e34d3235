"""`lgbench finetune`: train a pretrained language model under one arm of a group."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.opening import opened
from lgbench.cli.options import MAX_SEED, ArmName, Device, GroupName, Quiet, Resume, RunFolder, SuiteName
from lgbench.cli.streams import stdout_to_stderr
from lgbench.errors import LgbenchError
from lgbench.extras import require_extra

# Gentler and shorter than from scratch; `--set` changes each.
_FULL = ("steps=1000", "learning_rate=5e-5", "evaluate_every=100", "length_chunks=1")
_LORA = ("steps=1000", "learning_rate=3e-4", "evaluate_every=100", "length_chunks=1")


def command(
    model: Annotated[
        str, typer.Argument(metavar="hf:FOLDER_OR_ID", help="A Hugging Face model; @REVISION may follow.")
    ],
    group: GroupName,
    arm: ArmName,
    suite: SuiteName = "mini-v1",
    lora: Annotated[int, typer.Option(min=0, metavar="RANK", help="Train adapters of this rank; 0: all weights.")] = 0,
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Of the new tokens' and adapters' initial weights.")
    ] = 0,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Change one hyperparameter, as for `lgbench train`."),
    ] = None,
    device: Device = "auto",
    output: RunFolder = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Finetune a pretrained language model under an arm, and leave a folder that `lgbench eval hf:...` reads."""
    if not model.startswith("hf:"):
        raise LgbenchError(f"{model!r} is no pretrained model. Valid: hf:FOLDER or hf:ID on the Hub.")
    require_extra("hf", *(["peft"] if lora else []), purpose="`lgbench finetune`")
    if not quiet:
        typer.echo(f"Loading {model} for {group}, arm {arm}, seed {seed} ...", err=True)

    from lgbench.cli.training import shown, summary
    from lgbench.models.devices import choose_device
    from lgbench.models.folders import MODEL
    from lgbench.models.huggingface.folder import check_folder, find_folder
    from lgbench.models.tokenizer import suite_vocabulary
    from lgbench.training.finetuning import PretrainedModule, leave_model, load_pretrained
    from lgbench.training.plans import Recipe
    from lgbench.training.rehearsal import rehearse
    from lgbench.training.trainer import train

    found, chosen = opened(suite), choose_device(device)
    changes = [*(_LORA if lora else _FULL), *(change or [])]
    recipe = Recipe(found, changes=changes, model=model, lora_rank=lora, device=chosen)
    plan = recipe.plan(group, arm, seed)
    vocabulary = suite_vocabulary(found)
    with stdout_to_stderr():
        source = find_folder(model.removeprefix("hf:"), revision=None)
    check_folder(source)
    folder = output or Path("runs") / "finetuning" / f"{found.name}-{group}-{arm}-seed{seed}"

    def build(_: int) -> PretrainedModule:
        module, tokenizer = load_pretrained(source, lora_rank=lora, vocabulary=vocabulary)
        rehearse(folder, module, tokenizer, suite=found, group=group)
        return module

    with shown(plan, folder, resume=resume, quiet=quiet) as report:
        record = train(plan, folder, build=build, device=chosen, resume=resume, report=report)
        template = leave_model(folder, source, lora_rank=lora, vocabulary=vocabulary)
    if quiet:
        return
    typer.echo(summary(record))
    command = ["lgbench", "eval", f"hf:{folder / MODEL}", "--suite", suite, "--group", group, "--arm", arm]
    command += ["--seed", str(seed), "--model-option", f"template={template}"]
    typer.echo(f"Evaluate it with:\n  {shlex.join(command)}")
