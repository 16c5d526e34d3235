"""Head maps: the effect of each attention head on a task at a length, by ablation (Cai et al., arXiv 2506.09251)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from pydantic import Field

from lgbench.analysis.ablation import ABLATIONS, Ablation, Prepared, attention_distances
from lgbench.analysis.hooked import head_masks
from lgbench.analysis.opening import Opened
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.questions import Questions, choose_tasks, draw_questions
from lgbench.analysis.records import (
    AnalysisRecord,
    DataCell,
    ModelSource,
    Share,
    Strict,
    resume_analysis,
    write_analysis,
)
from lgbench.data.groups import Group
from lgbench.data.suites import load_suite
from lgbench.results.schema import Count, Draft, Name

if TYPE_CHECKING:
    import pandas as pd

LEARNED = 0.9
"""The share of right targets from which on a task counts as learned at a length."""
Positive = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Map = tuple[tuple[Finite, ...], ...]
"""A number for each head, by layer."""


Metric = Literal["exact", "logprob"]
METRICS: tuple[Metric, ...] = ("exact", "logprob")


class HeadMap(Strict):
    """The effect of each head on a task at a length.

    Attributes:
        task: The task.
        length: The length.
        ablation: What heads are replaced by.
        examples: Number of examples.
        right: Examples whose target is right token by token, the end included, with nothing replaced.
        right_without: The same without each head, by layer.
        logprob: The mean over examples of the mean log-probability of a target's tokens, with nothing replaced.
        logprob_without: The same without each head, by layer.
        logprob_at: The mean log-probability of the target's token at each position, with nothing replaced.
        logprob_at_without: The same without each head: by layer, head, position.
    """

    task: Name
    length: Positive
    ablation: Ablation
    examples: Positive
    right: Count
    right_without: tuple[tuple[Count, ...], ...]
    logprob: Finite
    logprob_without: Map
    logprob_at: tuple[Finite, ...]
    logprob_at_without: tuple[Map, ...]

    def drops(self, metric: Metric) -> list[list[float]]:
        """The loss without each head, by layer: as a share of the examples, or in nats a token."""
        if metric == "exact":
            return [[(self.right - each) / self.examples for each in layer] for layer in self.right_without]
        return [[self.logprob - each for each in layer] for layer in self.logprob_without]


class AttentionDistance(Strict):
    """The distance between the attention of two tasks on the same prompts.

    Attributes:
        first: A task.
        second: Another.
        length: The length.
        distance: The total variation distance of each head, by layer, from 0 to 1, averaged over positions and
            examples.
        distance_of_means: The same distance between the mean attentions over examples.
    """

    first: Name
    second: Name
    length: Positive
    distance: tuple[tuple[Share, ...], ...]
    distance_of_means: tuple[tuple[Share, ...], ...]


class HeadsRecord(AnalysisRecord):
    """The content of `heads.json`.

    Attributes:
        analysis: Always `heads`.
        source: The model.
        examples: Asked for of each task and length.
        ablations: What heads are replaced by.
        tasks: The main task first.
        lengths: Ascending.
        data: What was asked, for the lengths that are done.
        maps: By length, task, ablation.
        attention: By length, for each pair of tasks with the same prompts.
    """

    analysis: Literal["heads"] = "heads"
    source: ModelSource
    examples: Positive
    ablations: tuple[Ablation, ...]
    tasks: tuple[Name, ...]
    lengths: tuple[Positive, ...]
    data: tuple[DataCell, ...] = ()
    maps: tuple[HeadMap, ...] = ()
    attention: tuple[AttentionDistance, ...] = ()

    @property
    def group(self) -> Group:
        """The group of the model."""
        return load_suite(self.suite, self.draft).group(self.source.group)

    def done(self, length: int) -> bool:
        """Whether a length is done."""
        return any(cell.length == length for cell in self.data)

    def find(self, task: str, length: int, ablation: Ablation) -> HeadMap:
        """The map of a task at a length."""
        return next(each for each in self.maps if (each.task, each.length, each.ablation) == (task, length, ablation))

    def learned(self, task: str, length: int) -> bool:
        """Whether at least 90 % of a task's targets are right at a length with nothing replaced."""
        each = self.find(task, length, self.ablations[0])
        return each.right >= LEARNED * each.examples

    def frame(self) -> pd.DataFrame:
        """A row for each head, task, length and ablation."""
        import pandas as pd

        rows = []
        for each in self.maps:
            exact, logprob = each.drops("exact"), each.drops("logprob")
            for layer, heads in enumerate(exact):
                for head, drop in enumerate(heads):
                    row = {"task": each.task, "length": each.length, "zone": self.group.zone(each.length)}
                    row |= {"ablation": each.ablation, "layer": layer, "head": head}
                    rows.append(row | {"exact_drop": drop, "logprob_drop": logprob[layer][head]})
        return pd.DataFrame(rows)

    def positions(self) -> pd.DataFrame:
        """A row for each head, position of the target, task, length and ablation: the log-probability lost there."""
        import pandas as pd

        return pd.DataFrame(
            {
                **{"task": each.task, "length": each.length, "ablation": each.ablation},
                **{"layer": layer, "head": head, "position": position, "logprob_drop": before - after},
            }
            for each in self.maps
            for layer, heads in enumerate(each.logprob_at_without)
            for head, without in enumerate(heads)
            for position, (before, after) in enumerate(zip(each.logprob_at, without, strict=True))
        )

    def distances(self) -> pd.DataFrame:
        """The paper's two measures, a row for each pair of tasks, length and kind; lower is more similar.

        `measure` is `attention` (mean total variation, from 0 to 1), `attention_of_means`, or `ablation`: the mean
        absolute difference of the two tasks' maps over all heads. `learned` says whether both tasks are learned at this
        length.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for length in sorted({cell.length for cell in self.data}):
            for first, second in combinations(self.tasks, 2):
                known = {"first": first, "second": second, "length": length}
                known["learned"] = self.learned(first, length) and self.learned(second, length)
                rows += [known | each for each in self._distances(first, second, length)]
        return pd.DataFrame(rows)

    def _distances(self, first: str, second: str, length: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for ablation in self.ablations:
            for metric in METRICS:
                maps = [self.find(task, length, ablation).drops(metric) for task in (first, second)]
                value = ablation_distance(*maps)
                found.append({"measure": "ablation", "ablation": ablation, "metric": metric, "distance": value})
        for each in self.attention:
            if (each.first, each.second, each.length) == (first, second, length):
                found += [
                    {"measure": "attention", "ablation": None, "metric": None, "distance": _mean(each.distance)},
                    {
                        "measure": "attention_of_means",
                        **{"ablation": None, "metric": None, "distance": _mean(each.distance_of_means)},
                    },
                ]
        return found


def ablation_distance(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> float:
    """The mean over all heads of the absolute difference of two maps (Appendix B of the paper)."""
    pairs = [(a, b) for one, other in zip(first, second, strict=True) for a, b in zip(one, other, strict=True)]
    return sum(abs(a - b) for a, b in pairs) / len(pairs)


def _mean(values: Sequence[Sequence[float]]) -> float:
    flat = [each for layer in values for each in layer]
    return sum(flat) / len(flat)


def default_lengths(group: Group) -> tuple[int, ...]:
    """The last two evaluated lengths in distribution, and a middle and the last one of the transfer zone."""
    short, zone = group.zone_lengths("in_distribution"), group.zone_lengths("transfer")
    return tuple(dict.fromkeys((*short[-2:], *zone[(len(zone) - 1) // 2 :: max(1, len(zone) // 2)])))


def analyze_heads(
    opened: Opened,
    *,
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
    ablations: Sequence[Ablation] = ABLATIONS,
    examples: int = 256,
    path: Path | None = None,
    report: Report = silent,
) -> HeadsRecord:
    """The head maps of a model, and the paper's two measures of the similarity of its tasks.

    Args:
        opened: The model.
        tasks: All that it was trained on, the main task first, if empty.
        lengths: Some in distribution and in the transfer zone if empty.
        ablations: What heads are replaced by.
        examples: Of each task and length, drawn for analyses; none is a test example.
        path: Where the record is kept after every length. An existing record is continued.
        report: Called before every part.

    Raises:
        LgbenchError: The model was not trained on a task, there are too few examples of a length, or `path` holds
            another analysis.
    """
    suite, source = opened.suite, opened.source
    chosen = choose_tasks(tasks, source)
    record = HeadsRecord(
        suite=suite.name,
        draft=Draft.of(suite.draft),
        source=source,
        examples=examples,
        ablations=tuple(ablations),
        tasks=chosen,
        lengths=tuple(sorted(lengths or default_lengths(suite.group(source.group)))),
    )
    record = resume_analysis(path, record, ("suite", "draft", "source", "examples", "ablations", "tasks", "lengths"))
    for number, length in enumerate(record.lengths):
        if not record.done(length):
            report(Progress(number, len(record.lengths), f"length {length}"))
            record = _with_length(record, opened, draw_questions(suite, chosen, length, examples))
            if path is not None:
                write_analysis(path, record)
    report(Progress(len(record.lengths), len(record.lengths), "done"))
    return record


def _with_length(record: HeadsRecord, opened: Opened, questions: Questions) -> HeadsRecord:
    """A record with one more length."""
    maps = list(record.maps)
    for examples in questions.examples.values():
        prepared = Prepared(opened.hooked, examples)
        maps += [head_map(prepared, ablation) for ablation in record.ablations]
    attention = []
    for first, second in combinations([each for each in record.tasks if each in questions.paired], 2):
        by_example, of_means = attention_distances(opened.hooked, questions.examples[first], questions.examples[second])
        attention.append(
            AttentionDistance(
                first=first,
                second=second,
                length=questions.length,
                distance=_rows(by_example.clamp(0, 1)),
                distance_of_means=_rows(of_means.clamp(0, 1)),
            )
        )
    done = {"data": (*record.data, *questions.cells()), "maps": tuple(maps)}
    return record.model_copy(update={**done, "attention": (*record.attention, *attention)})


def head_map(prepared: Prepared, ablation: Ablation) -> HeadMap:
    """The effect of each head on the task of some examples."""
    model = prepared.model
    none = torch.zeros(1, model.layers, model.heads, dtype=torch.bool, device=model.device)
    each = head_masks(model.layers, model.heads, device=model.device)
    scores = prepared.ablated(torch.cat([none, each]), ablation)
    shape = (model.layers, model.heads)
    right, logprob, at = scores.exact.sum(dim=1), scores.mean_logprob.mean(dim=1), scores.logprob_at()
    first = prepared.examples[0]
    return HeadMap(
        task=first.task,
        length=first.length,
        ablation=ablation,
        examples=prepared.count,
        right=int(right[0]),
        right_without=_rows(right[1:].view(shape)),
        logprob=float(logprob[0]),
        logprob_without=_rows(logprob[1:].view(shape)),
        logprob_at=tuple(at[0].tolist()),
        logprob_at_without=tuple(_rows(layer) for layer in at[1:].view(*shape, -1)),
    )


def _rows(values: torch.Tensor) -> Any:
    return tuple(map(tuple, values.tolist()))
