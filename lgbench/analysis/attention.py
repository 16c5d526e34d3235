"""What the heads of a model attend to: the patterns of single prompts, and the attention on the right source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from lgbench.analysis.heads import default_lengths
from lgbench.analysis.hooked import HookedModel
from lgbench.analysis.opening import Opened
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.questions import choose_tasks, draw_questions
from lgbench.analysis.records import AnalysisRecord, DataCell, ModelSource, Share, Strict
from lgbench.analysis.sources import has_sources, sources_of, target_of
from lgbench.analysis.teacher import Rows, make_rows
from lgbench.data.task import Example
from lgbench.results.schema import Count, Draft, Name, Text
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    import pandas as pd

MOST_DRAWN = 64
"""Heads of a picture."""
_ROWS = 32  # at a time: attention takes as much memory as the square of a row's length
Positive = Annotated[int, Field(ge=1)]
Head = tuple[Count, Count]
"""A layer and a head of it, from 0."""


class SourceShare(Strict):
    """How much attention goes where a target comes from, at the positions that write it.

    Attributes:
        task: The task.
        length: The length.
        examples: How many.
        uniform: By position of the target: the share that evenly spread attention has there; null where the target's
            character has no source.
        share: The mean over examples, by layer, head, position.
    """

    task: Name
    length: Positive
    examples: Positive
    uniform: tuple[Share | None, ...]
    share: tuple[tuple[tuple[Share | None, ...], ...], ...]

    def mean(self, head: Head, *, beyond: int | None = None, inside: int | None = None) -> float | None:
        """The mean of a head over positions of the target; None where there are none.

        Args:
            head: The head, as (layer, head).
            beyond: Only positions after this length, if given.
            inside: Only positions up to this length, if given.
        """
        return _mean(self.share[head[0]][head[1]][beyond or 0 : inside])

    def mean_uniform(self, *, beyond: int | None = None, inside: int | None = None) -> float | None:
        """The same of evenly spread attention."""
        return _mean(self.uniform[beyond or 0 : inside])


def _mean(shares: Sequence[float | None]) -> float | None:
    known = [each for each in shares if each is not None]
    return sum(known) / len(known) if known else None


class Pattern(Strict):
    """The attention on one prompt and its target.

    Attributes:
        task: The task.
        prompt: The prompt.
        target: Its target, which the model is given.
        tokens: The row in the words of the model's vocabulary.
        start: Tokens before the target.
        heads: The heads whose patterns are kept.
        weights: For each head, a row for each query token: its attention to each token up to itself.
    """

    task: Name
    prompt: Text
    target: Text
    tokens: tuple[Text, ...]
    start: Positive
    heads: tuple[Head, ...]
    weights: tuple[tuple[tuple[Share, ...], ...], ...]


class AttentionRecord(AnalysisRecord):
    """The content of `attention.json`.

    Attributes:
        analysis: Always `attention`.
        source: The model.
        tasks: The main task first.
        lengths: Ascending.
        data: The examples that the shares were measured on.
        shares: By task, then length, for tasks whose sources are known.
        patterns: Of single prompts.
    """

    analysis: Literal["attention"] = "attention"
    source: ModelSource
    tasks: tuple[Name, ...]
    lengths: tuple[Positive, ...]
    data: tuple[DataCell, ...]
    shares: tuple[SourceShare, ...]
    patterns: tuple[Pattern, ...]

    def best(self, task: str) -> Head:
        """The head that attends most to a task's sources, at in-distribution lengths, or at all if there are none."""
        of_task = [each for each in self.shares if each.task == task]
        learned = [each for each in of_task if each.length <= self.source.tasks[task]] or of_task
        heads = [(layer, head) for layer in range(self.source.layers) for head in range(self.source.heads)]
        return max(heads, key=lambda head: sum(each.mean(head) or 0.0 for each in learned))

    def frame(self) -> pd.DataFrame:
        """A row for each task, length, head and position of the target that has a source."""
        import pandas as pd

        return pd.DataFrame(
            {
                **{"task": each.task, "length": each.length, "layer": layer, "head": head, "position": position},
                "inside": position < self.source.tasks[each.task],
                **{"share": share, "uniform": each.uniform[position]},
            }
            for each in self.shares
            for layer, heads in enumerate(each.share)
            for head, positions in enumerate(heads)
            for position, share in enumerate(positions)
            if share is not None
        )


