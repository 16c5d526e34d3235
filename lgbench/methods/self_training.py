"""The rounds of self-improvement in a run."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lgbench.data.cells import DEV_EXAMPLES, draw_prompts
from lgbench.data.mixtures import Part, PoolPart
from lgbench.data.task import Stream
from lgbench.methods.filters import confidences, long_enough, majority
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.batching import Batch
from lgbench.training.hooks import Hook
from lgbench.training.modules import build_module, planned_build
from lgbench.training.record import CurvePoint
from lgbench.training.saving import load_trained, trained_tensors
from lgbench.training.spec import RunSpec
from lgbench.training.state import START_ANEW
from lgbench.training.steps import Optimizers, make_optimizer, take_step
from lgbench.training.trainer import Training
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.methods.self_improvement import SelfImprovement

_FIRST_VOTER = 1_000_003  # seeds of the voters are far from those of runs


class SelfTraining(Hook):
    """Makes the labels of each round at its beginning, and trains the models that vote.

    Args:
        method: The options.
        plan: The run's plan.
    """

    def __init__(self, method: SelfImprovement, plan: RunSpec) -> None:
        self._method, self._plan = method, plan
        self._main = plan.suite_group.main
        self._lengths = plan.mixture.tasks[self._main]
        self._base = plan.settings.steps - plan.settings.rounds * plan.settings.round_steps
        self._voters: list[tuple[nn.Module, Optimizers]] = []
        self._saved: dict[str, Tensor] = {}

    def start(self, training: Training) -> None:
        """Build the models that vote; without steps before the first round, begin it."""
        if self._method.votes:
            self._build_voters(training)
        if training.step == 0 and self._base == 0:
            self._begin_round(training, 1)

    def _build_voters(self, training: Training) -> None:
        plan, vocabulary = self._plan, suite_vocabulary(self._plan.loaded_suite)
        for number in range(1, self._method.voters):
            with torch.random.fork_rng():
                seed = (plan.seed + number * _FIRST_VOTER) % 2**63
                module = build_module(
                    plan.settings,
                    planned_build(plan),
                    seed=seed,
                    device=training.device,
                    vocabulary_size=len(vocabulary),
                    main_tag=plan.architecture.main_tag,
                )
            optimizer = make_optimizer(module, plan.settings)
            if self._saved:
                prefix = f"voter{number}."
                own = {name.removeprefix(prefix): t for name, t in self._saved.items() if name.startswith(prefix)}
                load_trained(own, module, optimizer, advice=START_ANEW)
            self._voters.append((module, optimizer))
        self._saved = {}

    def before_step(self, training: Training, batch: Batch) -> None:
        """Have the models that vote take the same step."""
        for module, optimizer in self._voters:
            take_step(
                module,
                optimizer,
                batch,
                self._plan.settings,
                step=training.step,
                device=training.device,
                forward=module,
            )
        models = len(self._voters) + (training.step >= self._base)
        size = self._plan.settings.batch
        training.count_extra(steps=models, examples=models * size, tokens=models * batch.tokens)

    def step(self, training: Training, loss: Tensor) -> None:
        """Begin the next round, if it is time."""
        since = training.step - self._base
        if since >= 0 and since % self._method.round_steps == 0 and training.step < self._plan.settings.steps:
            self._begin_round(training, 1 + since // self._method.round_steps)

    def _begin_round(self, training: Training, number: int) -> None:
        method, length = self._method, self._lengths + number
        if method.labels == "none":
            return
        prompts = self._prompts(training, length)
        labels = self._labels(training, prompts)
        solve = self._plan.loaded_suite.task(self._main).solve
        kept = [(prompt, label) for prompt, label in zip(prompts, labels, strict=True) if label is not None]
        right = sum(label == solve(prompt) for prompt, label in kept)
        where = f"Round {number}, length {length}"
        if not right:
            raise LgbenchError(
                f"{where}: of {len(prompts):,} replies {len(kept):,} passed the filters and none of these is right, so "
                "there is nothing to learn from. Train longer before the rounds, or choose other filters or positions."
            )
        training.measure(
            {"labels/length": length, "labels/kept": len(kept) / len(prompts), "labels/right": right / len(kept)}
        )
        training.tell(
            f"{where}: {len(kept):,} of {len(prompts):,} replies are kept, {right / len(kept):.1%} of them right"
        )
        training.add_examples(_pool(number), [(self._main, prompt, label) for prompt, label in kept])
        training.set_mixture(self._mixture(number))

    def _prompts(self, training: Training, length: int) -> list[str]:
        """The prompts of a round: outside the test and dev cells, and the same for every seed."""
        suite = self._plan.loaded_suite
        task = suite.task(self._main)
        stream = Stream("lgbench", suite.name, "self", f"{self._main}@{task.version}", length)
        held_out = training.held_out(self._main)
        return draw_prompts(
            stream, task, length, self._method.questions, split="self", held_out=held_out, distinct=True
        )

    def _labels(self, training: Training, prompts: list[str]) -> list[str | None]:
        """A label for each prompt, or None if the filters accept none."""
        method, suite = self._method, self._plan.loaded_suite
        if method.labels == "true":
            return [suite.task(self._main).solve(prompt) for prompt in prompts]
        vocabulary = suite_vocabulary(suite)
        replies = []
        for module in (training.module, *(voter for voter, _ in self._voters)):
            replies.append(
                CheckpointPredictor(module, device=training.device, vocabulary=vocabulary).predict(prompts, self._main)
            )
            module.train()
        read = [len(vocabulary.encode_prompt(self._main, prompt)) for prompt in prompts]
        written = sum(
            len(vocabulary.encode(reply)) + 1 for own in replies for reply in own if _is_text(vocabulary.tokens, reply)
        )
        training.count_extra(examples=len(replies) * len(prompts), tokens=len(replies) * sum(read) + written)
        found: list[str | None] = majority(replies, method.agreement) if method.votes else list(replies[0])
        found = [label if label is not None and _is_text(vocabulary.tokens, label) else None for label in found]
        if method.filter.endswith("length"):
            sizes = [0 if label is None else len(vocabulary.encode(label)) for label in found]
            found = [
                label if fits else None for label, fits in zip(found, long_enough(sizes, method.short_by), strict=True)
            ]
        if method.confidence:
            texts = [label or "" for label in found]
            sure = confidences(training.module, vocabulary, self._main, prompts, texts, training.device)
            found = [label if each >= method.confidence else None for label, each in zip(found, sure, strict=True)]
        return found

    def _mixture(self, number: int) -> list[Part | PoolPart]:
        """The list of round `number`, from 1."""
        lengths = self._lengths - self._plan.loaded_suite.task(self._main).min_length + 1
        half, weight = Fraction(1, 2), lengths + number - 1
        own = half * Fraction(lengths, weight)
        parts: list[Part | PoolPart] = [part._replace(share=part.share * own) for part in self._plan.mixture.parts]
        parts += [PoolPart(_pool(older), half / weight) for older in range(1, number)]
        return [*parts, PoolPart(_pool(number), half)]

    def point(self, training: Training, point: CurvePoint) -> None:
        """Record the main task's horizons: the lengths up to which 90 % and 50 % of the dev examples are right."""
        counts = sorted(point.correct[self._main].items())
        training.measure({f"horizon/{level}": _horizon(counts, level) for level in (90, 50)})

    def tensors(self) -> dict[str, Tensor]:
        """The models that vote, with their optimizers."""
        found: dict[str, Tensor] = {}
        for number, (module, optimizer) in enumerate(self._voters, start=1):
            found |= {f"voter{number}.{name}": each for name, each in trained_tensors(module, optimizer).items()}
        return found

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take them back."""
        self._saved = {name: each.clone() for name, each in tensors.items()}


def _pool(number: int) -> str:
    return f"round {number}"


def _is_text(tokens: tuple[str, ...], reply: str) -> bool:
    """Whether a reply contains neither a special token nor a tag. No target contains one."""
    return not any(mark in reply for mark in tokens if len(mark) > 2 and mark[0] == "<")


def _horizon(counts: list[tuple[int, int]], level: int) -> int:
    """The greatest length up to which `level` % of the dev examples are right at every evaluated length."""
    reached = 0
    for length, right in counts:
        if 100 * right < level * DEV_EXAMPLES:
            break
        reached = length
    return reached
