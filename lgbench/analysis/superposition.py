"""Two tasks at once: what a model writes when it is given a mixture of two tasks' tags.

Xiong et al. (2024, arXiv 2410.05603) find that a language model that is shown examples of several tasks gives each
task's answer a probability near its share of the examples, and that a mixture of two task vectors makes it answer both
tasks. The tag of a row is the analogue of a task vector: here its embedding is (1 - a) of the main task's and a of
another's, on prompts for which both have a target, and the probability of each whole target is measured.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from lgbench.analysis.hooked import HookedModel, HookedTransformer
from lgbench.analysis.mixtures import SHARES
from lgbench.analysis.opening import Opened
from lgbench.analysis.progress import Progress
from lgbench.analysis.questions import check_trained, draw_questions, shares_prompts
from lgbench.analysis.records import AnalysisRecord, ModelSource, Share, Strict
from lgbench.analysis.teacher import make_rows, score
from lgbench.data.task import Example
from lgbench.results.schema import Count, Draft, Name
from lgbench.util.errors import LgbenchError
from lgbench.util.tables import Table

if TYPE_CHECKING:
    import pandas as pd

_TAG = 1  # where a row has it
_Real = Annotated[float, Field(allow_inf_nan=False)]


class MixedTags(Strict):
    """What a model writes at one mixture.

    Attributes:
        share: Of the other task's tag.
        main: The mean probability of the main task's whole target, its end included.
        other: That of the other task's.
        main_logprob: The mean log-probability of a token of the main task's target.
        other_logprob: That of the other task's.
        main_first: The share of prompts at which, where the two targets differ first, the main task's token is
        likelier.
        divergence: The mean of sum_k d_k log(d_k / P_k) in nats, with the shares d of the two tags and the
            probabilities P of the two targets, which need not add up to 1.
    """

    share: Share
    main: Share
    other: Share
    main_logprob: _Real
    other_logprob: _Real
    main_first: Share
    divergence: _Real


class MixedPair(Strict):
    """The mixtures of the main task's tag and another's, at a length.

    Attributes:
        other: The other task.
        length: The prompts'.
        examples: Prompts on which the two have different targets.
        points: In the order of the other task's share.
    """

    other: Name
    length: Annotated[int, Field(ge=1)]
    examples: Count
    points: tuple[MixedTags, ...]


class SuperpositionRecord(AnalysisRecord):
    """What `superposition.json` holds.

    Attributes:
        source: The model.
        main: The main task.
        pairs: By the other task, then length.
    """

    source: ModelSource
    main: Name
    pairs: tuple[MixedPair, ...]

    def frame(self) -> pd.DataFrame:
        """A row for each pair, length and mixture."""
        from lgbench.scoring.frames import frame

        return frame(
            {"main": self.main, "other": pair.other, "length": pair.length, "examples": pair.examples}
            | point.model_dump()
            for pair in self.pairs
            for point in pair.points
        )


def analyze_superposition(
    opened: Opened,
    *,
    others: Sequence[str] = (),
    lengths: Sequence[int] = (),
    examples: int = 128,
    report: Callable[[Progress], None] = lambda _: None,
) -> SuperpositionRecord:
    """Mix the tag of a model's main task with those of its other tasks, and measure both targets.

    Args:
        opened: A reference model, as `open_model` opens it.
        others: Trained tasks that read the prompts of the main task; empty for all such.
        lengths: Those of the prompts; empty for the main task's greatest training length.
        examples: Prompts of each length, of which those with two different targets count.
        report: Called before each pair and length.

    Raises:
        LgbenchError: The model is not a reference model, or no task reads the main task's prompts.
    """
    model, suite = opened.hooked, opened.suite
    if not isinstance(model, HookedTransformer):
        raise LgbenchError(f"{opened.source.model!r} has no tags to mix: only reference models have.")
    main, *trained = opened.source.tasks
    check_trained(others, trained, model=opened.source.model)
    able = [task for task in trained if shares_prompts(suite.task(main), suite.task(task))]
    if not able or (missing := [task for task in others if task not in able]):
        raise LgbenchError(
            f"{(missing if able else trained or ['nothing'])[0]!r} does not read the prompts of {main!r}, so that no "
            f"prompt has a target of both. {opened.source.model!r} has such tasks: {', '.join(able) or 'none'}."
        )
    wanted = [(other, length) for other in others or able for length in lengths or [opened.source.tasks[main]]]
    pairs = []
    for number, (other, length) in enumerate(wanted):
        report(Progress(number, len(wanted), f"{main} and {other} at length {length}"))
        pairs.append(_pair(model, opened, main, other, length, examples))
    return SuperpositionRecord(
        suite=suite.name, draft=Draft.of(suite.draft), source=opened.source, main=main, pairs=tuple(pairs)
    )


def _pair(model: HookedTransformer, opened: Opened, main: str, other: str, length: int, count: int) -> MixedPair:
    questions = draw_questions(opened.suite, [main, other], length, count).examples
    both = [(one, two) for one, two in zip(questions[main], questions[other], strict=True) if one.target != two.target]
    # The main task's prompt is read with either target: where one subtracts, the other's sign is not the prompt's.
    same = [(one, two._replace(prompt=one.prompt)) for one, two in both if one.prompt == two.prompt]
    if len(same) < 2:
        raise LgbenchError(
            f"{main} and {other} have different targets on {len(same)} of {count} prompts of length {length}: too few "
            "to compare. Ask for other lengths or more examples."
        )
    tags = [model.encode(task, "", "")[0][_TAG] for task in (main, other)]
    ones, twos = ([pair[place] for pair in same] for place in (0, 1))
    points = [_point(model, tags, main, ones, twos, share) for share in SHARES]
    return MixedPair(other=other, length=length, examples=len(same), points=tuple(points))


@torch.inference_mode()
def _point(
    model: HookedTransformer, tags: list[int], main: str, ones: list[Example], twos: list[Example], share: float
) -> MixedTags:
    with _mixed(model, tags, share):
        of_main, first_main, first_other = _written(model, main, ones, twos)
        of_other, _, _ = _written(model, main, twos, ones)
    logs = [each.sum(dim=1) for each in (of_main[0], of_other[0])]
    sizes = [each[1] for each in (of_main, of_other)]
    shares = (1 - share, share)
    divergence = sum(
        (part * (torch.log(torch.tensor(part, dtype=torch.float64)) - log).mean())
        for part, log in zip(shares, logs, strict=True)
        if part > 0
    )
    return MixedTags(
        share=share,
        main=_rounded(logs[0].exp().mean()),
        other=_rounded(logs[1].exp().mean()),
        main_logprob=_rounded((logs[0] / sizes[0]).mean()),
        other_logprob=_rounded((logs[1] / sizes[1]).mean()),
        main_first=_rounded((first_main > first_other).double().mean()),
        divergence=_rounded(divergence),
    )


def _rounded(value: Any) -> float:
    return round(float(value), 6)


@contextlib.contextmanager
def _mixed(model: HookedTransformer, tags: list[int], share: float) -> Iterator[None]:
    """Have the tag's embedding be a mixture of two in the block."""
    embedding = model.module.get_submodule("embedding")
    assert isinstance(embedding, torch.nn.Embedding)
    one, two = embedding.weight[tags]

    def mix(_: torch.nn.Module, __: Any, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, _TAG] = (1 - share) * one + share * two
        return output

    handle = embedding.register_forward_hook(mix)
    try:
        yield
    finally:
        handle.remove()


