"""The end of finetuning, tried before its first step.

The model is written as it will be, opened as `lgbench eval` will open it, and asked: what would go wrong after hours of
training goes wrong at once, and the tokens that are trained are those that evaluation sends.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lgbench.data.cells import draw_cell
from lgbench.data.suites import Suite
from lgbench.data.task import Example
from lgbench.models.folders import MODEL
from lgbench.models.huggingface.predictor import HuggingFacePredictor
from lgbench.models.loading import load_model
from lgbench.models.tokenizer import Vocabulary, suite_vocabulary
from lgbench.training.finetuning import PretrainedModule, evaluation_template, save_whole
from lgbench.util.errors import LgbenchError
from lgbench.util.files import TEMPORARY, write_errors


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
        # Not on the GPU, whose memory is needed for training.
        options = {"template": evaluation_template(folder), "device_map": "cpu"}
        predictor = load_model(f"hf:{folder.absolute()}", options).predictor
    assert isinstance(predictor, HuggingFacePredictor)
    tasks = suite.group(group).tasks
    predictor.prepare(suite, tasks)
    for task in tasks:
        for length in suite.grid(task):
            _compare(predictor, module.table, suite_vocabulary(suite), draw_cell(suite, task, length, split="dev"))


@contextlib.contextmanager
def _trial_folder(run: Path) -> Iterator[Path]:
    """A folder that lies, and is named, like the one in which the trained model will be written."""
    with (
        write_errors(run / MODEL, advice="Nothing is trained yet.", only_about=run),
        tempfile.TemporaryDirectory(prefix=f".{MODEL}.", suffix=TEMPORARY, dir=run) as folder,
    ):
        yield Path(folder)


def _compare(predictor: HuggingFacePredictor, table: Any, vocabulary: Vocabulary, examples: Sequence[Example]) -> None:
    """Compare rows of one cell: the tokens of each prompt, and what the tokens of its target are read as.

    Raises:
        LgbenchError: They differ.
    """
    rows = predictor.rows([example.prompt for example in examples], examples[0].task)
    for example, row in zip(examples, rows, strict=True):
        trained, asked = table[vocabulary.encode_prompt(example.task, example.prompt)].tolist(), list(row.tokens)
        if trained != asked:
            pairs = itertools.zip_longest(trained, asked)
            same = next(place for place, (one, other) in enumerate(pairs) if one != other)
            raise LgbenchError(
                f"Training and evaluation would use other tokens for {example.task} {example.prompt[:40]!r}: from "
                f"token {same} on, {trained[same:][:5]} and {asked[same:][:5]}. transformers does not read the "
                "tokenizer as it is written. Choose another model."
            )
        if (reply := predictor.read(row, table[vocabulary.encode(example.target)].tolist())) != example.target:
            raise LgbenchError(
                f"The tokenizer reads the tokens of {example.target[:40]!r} as {reply[:80]!r}, so no reply to "
                f"{example.task} would be right. Choose another model."
            )
