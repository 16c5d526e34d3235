"""Layer 4: the end of finetuning, tried before its first step.

The model is written as it will be, opened as `lgbench eval` will open it, and asked: what would go wrong after hours of
training goes wrong at once, and the tokens that are trained are those that evaluation sends.
"""

from __future__ import annotations

import contextlib
import copy
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgbench.cells import draw_cell
from lgbench.errors import LgbenchError
from lgbench.files import TEMPORARY, telling_writes
from lgbench.models.folders import MODEL
from lgbench.models.huggingface.checkpoint import quiet_loading
from lgbench.models.huggingface.predictor import HuggingFacePredictor
from lgbench.models.loading import load_model
from lgbench.models.tokenizer import encode, encode_prompt
from lgbench.suites import Suite
from lgbench.task import Example
from lgbench.training.finetuning import PretrainedModule, evaluation_template, save_whole


def rehearse(run: Path, module: PretrainedModule, tokenizer: Any, *, suite: Suite, group: str) -> None:
    """Write a model that is not trained yet, open it for evaluation, and compare its rows with those of training.

    Args:
        run: The run's folder, which is there.
        module: As `load_pretrained` made it; it stays as it is.
        tokenizer: Its tokenizer.
        suite: The suite.
        group: The group whose tasks will be asked.

    Raises:
        LgbenchError: It cannot be written or opened, or rows differ.
    """
    if (run / MODEL).exists() or (run / MODEL).is_symlink():
        raise LgbenchError(
            f"{str(run / MODEL)!r} is where the trained model goes, but it is there already, and this run has not "
            "written it. Move it away, or choose another --output."
        )
    with torch.random.fork_rng(), _trial_folder(run) as folder:
        save_whole(copy.deepcopy(module), tokenizer, folder)
        # Without its weights, which need not be in memory twice.
        options = {"template": evaluation_template(folder), "device_map": "meta"}
        predictor = load_model(f"hf:{folder.absolute()}", options).predictor
    assert isinstance(predictor, HuggingFacePredictor)
    tasks = [task.name for task in suite.tasks if task.name in suite.group(group).tasks]
    with quiet_loading():
        predictor.prepare(suite, tasks)
    for task in tasks:
        for length in suite.grid(task):
            _compare(predictor, module.table, draw_cell(suite, task, length, split="dev"))


@contextlib.contextmanager
def _trial_folder(run: Path) -> Iterator[Path]:
    """A folder that lies, and is named, like the one in which the trained model will be written."""
    with (
        telling_writes(run / MODEL, advice="Nothing is trained yet.", only_about=run),
        tempfile.TemporaryDirectory(prefix=f".{MODEL}.", suffix=TEMPORARY, dir=run) as folder,
    ):
        yield Path(folder)


def _compare(predictor: HuggingFacePredictor, table: Tensor | Any, examples: list[Example]) -> None:
    """Compare rows of one cell: the tokens of each prompt, and what the tokens of its target are read as.

    Raises:
        LgbenchError: They differ.
    """
    rows = predictor.rows([example.prompt for example in examples], examples[0].task)
    for example, row in zip(examples, rows, strict=True):
        trained, asked = table[encode_prompt(example.task, example.prompt)].tolist(), list(row.tokens)
        if trained != asked:
            place = next((at for at, pair in enumerate(zip(trained, asked)) if pair[0] != pair[1]), len(trained))
            raise LgbenchError(
                f"The model would be trained on other tokens than evaluation sends: of {example.task} "
                f"{example.prompt!r}, {trained[place:][:5]} from token {place} on, not {asked[place:][:5]}. transformers "
                "reads the tokenizer that is written in its own way. Choose another model."
            )
        if (reply := predictor.read(row, table[encode(example.target)].tolist())) != example.target:
            raise LgbenchError(
                f"The tokenizer reads the tokens of {example.target!r} as {reply!r}, so no reply to {example.task} "
                "would be right. Choose another model."
            )