def _written(
    model: HookedModel, task: str, examples: list[Example], against: list[Example]
) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor]:
    """Score targets: log-probabilities by token, their number, and the scores at the first token that differs.

    Returns:
        Log-probabilities, shape (examples, positions), and tokens of each target, shape (examples,); then, where the
        two targets differ first, the log-probability of the token of this target and of the other's.
    """
    asked = [each._replace(task=task) for each in examples]
    order, found, sizes, own, others = [], [], [], [], []
    for rows in make_rows(model, asked):
        logits = model.module(rows.tokens)[:, rows.start - 1 :]
        scores = score(rows, logits[None])
        logs = logits.float().log_softmax(dim=-1).double().cpu()
        for at, place in enumerate(rows.places.tolist()):
            mine, its = (model.encode(task, "", each[place].target)[1] for each in (examples, against))
            first = next(at for at, (one, two) in enumerate(zip(mine, its, strict=False)) if one != two)
            own.append(logs[at, first, mine[first]])
            others.append(logs[at, first, its[first]])
        order += rows.places.tolist()
        found += list(scores.logprob[0])
        sizes += scores.wanted.sum(dim=1).tolist()
    places = torch.tensor(order).argsort()
    padded = torch.nn.utils.rnn.pad_sequence(found, batch_first=True)[places]
    numbers = torch.tensor(sizes, dtype=torch.float64)[places]
    return (padded, numbers), torch.stack(own)[places], torch.stack(others)[places]


def tabulate_superposition(record: SuperpositionRecord) -> list[Table | str]:
    """A table for each pair and length."""
    columns = ("share", f"P({record.main})", "P(other)", "main first", "divergence")
    tables: list[Table | str] = []
    for pair in record.pairs:
        rows = [
            (
                f"{each.share:.1f}",
                f"{each.main:.3f}",
                f"{each.other:.3f}",
                f"{each.main_first:.2f}",
                f"{each.divergence:.2f}",
            )
            for each in pair.points
        ]
        title = (
            f"{record.main} and {pair.other} at length {pair.length}, {pair.examples} prompts, by {pair.other}'s share"
        )
        tables.append(Table(title, columns, rows))
    return tables
