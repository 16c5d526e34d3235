"""`lgbench finetune`: train a pretrained language model under one arm of a group."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.options import ArmName, Device, GroupName, Quiet, Resume, RunFolder, SuiteName
from lgbench.errors import LgbenchError
from lgbench.extras import require_extra

# Gentler and shorter than from scratch; `--set` changes each.
_FULL = ("steps=1000", "learning_rate=5e-5", "evaluate_every=100", "length_chunks=1")
_LORA = ("steps=1000", "learning_rate=3e-4", "evaluate_every=100", "length_chunks=1")

_MODEL = "model"


def command(
    model: Annotated[
        str, typer.Argument(metavar="hf:FOLDER_OR_ID", help="A Hugging Face model; @REVISION may follow.")
    ],
    group: GroupName,
    arm: ArmName,
    suite: SuiteName = "mini-v1",
    lora: Annotated[int, typer.Option(min=0, metavar="RANK", help="Train adapters of this rank; 0: all weights.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the new tokens' and adapters' initial weights.")] = 0,
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
    packages = ("torch", "transformers", "accelerate", "safetensors", *(["peft"] if lora else []))
    require_extra("hf", *packages, purpose="`lgbench finetune`")
    if not quiet:
        typer.echo(f"Loading {model} for {group}, arm {arm}, seed {seed} ...", err=True)

    import torch

    from lgbench.cli.training import Display, say_interrupted, say_where_it_starts, summary
    from lgbench.files import owned_folder
    from lgbench.models.checkpoint import WEIGHTS
    from lgbench.models.devices import choose_device
    from lgbench.models.huggingface.folder import check_folder, find_folder
    from lgbench.suites import load_suite
    from lgbench.training.finetuning import evaluation_template, load_pretrained, write_finetuned
    from lgbench.training.plans import plan_training
    from lgbench.training.trainer import CHECKPOINT, train

    found, chosen = load_suite(suite).group(group), choose_device(device)
    plan = plan_training(
        load_suite(suite),
        group,
        arm,
        seed=seed,
        preset="mini",
        changes=[*(_LORA if lora else _FULL), *(change or [])],
        model=f"{model}, lora rank {lora}" if lora else model,
        device=chosen,
    )
    source = find_folder(model.removeprefix("hf:"), revision=None)
    check_folder(source)
    folder = output or Path("runs") / "finetuning" / f"{suite}-{group}-{arm}-seed{seed}"
    say_where_it_starts(folder, resume=resume, quiet=quiet)
    display = Display(found, plan, quiet=quiet)
    try:
        record = train(
            plan,
            folder,
            build=lambda _: load_pretrained(source, lora_rank=lora)[0],
            device=chosen,
            resume=resume,
            leaves=(CHECKPOINT, _MODEL),
            report=display.show,
        )
        with owned_folder(folder):
            if not (folder / _MODEL).exists():
                with torch.random.fork_rng():
                    module, tokenizer = load_pretrained(source, lora_rank=lora)
                write_finetuned(folder / CHECKPOINT / WEIGHTS, module, tokenizer, folder / _MODEL)
    except KeyboardInterrupt:
        say_interrupted(folder)
        raise typer.Exit(130) from None
    finally:
        display.close()
    if not quiet:
        typer.echo(summary(record))
    command = ["lgbench", "eval", f"hf:{folder / _MODEL}", "--suite", suite, "--group", group, "--arm", arm]
    command += ["--seed", str(seed), "--model-option", f"template={evaluation_template(folder / _MODEL)}"]
    typer.echo(f"Evaluate it with:\n  {shlex.join(command)}")