def analyze_attention(
    opened: Opened,
    *,
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
    prompts: Sequence[str] = (),
    heads: Sequence[Head] = (),
    examples: int = 128,
    report: Report = silent,
) -> AttentionRecord:
    """Measure what the heads of a model attend to.

    Args:
        opened: The model.
        tasks: All that it was trained on, the main task first, if empty.
        lengths: Of the shares; some in distribution and in the transfer zone if empty.
        prompts: Whose patterns to keep, for each task. If empty, the first example of the shortest length, of models
            with at most 64 heads.
        heads: Whose patterns to keep; all if empty.
        examples: Of each task and length.
        report: Called before every part.

    Raises:
        LgbenchError: The model was not trained on a task, a text is not a prompt of it, or there is no such head or
            too many.
    """
    suite, source, model = opened.suite, opened.source, opened.hooked
    chosen = choose_tasks(tasks, source)
    asked = tuple(sorted(lengths or default_lengths(suite.group(source.group))))
    drawn = _drawn(model, heads, wanted=bool(prompts or heads))
    targets = {(task, text): target_of(suite.task(task), text) for task in chosen for text in prompts}
    shares, data, patterns = [], [], []
    for number, length in enumerate(asked):
        report(Progress(number, len(asked), f"length {length}"))
        questions = draw_questions(suite, chosen, length, examples)
        data += questions.cells()
        shares += [
            source_share(model, each)
            for task, each in questions.examples.items()
            if has_sources(task) and model.places(task, each[0].prompt) is not None
        ]
        if not prompts and length == asked[0]:
            targets = {(task, each[0].prompt): each[0].target for task, each in questions.examples.items()}
    report(Progress(len(asked), len(asked), "done"))
    patterns = [pattern(model, task, text, target, drawn) for (task, text), target in targets.items() if drawn]
    return AttentionRecord(
        suite=suite.name,
        draft=Draft.of(suite.draft),
        source=source,
        tasks=chosen,
        lengths=asked,
        data=tuple(data),
        shares=tuple(sorted(shares, key=lambda each: chosen.index(each.task))),
        patterns=tuple(patterns),
    )


def _drawn(model: HookedModel, heads: Sequence[Head], *, wanted: bool) -> list[Head]:
    """The heads whose patterns are kept."""
    every = [(layer, head) for layer in range(model.layers) for head in range(model.heads)]
    for layer, head in heads:
        if (layer, head) not in every:
            raise LgbenchError(
                f"There is no head {layer}.{head}: the model has layers 0 to {model.layers - 1}, each with heads 0 to "
                f"{model.heads - 1}."
            )
    chosen = list(dict.fromkeys(heads)) or every
    if len(chosen) <= MOST_DRAWN:
        return chosen
    if wanted:
        raise LgbenchError(
            f"{len(chosen)} heads are too many for a picture, which takes {MOST_DRAWN}. Name some with --head, as in "
            "--head 0.1,2.3."
        )
    return []


def source_share(model: HookedModel, examples: Sequence[Example]) -> SourceShare:
    """The mean attention on the sources of a task whose sources are known.

    Args:
        model: A model that reads each character of a prompt as one token.
        examples: Of one task and length.
    """
    total: Tensor | None = None
    counts = uniform = torch.zeros(0, dtype=torch.float64)
    for rows in make_rows(model, examples):
        is_source = _source_masks(model, rows, examples)
        size = is_source.shape[1]
        for part in torch.split(torch.arange(len(rows.tokens)), _ROWS):
            weights = model.attention(rows.tokens[part])[:, :, :, rows.start - 1 :][:, :, :, :size]
            found = (weights * is_source[part].to(weights.device)[None, :, None]).sum(dim=(1, 4)).double().cpu()
            total = found if total is None else _added(total, found)
        seen = torch.arange(rows.start, rows.start + size, dtype=torch.float64)
        uniform = _added(uniform, (is_source.sum(dim=2) / seen).sum(dim=0))
        counts = _added(counts, is_source.any(dim=2).sum(dim=0).double())
    assert total is not None
    first = examples[0]
    return SourceShare(
        task=first.task,
        length=first.length,
        examples=len(examples),
        uniform=_shares(uniform, counts),
        share=tuple(tuple(_shares(head, counts) for head in layer) for layer in total),
    )


def _source_masks(model: HookedModel, rows: Rows, examples: Sequence[Example]) -> Tensor:
    """Which positions are sources of each character of the target, bool, shape (batch, characters, time)."""
    asked = [examples[place] for place in rows.places.tolist()]
    masks = torch.zeros(len(asked), max(len(each.target) for each in asked), rows.tokens.shape[1], dtype=torch.bool)
    for row, each in enumerate(asked):
        places = model.places(each.task, each.prompt)
        assert places is not None
        for at, found in enumerate(sources_of(each.task, each.prompt)):
            masks[row, at, [places[source] for source in found]] = True
    return masks


def _added(first: Tensor, second: Tensor) -> Tensor:
    """The sum of tensors whose last dimensions may differ, the shorter filled with 0."""
    size = max(first.shape[-1], second.shape[-1])
    first, second = (torch.nn.functional.pad(each, (0, size - each.shape[-1])) for each in (first, second))
    return first + second


def _shares(totals: Tensor, counts: Tensor) -> tuple[float | None, ...]:
    pairs = zip(totals.tolist(), counts.tolist(), strict=True)
    return tuple(min(total / count, 1.0) if count else None for total, count in pairs)


def pattern(model: HookedModel, task: str, prompt: str, target: str, heads: Sequence[Head]) -> Pattern:
    """The attention on a prompt and its target."""
    before, written = model.encode(task, prompt, target)
    row = [*before, *written[:-1]]
    weights = model.attention(torch.tensor([row], device=model.device))[:, 0].double().clamp(0, 1).cpu()
    return Pattern(
        task=task,
        prompt=prompt,
        target=target,
        tokens=tuple(model.texts(row)),
        start=len(before),
        heads=tuple(heads),
        weights=tuple(
            tuple(
                tuple(round(weight, 4) for weight in weights[layer, head, at, : at + 1].tolist())
                for at in range(len(row))
            )
            for layer, head in heads
        ),
    )
