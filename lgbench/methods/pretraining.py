"""The stage of a run before its first step: a model trained on procedural data, and parts of it copied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lgbench.data.groups import OPEN_ARM
from lgbench.data.task import Stream
from lgbench.methods.parts import TABLES, PartName, is_of
from lgbench.methods.rules import Alphabet, RuleName, rule_rows
from lgbench.models.checkpoint import save_checkpoint
from lgbench.models.tensors import read_tensors
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.batching import make_batch
from lgbench.training.hooks import Hook
from lgbench.training.modules import build_module
from lgbench.training.saving import MODEL, SideTraining
from lgbench.training.settings import TrainingSettings, changed_settings
from lgbench.training.steps import make_optimizer, take_step
from lgbench.training.trainer import POINTS, Training, checkpoint_record
from lgbench.util.links import refuse_links

if TYPE_CHECKING:
    from lgbench.methods.procedural import Procedural

STATES = "pretraining-*.safetensors"
"""The names of the files from which pretraining is resumed, one for each rule."""
_SAVE_EVERY, _TELL_EVERY = 200, 500
_ADVICE = "Delete it, and pretraining begins again."


class Pretraining(Hook):
    """Pretrains before the first step. A resumed run continues where the earlier process stopped.

    Args:
        method: The options.
    """

    def __init__(self, method: Procedural) -> None:
        self._method = method

    def start(self, training: Training) -> None:
        """Pretrain, and put the parts that are kept into the run's module."""
        if training.step:
            return
        taken: list[tuple[RuleName, PartName, dict[str, Tensor]]] = []
        for rule, parts in self._method.sources:
            stage = _Stage(self._method, rule, training)
            if not stage.run():
                return  # Ctrl-C: the state is saved, and the trainer ends before its first step
            taken.append((rule, parts, stage.weights()))
        alphabet = Alphabet.of(suite_vocabulary(training.plan.loaded_suite))
        own = training.module.state_dict()
        with torch.no_grad():
            for rule, parts, weights in taken:
                kept = {name: each for name, each in weights.items() if is_of(name, parts)}
                for name, tensor in self._controlled(kept, rule).items():
                    rows = sorted(alphabet.tokens) if name in TABLES else slice(None)
                    own[name][rows] = tensor[rows].to(own[name].device)

    def _controlled(self, weights: Mapping[str, Tensor], rule: RuleName) -> dict[str, Tensor]:
        """The weights, without their structure if a control asks for that."""
        generator = torch.Generator().manual_seed(int(Stream("lgbench", "control", rule).words(1)[0] >> 1))
        found = {}
        for name, tensor in weights.items():
            if self._method.control == "shuffle":
                order = torch.randperm(tensor.numel(), generator=generator)
                tensor = tensor.flatten()[order].view(tensor.shape)
            elif self._method.control == "noise":
                noise = torch.randn(tensor.shape, generator=generator)
                tensor = tensor + self._method.noise * tensor.std(correction=0) * noise
            found[name] = tensor
        return found

    def end(self, training: Training) -> None:
        """Remove what only an interrupted pretraining needs."""
        if training.record.finished:
            for rule, _ in self._method.sources:
                _state_path(training, rule).unlink(missing_ok=True)


def _state_path(training: Training, rule: RuleName) -> Path:
    return training.folder / STATES.replace("*", rule)


class _Stage:
    """The pretraining on one rule."""

    def __init__(self, method: Procedural, rule: RuleName, training: Training) -> None:
        self._method, self._rule, self._training = method, rule, training
        plan = training.plan.model_dump_json()
        self._state = SideTraining(_state_path(training, rule), plan, advice=_ADVICE)

    def run(self) -> bool:
        """Take the remaining steps without changing the run's generator. Returns False if Ctrl-C stopped them."""
        training, method = self._training, self._method
        vocabulary = suite_vocabulary(training.plan.loaded_suite)
        alphabet, settings = Alphabet.of(vocabulary), self._settings(training.plan.settings)
        refuse_links(training.folder, [self._state.path.name])
        with torch.random.fork_rng():
            module = build_module(
                settings,
                None,
                seed=training.plan.seed,
                device=training.device,
                vocabulary_size=len(vocabulary),
                main_tag=training.plan.architecture.main_tag,
            )
            optimizer = make_optimizer(module, settings)
            progress = self._state.load(module, optimizer, {"steps": 0, "tokens": 0})
            while (step := int(progress["steps"])) < method.steps:
                rows = rule_rows(
                    self._rule,
                    alphabet,
                    step=step,
                    count=method.batch,
                    longest=method.length,
                    shuffled=method.control == "data",
                )
                batch = make_batch(rows, settings.length_chunks)
                loss = take_step(module, optimizer, batch, settings, step=step, device=training.device, forward=module)
                done = step + 1
                progress = {"steps": done, "tokens": progress["tokens"] + batch.tokens}
                if done % _TELL_EVERY == 0 or done == method.steps:
                    training.tell(f"pretraining on {self._rule}, step {done}/{method.steps}: loss {loss:.3f}")
                stop = training.is_interrupted
                if stop or done % _SAVE_EVERY == 0 or done == method.steps:
                    self._state.save(module, optimizer, progress)
                if stop:
                    training.tell(f"the state of the pretraining after step {done} was saved")
                    return False
        steps = method.steps
        training.count_extra(steps=steps, examples=steps * method.batch, tokens=int(progress["tokens"]))
        self._keep(module)
        return True

    def _settings(self, settings: TrainingSettings) -> TrainingSettings:
        method = self._method
        return changed_settings(
            settings,
            {
                "steps": method.steps,
                "batch": method.batch,
                "learning_rate": method.learning_rate,
                "weight_decay": method.weight_decay,
                "optimizer": "adamw",
                "schedule": "trapezoid",
                "warmup": 0.0,
                "decay": 0.0,
                "rate_cut": 1.0,
                "decay_until": 1.0,
                "compile": False,
            },
        )

    def _keep(self, module: nn.Module) -> None:
        """Write the model as a checkpoint, from which other runs can start."""
        record = checkpoint_record(self._training.plan, steps=self._method.steps, data_changed=True)
        place = self._training.folder / POINTS / f"pretrained-{self._rule}"
        save_checkpoint(place, module, record.model_copy(update={"arm": OPEN_ARM}))

    def weights(self) -> dict[str, Tensor]:
        """The trained weights, on the CPU."""
        tensors = read_tensors(self._state.path, advice=_ADVICE)
        return {name.removeprefix(MODEL): each for name, each in tensors.items() if name.startswith(MODEL)}
