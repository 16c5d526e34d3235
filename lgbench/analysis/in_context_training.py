"""The small training of `lgbench analyze in-context`: rows of one hidden value each, the loss on all answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import nn

from lgbench.analysis.in_context import ANSWER, find_family, training_tokens
from lgbench.analysis.progress import Progress, Report
from lgbench.analysis.records import Strict
from lgbench.models.devices import choose_device
from lgbench.models.tensors import packed
from lgbench.results.schema import Name, Seed
from lgbench.training.batching import IGNORED, Batch, Chunk
from lgbench.training.modules import build_module
from lgbench.training.saving import SideTraining
from lgbench.training.settings import TrainingSettings, with_changes
from lgbench.training.steps import Optimizers, make_optimizer, take_step
from lgbench.util.errors import LgbenchError

WEIGHTS = "in-context.safetensors"
_SAVE_EVERY, _TELL_EVERY = 200, 100
_ADVICE = "Delete it, and the training begins again."
USUAL = TrainingSettings(
    layers=2,
    heads=4,
    width=64,
    hidden=192,
    initial_std=0.1,
    steps=400,
    batch=16,
    learning_rate=2e-3,
    schedule="cosine",
    precision="float32",
    length_chunks=1,
)
"""Settings without `--set`."""


class InContextPlan(Strict):
    """Everything that the training depends on.

    Attributes:
        family: The tasks.
        demonstrations: Of a row, before its question.
        seed: Of the weights and the rows.
        settings: Every hyperparameter.
    """

    family: Name
    demonstrations: Annotated[int, Field(ge=2, le=1000)]
    seed: Seed
    settings: TrainingSettings


def plan_in_context(family: str, *, demonstrations: int, seed: int, changes: Sequence[str]) -> InContextPlan:
    """The plan of a training.

    Args:
        family: A name.
        demonstrations: Of a row.
        seed: Of the weights and the rows.
        changes: Of `USUAL`, each `name=value`.

    Raises:
        LgbenchError: There is no such family or setting, or a value does not fit.
    """
    find_family(family)
    return InContextPlan(family=family, demonstrations=demonstrations, seed=seed, settings=with_changes(USUAL, changes))


class InContextTraining:
    """A model in training, resumed from where an earlier process stopped.

    Args:
        plan: What to train.
        folder: Where its state is kept; None to keep none.
        device: As the user names it.

    Attributes:
        module: The model.
        loss: The mean loss of the answers' tokens at the last step; None before the first.

    Raises:
        LgbenchError: The folder holds another training, or a damaged state.
    """

    def __init__(self, plan: InContextPlan, folder: Path | None, device: str) -> None:
        self._plan, self._state = plan, None
        if folder is not None:
            self._state = SideTraining(folder / WEIGHTS, plan.model_dump_json(), advice=_ADVICE)
        self._device = choose_device(device)
        progress: dict[str, float] = {"steps": 0, "loss": math.nan}
        with torch.random.fork_rng():
            self.module: nn.Module = build_module(plan.settings, None, seed=plan.seed, device=self._device)
            self._optimizer: Optimizers = make_optimizer(self.module, plan.settings)
            if self._state is not None:
                progress = self._state.load(self.module, self._optimizer, progress)
            self._generator = torch.get_rng_state()  # of this training: steps may draw, as random positions do
        self._done = int(progress["steps"])
        self.loss = progress["loss"] if self._done else None

    def run(self, report: Report) -> None:
        """Take the steps that remain.

        Raises:
            LgbenchError: The state cannot be written, or the loss is no longer a number.
        """
        with torch.random.fork_rng():
            torch.set_rng_state(self._generator)
            self._take_steps(report)
            self._generator = torch.get_rng_state()

    def _take_steps(self, report: Report) -> None:
        settings = self._plan.settings
        while self._done < settings.steps:
            if self._done % _TELL_EVERY == 0:
                known = "" if self.loss is None else f", loss {self.loss:.3f}"
                report(Progress(self._done, settings.steps, f"training{known}"))
            loss = take_step(
                self.module,
                self._optimizer,
                self._batch(),
                settings,
                step=self._done,
                device=self._device,
                forward=self.module,
            )
            self.loss, self._done = float(loss), self._done + 1
            if not np.isfinite(self.loss):
                raise LgbenchError(
                    f"The loss is no longer a number at step {self._done}. Train with a lower rate, as in --set "
                    "learning_rate=1e-3."
                )
            if self._state is not None and (self._done % _SAVE_EVERY == 0 or self._done == settings.steps):
                self._state.save(self.module, self._optimizer, {"steps": self._done, "loss": self.loss})

    def weights_sha256(self) -> str:
        """SHA-256 over the weights as a safetensors file has them."""
        return hashlib.sha256(packed(self.module.state_dict())).hexdigest()

    def _batch(self) -> Batch:
        plan = self._plan
        family = find_family(plan.family)
        rows, count = plan.settings.batch, plan.demonstrations
        tokens = training_tokens(family, seed=plan.seed, step=self._done, rows=rows, demonstrations=count)
        wanted = family.answered(count + 1)
        labels = np.where(wanted[1:], tokens[:, 1:], IGNORED)
        chunk = Chunk(torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(labels))
        return Batch([chunk], tokens.size, rows * (count + 1) * ANSWER)
