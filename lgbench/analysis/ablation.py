"""Ablations of attention heads: what replaces a head's output, and the effect on the targets.

`zero`: by 0. `mean`: by its mean over the examples, at each position. `resample`: by its output in another example of
the same task and length, which is the counterfactual that keeps its distribution. `interchange`: by its output for
another task on the same prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from lgbench.analysis.hooked import HookedModel
from lgbench.analysis.teacher import Rows, Scores, joined, make_rows, score
from lgbench.data.task import Example
from lgbench.util.errors import UnknownNameError

Ablation = Literal["mean", "resample", "zero"]
ABLATIONS: tuple[Ablation, ...] = ("mean", "resample", "zero")


def ablations_named(names: Sequence[str]) -> tuple[Ablation, ...]:
    """The ablations with these names, or all if there are none.

    Raises:
        UnknownNameError: There is none of a name.
    """
    for name in names:
        if name not in ABLATIONS:
            raise UnknownNameError("kind of ablation", name, ABLATIONS)
    return tuple(kind for kind in ABLATIONS if not names or kind in names)


def replacement(kind: Ablation, rows: Rows, outputs: Tensor) -> Tensor:
    """The replacement of the heads' outputs, shape (layers, batch or 1, time or 1, heads, size).

    The donor of an example is the next example of its batch. Beyond the end of a shorter donor, its last position is
    used.

    Args:
        kind: The ablation.
        rows: The batch.
        outputs: Of the unchanged run, shape (layers, batch, time, heads, size).
    """
    if kind == "zero":
        return torch.zeros_like(outputs[:, :1, :1])
    extended = rows.extended(outputs)
    return extended.mean(dim=1, keepdim=True) if kind == "mean" else extended.roll(-1, dims=1)


class Prepared:
    """Examples of a task as a model reads them, with the heads' outputs of the unchanged run.

    Args:
        model: The model.
        examples: At least two whose prompts have equally many tokens.
    """

    def __init__(self, model: HookedModel, examples: Sequence[Example]) -> None:
        self.model, self.examples = model, examples
        self.batches = [(rows, model.outputs(rows.tokens)) for rows in make_rows(model, examples)]

    @property
    def count(self) -> int:
        """How many examples there are."""
        return sum(len(rows.places) for rows, _ in self.batches)

    def scores(self, masks: Tensor, values: Callable[[Rows, Tensor], Tensor]) -> Scores:
        """Score the targets with heads replaced.

        Args:
            masks: Which heads in each variant, bool, shape (variants, layers, heads).
            values: Returns the replacement, given the rows and the outputs of the unchanged run.
        """
        parts = []
        for rows, outputs in self.batches:
            logits = self.model.logits(rows.tokens, masks, values(rows, outputs), start=rows.start - 1)
            parts.append(score(rows, logits))
        return joined(parts)

    def ablated(self, masks: Tensor, kind: Ablation) -> Scores:
        """Score the targets under one of the ablations."""
        return self.scores(masks, lambda rows, outputs: replacement(kind, rows, outputs))


def attention_distances(
    model: HookedModel, first: Sequence[Example], second: Sequence[Example]
) -> tuple[Tensor, Tensor]:
    """The distance between the attention of two tasks on the same prompts, for each head, from 0 to 1.

    The mean total variation distance over query positions: sum over i and j of |A1[i, j] - A2[i, j]| / (2 T), over
    the T positions that both rows have in the same places. Cai et al. (arXiv 2506.09251, Appendix B) give the plain
    sum, which is 2 T times as much.

    Returns:
        Float64, shape (layers, heads): the mean over examples of the distance of each; the distance of the mean
        attention over examples.
    """
    one, other = make_rows(model, first), make_rows(model, second)
    by_example, by_mean = [], []
    for rows, partner in zip(one, other, strict=True):
        time = aligned(rows, partner)
        mine, theirs = (model.attention(each.tokens[:, :time]).double() for each in (rows, partner))
        by_example.append((mine - theirs).abs().sum(dim=(3, 4)).mean(dim=1) / (2 * time))
        by_mean.append((mine.mean(dim=1) - theirs.mean(dim=1)).abs().sum(dim=(2, 3)) / (2 * time))
    weights = torch.tensor([len(rows.places) for rows in one], dtype=torch.float64)
    weights /= weights.sum()
    return (
        torch.einsum("b,blh->lh", weights, torch.stack(by_example).cpu()),
        torch.einsum("b,blh->lh", weights, torch.stack(by_mean).cpu()),
    )


def aligned(one: Rows, other: Rows) -> int:
    """The positions that are in the same places in the rows of two tasks on the same prompts.

    The prompts, and the target as far as the shorter one goes, where all targets of a task are equally long; of mazes
    the prompts alone.
    """
    assert one.start == other.start
    assert one.places.equal(other.places)
    lengths: list[set[int]] = [set(rows.wanted.sum(dim=1).tolist()) for rows in (one, other)]
    if any(len(each) > 1 for each in lengths):
        return one.start
    return one.start - 1 + min(lengths[0] | lengths[1])
