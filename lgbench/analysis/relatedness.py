"""How related are two tasks in a model? Measures for every pair of trained tasks, without training on longer inputs."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from lgbench.analysis.ablation import Prepared, aligned, attention_distances
from lgbench.analysis.heads import head_map
from lgbench.analysis.hooked import HookedTransformer
from lgbench.analysis.nulls import rank_correlation
from lgbench.analysis.opening import Opened
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.questions import Questions, choose_tasks, draw_questions
from lgbench.analysis.relatedness_record import Mixed, RelatednessRecord, Relation
from lgbench.analysis.teacher import Rows, Scores, joined, make_rows, score
from lgbench.data.task import Example
from lgbench.models.transformer import Transformer
from lgbench.results.schema import Draft
from lgbench.util.errors import LgbenchError

STEP = 0.1
MIXTURES = 11
_TAG = 1  # the place of the tag in a row


def analyze_relatedness(
    opened: Opened,
    *,
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
    examples: int = 128,
    step: float = STEP,
    report: Report = silent,
) -> RelatednessRecord:
    """Measure how related each pair of tasks is in a model, at lengths that it was trained on in all tasks.

    Args:
        opened: A reference model.
        tasks: All that it was trained on, the main task first, if empty.
        lengths: The last two evaluated ones in distribution if empty.
        examples: Of each task and length.
        step: The learning rate of the step of `affinity`, of plain gradient descent.
        report: Called before every pair.

    Raises:
        LgbenchError: It is not a reference model, it was trained on one task alone or not on one of these, or a length
            is beyond what it was trained to.
    """
    suite, source, model = opened.suite, opened.source, opened.hooked
    if not isinstance(model, HookedTransformer):
        raise LgbenchError(f"{source.model!r} is not a reference model: tags and gradients are compared in these only.")
    chosen = choose_tasks(tasks, source)
    if len(chosen) < 2:
        raise LgbenchError(f"Two tasks or more are compared, and {chosen[0]!r} is one. Name others with --task.")
    most = min(source.tasks[task] for task in chosen)
    asked = tuple(sorted(lengths)) or tuple(each for each in suite.group(source.group).grid if each <= most)[-2:]
    if asked[-1] > most:
        raise LgbenchError(f"Tasks are compared at lengths that all are trained to, up to {most}, not at {asked[-1]}.")
    questions = [draw_questions(suite, chosen, length, examples) for length in asked]
    lab = _Lab(model, questions, step)
    pairs = list(combinations(chosen, 2))
    found = []
    for number, (first, second) in enumerate(pairs):
        report(Progress(number, len(pairs), f"{first} and {second}"))
        found.append(lab.relation(first, second))
    report(Progress(len(pairs), len(pairs), "done"))
    return RelatednessRecord(
        suite=suite.name,
        draft=Draft.of(suite.draft),
        source=source,
        examples=examples,
        step=step,
        tasks=chosen,
        lengths=asked,
        data=tuple(cell for each in questions for cell in each.cells()),
        relations=tuple(found),
    )


class _Lab:
    """A model with what is measured of single tasks, each once.

    Args:
        model: The model.
        questions: Of each length.
        step: Of `affinity`.
    """

    def __init__(self, model: HookedTransformer, questions: Sequence[Questions], step: float) -> None:
        self._model, self._questions, self._step = model, questions, step
        tasks = list(questions[0].examples)
        self._maps = {task: self._head_map(task) for task in tasks}
        # Two halves of the examples: one for gradients, the other for their ceiling and the losses after a step.
        self._halves = {task: (self._batches(task, 0), self._batches(task, 1)) for task in tasks}
        module = model.module
        self._gradients = {task: [_gradient(module, half) for half in halves] for task, halves in self._halves.items()}

    def _batches(self, task: str, half: int) -> list[Rows]:
        return [rows for each in self._questions for rows in make_rows(self._model, each.examples[task][half::2])]

    def _head_map(self, task: str) -> Tensor:
        maps = [
            head_map(Prepared(self._model, each.examples[task]), "resample").drops("logprob")
            for each in self._questions
        ]
        return torch.tensor(maps).mean(dim=0)

    def relation(self, first: str, second: str) -> Relation:
        """All measures of two tasks."""
        one, other = self._gradients[first], self._gradients[second]
        paired = all({first, second} <= set(each.paired) for each in self._questions)
        return Relation(
            first=first,
            second=second,
            same_prompts=paired,
            gradient_cosine=(_cosine(one[0], other[1]) + _cosine(one[1], other[0])) / 2,
            gradient_ceiling=(_cosine(*one) + _cosine(*other)) / 2,
            affinity=self._affinity(first, second),
            affinity_back=self._affinity(second, first),
            head_maps=rank_correlation(self._maps[first].numpy(), self._maps[second].numpy()),
            alignment=self._alignment(first, second) if paired else None,
            attention=self._attention(first, second) if paired else None,
            mixtures=self._mixtures(first, second) if paired else None,
        )

    def _affinity(self, taught: str, tested: str) -> float:
        """1 - L_tested after a step on the taught task / L_tested before (Fifty et al., 2021)."""
        module = self._model.module
        before = _loss(module, self._halves[tested][1])
        moved = copy.deepcopy(module)
        with torch.no_grad():
            vector = nn.utils.parameters_to_vector(moved.parameters())
            nn.utils.vector_to_parameters(vector - self._step * self._gradients[taught][0], moved.parameters())
        return float(1 - _loss(moved, self._halves[tested][1]) / before)

    def _examples(self, first: str, second: str) -> list[tuple[list[Example], list[Example]]]:
        return [(each.examples[first], each.examples[second]) for each in self._questions]

    def _attention(self, first: str, second: str) -> float:
        distances = [attention_distances(self._model, *pair)[0].mean() for pair in self._examples(first, second)]
        return min(1.0, float(torch.stack(distances).mean()))

    def _alignment(self, first: str, second: str) -> tuple[float, ...]:
        layers: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(self._model.layers)]
        for pair in self._examples(first, second):
            for rows, partner in zip(*(make_rows(self._model, each) for each in pair), strict=True):
                time = aligned(rows, partner)
                states = [_states(self._model, each.tokens[:, :time]) for each in (rows, partner)]
                for layer, (mine, theirs) in enumerate(zip(*states, strict=True)):
                    layers[layer].append((mine[:, rows.start - 1 :], theirs[:, rows.start - 1 :]))
        return tuple(
            linear_cka(*(torch.cat([each.flatten(0, 1) for each in side]) for side in zip(*layer, strict=True)))
            for layer in layers
        )

    def _mixtures(self, first: str, second: str) -> tuple[Mixed, ...]:
        return tuple(self._mixed(first, second, float(share)) for share in np.linspace(0, 1, MIXTURES))

    def _mixed(self, first: str, second: str, share: float) -> Mixed:
        module = self._model.module
        assert isinstance(module, Transformer)
        rows = [module.embedding.weight[self._model.tag(task)] for task in (first, second)]
        tag = (1 - share) * rows[0] + share * rows[1]
        sides: list[list[Scores]] = [[], []]
        for pair in self._examples(first, second):
            for side, examples in zip(sides, pair, strict=True):
                side.append(joined(_tagged(module, each, tag) for each in make_rows(self._model, examples)))
        right = [torch.cat([each.exact[0] for each in side]) for side in sides]
        logprobs = [torch.cat([each.mean_logprob[0] for each in side]) for side in sides]
        return Mixed(
            second_share=share,
            first_right=float(right[0].double().mean()),
            second_right=float(right[1].double().mean()),
            either_right=float((right[0] | right[1]).double().mean()),
            first_logprob=float(logprobs[0].mean()),
            second_logprob=float(logprobs[1].mean()),
        )


@torch.inference_mode()
def _tagged(module: Transformer, rows: Rows, tag: Tensor) -> Scores:
    """Score the targets with another embedding of the tag."""

    def replace(_: nn.Module, inputs: object, output: Tensor) -> Tensor:
        return torch.cat([output[:, :_TAG], tag.expand(len(output), 1, -1), output[:, _TAG + 1 :]], dim=1)

    handle = module.embedding.register_forward_hook(replace)
    try:
        return score(rows, module(rows.tokens)[None, :, rows.start - 1 :])
    finally:
        handle.remove()


@torch.inference_mode()
def _states(model: HookedTransformer, tokens: Tensor) -> list[Tensor]:
    """The states after each layer, float64, shape (batch, time, width) each."""
    module = model.module
    assert isinstance(module, Transformer)
    found: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda _, inputs, output: found.append(output.double().cpu()))
        for block in module.blocks
    ]
    try:
        module(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return found


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment (Kornblith et al., 2019) of two sets of states, shape (examples, width) each."""
    x, y = first - first.mean(dim=0), second - second.mean(dim=0)
    return min(1.0, float((x.T @ y).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())))


def _mean_loss(module: nn.Module, batches: Sequence[Rows]) -> Tensor:
    """The mean over all tokens of targets of -log p, with its derivatives."""
    total, count = torch.zeros(()), 0
    for rows in batches:
        logits = module(rows.tokens)[:, rows.start - 1 :]
        total = total + nn.functional.cross_entropy(logits[rows.wanted], rows.labels[rows.wanted], reduction="sum")
        count += int(rows.wanted.sum())
    return total / count


@torch.inference_mode()
def _loss(module: nn.Module, batches: Sequence[Rows]) -> float:
    return float(_mean_loss(module, batches))


def _gradient(module: nn.Module, batches: Sequence[Rows]) -> Tensor:
    """The gradient over all weights, shape (weights,)."""
    with torch.enable_grad():
        parts = torch.autograd.grad(_mean_loss(module, batches), list(module.parameters()))
    return torch.cat([each.flatten() for each in parts])


def _cosine(first: Tensor, second: Tensor) -> float:
    return float(nn.functional.cosine_similarity(first.double(), second.double(), dim=0))
