"""Task superposition in a small model: trained on one hidden task a prompt, asked with demonstrations of two.

The from-scratch experiment of Xiong et al. (2024, arXiv 2410.05603). A probe with a record of its own: it has no part
in the protocol and makes no entry of the board.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from lgbench.analysis.in_context import ANSWER, Family, find_family
from lgbench.analysis.in_context_training import InContextPlan, InContextTraining
from lgbench.analysis.mixtures import (
    LEARNED,
    SHARES,
    Answered,
    MixedAnswers,
    greedy_and_logprob,
    measure,
    placed,
    whole_shares,
)
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.records import ProbeRecord, Strict
from lgbench.data.task import Stream
from lgbench.results.schema import Sha256
from lgbench.util.errors import LgbenchError
from lgbench.util.tables import Table

if TYPE_CHECKING:
    import pandas as pd

_ROWS, _MOST = 64, 10_000
_Positive = Annotated[int, Field(ge=1)]
_Real = Annotated[float, Field(allow_inf_nan=False)]


class DemonstratedMixtures(Strict):
    """The mixtures of two hidden values in prompts with a given number of demonstrations.

    Attributes:
        demonstrations: Of a prompt, before its question.
        prompts: Of each mixture.
        points: In the order of the second value's share.
    """

    demonstrations: _Positive
    prompts: _Positive
    points: tuple[MixedAnswers, ...]

    @property
    def learned(self) -> bool:
        """Whether at least 90 % of the prompts of either value alone are answered right."""
        first, last = self.points[0], self.points[-1]
        return min(first.greedy[0], last.greedy[1]) >= LEARNED


class DemonstratedRecord(ProbeRecord):
    """The content of `in-context.json`.

    Attributes:
        analysis: Always `in-context`.
        plan: What was trained.
        loss: The mean loss of the answers' tokens at the last step.
        weights_sha256: Of the weights.
        values: The two hidden values.
        cells: By the number of demonstrations.
    """

    analysis: Literal["in-context"] = "in-context"
    plan: InContextPlan
    loss: _Real
    weights_sha256: Sha256
    values: tuple[int, int]
    cells: tuple[DemonstratedMixtures, ...]

    def frame(self) -> pd.DataFrame:
        """A row for each number of demonstrations and mixture."""
        from lgbench.scoring.frames import frame

        return frame(
            {"demonstrations": cell.demonstrations, "prompts": cell.prompts, "share": point.shares[1]}
            | {"first": point.probabilities[0], "second": point.probabilities[1], "other": point.other}
            | {"first_greedy": point.greedy[0], "second_greedy": point.greedy[1]}
            | {"divergence": point.divergence, "mean_divergence": point.mean_divergence}
            for cell in self.cells
            for point in cell.points
        )


def analyze_in_context(
    plan: InContextPlan,
    *,
    values: Sequence[int] | None = None,
    demonstrations: Sequence[int] = (),
    prompts: int = 200,
    folder: Path | None = None,
    device: str = "auto",
    report: Report = silent,
) -> DemonstratedRecord:
    """Train a model on prompts of one hidden value each, and ask it with demonstrations of two.

    Args:
        plan: What to train.
        values: The two hidden values; the family's own pair if None.
        demonstrations: Numbers of demonstrations in a prompt; if empty, the number in training and twice that.
        prompts: Of each mixture.
        folder: The folder of the training's state and weights, which another call resumes; None to keep none.
        device: Where to train and ask.
        report: Called with the progress.

    Raises:
        LgbenchError: There is no such value or device, or the folder holds another training.
    """
    family = find_family(plan.family)
    pair, asked = _asked(plan, values, demonstrations)
    training = InContextTraining(plan, folder, device)
    training.run(report)
    cells = []
    for number, count in enumerate(asked):
        report(Progress(number, len(asked), f"mixtures of {count} demonstrations"))
        cells.append(_mixtures(training.module.eval(), family, pair, count, prompts))
    return DemonstratedRecord(
        plan=plan,
        loss=round(training.loss or 0.0, 6),
        weights_sha256=training.weights_sha256(),
        values=pair,
        cells=tuple(cells),
    )


def planned_lines(
    plan: InContextPlan, values: Sequence[int] | None, demonstrations: Sequence[int], prompts: int
) -> list[Table | str]:
    """Describe what `analyze_in_context` would do with the same arguments.

    Raises:
        LgbenchError: There is no such value.
    """
    (first, second), asked = _asked(plan, values, demonstrations)
    settings, family = plan.settings, find_family(plan.family)
    tokens = 1 + (plan.demonstrations + 1) * (family.size + 1 + ANSWER)
    return [
        f"Train {plan.family}, seed {plan.seed}: {settings.steps} steps of {settings.batch} rows with "
        f"{plan.demonstrations} demonstrations and a question ({tokens} tokens) of one of {family.values} hidden "
        f"values; {settings.layers} layers, {settings.heads} heads, width {settings.width}.",
        f"Then ask {prompts} prompts of {' and of '.join(map(str, asked))} demonstrations of the values {first} and "
        f"{second}, at each of {len(SHARES)} mixtures.",
    ]


def _asked(
    plan: InContextPlan, values: Sequence[int] | None, demonstrations: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, ...]]:
    """The two values, and the numbers of demonstrations."""
    family = find_family(plan.family)
    asked = tuple(dict.fromkeys(demonstrations or (plan.demonstrations, 2 * plan.demonstrations)))
    if not all(2 <= each <= _MOST for each in asked):
        raise LgbenchError(
            f"{', '.join(map(str, asked))} demonstrations cannot be asked: a mixture takes 2 to {_MOST}."
        )
    return _checked(family, family.pair if values is None else values), asked


def _checked(family: Family, values: Sequence[int]) -> tuple[int, int]:
    """Two different hidden values of a family."""
    if len(values) != 2 or len(set(values)) < 2 or not all(0 <= each < family.values for each in values):
        raise LgbenchError(
            f"{', '.join(map(str, values)) or 'Nothing'} cannot be mixed: name two different hidden values of "
            f"{family.name}, from 0 to {family.values - 1}, as in --values {family.pair[0]},{family.pair[1]}."
        )
    return values[0], values[1]


def _mixtures(
    module: nn.Module, family: Family, pair: tuple[int, int], demonstrations: int, prompts: int
) -> DemonstratedMixtures:
    points = []
    for share in SHARES:
        counts = whole_shares((1 - share, share), demonstrations)
        rows = mixed_tokens(family, pair, counts, prompts)
        answered = _answered(module, rows)
        points.append(measure([count / demonstrations for count in counts], answered))
    return DemonstratedMixtures(demonstrations=demonstrations, prompts=prompts, points=tuple(points))


def mixed_tokens(family: Family, pair: tuple[int, int], counts: Sequence[int], prompts: int) -> Tensor:
    """Prompts of two hidden values, each with either answer to its last question, which is no demonstration's.

    Args:
        family: The tasks.
        pair: The two values.
        counts: Demonstrations of each, in random order.
        prompts: How many.

    Returns:
        int64, shape (2, prompts, tokens).
    """
    stream = Stream("lgbench", "in-context", family.name, "test", *pair, *counts)
    last = family.questions(stream, prompts, 1)
    before = family.questions(stream, prompts, sum(counts), other_than=last[:, 0])
    hidden = np.array(pair)[placed(stream, counts, prompts)]
    questions = np.concatenate([before, last], axis=1)
    both = []
    for value in pair:
        of_last = np.full((prompts, 1), value)
        answers = family.solve(questions, np.concatenate([hidden, of_last], axis=1))
        both.append(family.tokens(questions, answers))
    return torch.from_numpy(np.stack(both))


@torch.inference_mode()
def _answered(module: nn.Module, rows: Tensor) -> Answered:
    """Score the last answer of each row, shape (tasks, prompts, tokens)."""
    device = next(module.parameters()).device
    flat = rows.flatten(0, 1).to(device)
    found = []
    for part in torch.split(flat, _ROWS):
        logits, wanted = module(part[:, :-1])[:, -ANSWER:], part[:, -ANSWER:]
        found.append(greedy_and_logprob(logits, wanted, torch.ones_like(wanted, dtype=torch.bool)))
    greedy, logprob = (torch.cat(each).view(rows.shape[:2]).T for each in zip(*found, strict=True))
    return Answered(logprob, greedy)


def tabulate_in_context(record: DemonstratedRecord) -> list[Table | str]:
    """A table for each number of demonstrations, and whether the tasks were learned."""
    plan, (first, second) = record.plan, record.values
    columns = (
        "share",
        f"P({first})",
        f"P({second})",
        "other",
        f"writes {first} in %",
        f"writes {second} in %",
        "KL",
        "of a prompt",
    )
    parts: list[Table | str] = []
    for cell in record.cells:
        rows = [
            (
                f"{point.shares[1]:.2f}",
                *(f"{each:.3f}" for each in (*point.probabilities, point.other)),
                *(f"{100 * each:.0f}" for each in point.greedy),
                f"{point.divergence:.3f}",
                f"{point.mean_divergence:.3f}",
            )
            for point in cell.points
        ]
        title = (
            f"{plan.family} {first} and {second} in prompts of {cell.demonstrations} demonstrations (trained on "
            f"{plan.demonstrations}), {cell.prompts} prompts, by the share of {second}"
        )
        parts.append(Table(title, columns, rows))
        if not cell.learned:
            advice = f"Train longer, as in --set steps={2 * plan.settings.steps}."
            if cell.demonstrations > plan.demonstrations:
                advice = f"The rows of training had {plan.demonstrations}."
            parts.append(
                f"Not learned: under 90 % of the prompts of one value alone are answered right with "
                f"{cell.demonstrations} demonstrations, so that the mixtures say little. {advice}"
            )
    return parts
