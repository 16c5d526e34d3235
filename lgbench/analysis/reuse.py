"""Does the main task use the heads of another task? Four tests on one checkpoint, each with its null distribution.

None of them shows that sharing heads *causes* transfer: that takes training with and without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lgbench.analysis.ablation import Ablation, Prepared, aligned, replacement
from lgbench.analysis.heads import LEARNED, default_lengths
from lgbench.analysis.hooked import head_masks
from lgbench.analysis.nulls import (
    Mask,
    MatchedSets,
    Values,
    by_rank,
    correlation_test,
    matched_sets,
    overlap_p,
    p_value,
    permuted,
    rank_correlation,
    top_heads,
)
from lgbench.analysis.opening import Opened
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.questions import Questions, check_trained, draw_questions
from lgbench.analysis.records import resume_analysis, write_analysis
from lgbench.analysis.reuse_record import (
    FEWEST_SETS,
    LEAST_DAMAGE,
    Damage,
    Interchange,
    OtherTask,
    ReuseRecord,
    SharedImportance,
    Sufficiency,
)
from lgbench.analysis.teacher import Rows
from lgbench.data.groups import Group, Zone
from lgbench.results.schema import Draft
from lgbench.util.errors import LgbenchError

_ORDERS = 99
_SIZES_OF_AREA = 8


class Lab:
    """A model and what the tests measure on it, computed when needed.

    Args:
        opened: The model.
        questions: By length.
        ablation: What heads are replaced by.
    """

    def __init__(self, opened: Opened, questions: dict[int, Questions], ablation: Ablation) -> None:
        self.model, self.questions, self.ablation = opened.hooked, questions, ablation
        self._prepared: dict[tuple[str, int], Prepared] = {}

    def prepared(self, task: str, length: int) -> Prepared:
        """The examples of a task at a length."""
        key = task, length
        if key not in self._prepared:
            self._prepared[key] = Prepared(self.model, self.questions[length].examples[task])
        return self._prepared[key]

    def _none(self) -> torch.Tensor:
        return torch.zeros(1, self.model.layers, self.model.heads, dtype=torch.bool, device=self.model.device)

    def measure(self, task: str, length: int, masks: Mask, donor: str | None = None) -> tuple[Values, Values]:
        """The loss of each example with each set replaced, in nats a token and in right targets: (sets, examples).

        Args:
            task: The task.
            length: The length.
            masks: The sets, shape (sets, layers, heads).
            donor: A task whose outputs on the same prompts replace them; None for the ablation.
        """
        prepared = self.prepared(task, length)
        chosen = torch.cat([self._none(), torch.tensor(masks, device=self.model.device)])
        if donor is None:
            scores = prepared.ablated(chosen, self.ablation)
        else:
            theirs = self.prepared(donor, length)
            partners = {rows.start: (rows, outputs) for rows, outputs in theirs.batches}
            scores = prepared.scores(chosen, lambda rows, outputs: _exchanged(rows, outputs, *partners[rows.start]))
        logprob, exact = scores.mean_logprob.numpy(), scores.exact.double().numpy()
        return logprob[:1] - logprob[1:], exact[:1] - exact[1:]

    def lost(self, task: str, lengths: Sequence[int], masks: Mask, donor: str | None = None) -> Values:
        """The mean over examples and lengths of what replacing each set costs, in nats a token, shape (sets,)."""
        flat, place = np.unique(masks.reshape(len(masks), -1), axis=0, return_inverse=True)
        each_once = flat.reshape(-1, *masks.shape[1:])
        costs = [self.measure(task, each, each_once, donor)[0].mean(axis=1)[place] for each in lengths]
        mean: Values = np.mean(costs, axis=0)
        return mean

    def accuracy(self, task: str, length: int) -> float:
        """The share of right targets with nothing replaced."""
        scores = self.prepared(task, length).ablated(self._none(), "zero")
        return float(scores.exact.double().mean())


def _exchanged(rows: Rows, outputs: torch.Tensor, partner: Rows, theirs: torch.Tensor) -> torch.Tensor:
    """The outputs of another task on the same prompts, as far as its rows have the same positions."""
    time = aligned(rows, partner)
    return torch.cat([theirs[:, :, :time], outputs[:, :, time:]], dim=2)


def analyze_reuse(
    opened: Opened,
    *,
    others: Sequence[str] = (),
    unrelated: str | None = None,
    lengths: Sequence[int] = (),
    ablation: Ablation = "resample",
    examples: int = 128,
    path: Path | None = None,
    report: Report = silent,
) -> ReuseRecord:
    """Test whether the main task of a model uses the heads of other tasks.

    Args:
        opened: The model.
        others: Tasks that it was trained on; all but the main task if empty.
        unrelated: One more that it was trained on, for the floor.
        lengths: Some in distribution and in the transfer zone if empty.
        ablation: What heads are replaced by.
        examples: Of each task and length.
        path: Where the record is kept after every other task. An existing record is continued.
        report: Called before every part.

    Raises:
        LgbenchError: There is no other task, the model was not trained on one, at no length in distribution all are
            learned, or `path` holds another analysis.
    """
    suite, source = opened.suite, opened.source
    group = suite.group(source.group)
    main, *rest = source.tasks
    chosen = [task for task in others or rest if task != unrelated]
    if not chosen:
        raise LgbenchError(
            f"{source.model!r} was trained on {main!r} alone, so that there is no other task whose heads it could use. "
            "Name a checkpoint of arm transfer or control."
        )
    tasks = [main, *chosen, *([unrelated] if unrelated else [])]
    check_trained(tasks, list(source.tasks), model=source.model)
    asked = tuple(sorted(lengths or default_lengths(group)))
    lab = Lab(opened, {each: draw_questions(suite, tasks, each, examples) for each in asked}, ablation)
    report(Progress(0, len(chosen) + 1, "head maps"))
    primary = _primary(lab, group, asked, tasks, model=source.model)
    record = ReuseRecord(
        suite=suite.name,
        draft=Draft.of(suite.draft),
        source=source,
        examples=examples,
        ablation=ablation,
        main=main,
        tasks=tuple(chosen),
        unrelated=unrelated,
        lengths=asked,
        primary=primary,
        size=max(1, round(source.layers * source.heads / 4)),
        data=tuple(cell for each in lab.questions.values() for cell in each.cells()),
    )
    record = resume_analysis(path, record, [name for name in ReuseRecord.model_fields if name != "others"])
    missing = [task for task in chosen if not record.done(task)]
    maps = {task: _importance(lab, task, primary) for task in tasks} if missing else {}
    for number, task in enumerate(missing, start=1 + len(chosen) - len(missing)):
        report(Progress(number, len(chosen) + 1, f"tests of {task}"))
        tested = _test_task(lab, group, record, task, maps)
        record = record.model_copy(update={"others": (*record.others, tested)})
        if path is not None:
            write_analysis(path, record)
    return record


def _primary(lab: Lab, group: Group, lengths: Sequence[int], tasks: Sequence[str], *, model: str) -> tuple[int, ...]:
    """The lengths in distribution at which all tasks are learned."""
    short = [each for each in lengths if group.zone(each) == "in_distribution"]
    found = tuple(each for each in short if all(lab.accuracy(task, each) >= LEARNED for task in tasks))
    if not found:
        raise LgbenchError(
            f"{model!r} has not learned {', '.join(tasks)} at a common length up to {group.main_length} "
            f"(of {', '.join(map(str, short)) or 'none'}), so that their heads cannot be compared. Train it longer, or "
            "name other lengths with --length."
        )
    return found


def _importance(lab: Lab, task: str, lengths: Sequence[int]) -> Values:
    """The importance of each head for each example, shape (layers, heads, examples), mean over lengths."""
    masks = head_masks(lab.model.layers, lab.model.heads).numpy()
    lost = [lab.measure(task, each, masks)[0] for each in lengths]
    count = min(each.shape[1] for each in lost)
    mean: Values = np.mean([each[:, :count] for each in lost], axis=0)
    return mean.reshape(lab.model.layers, lab.model.heads, count)


def _test_task(lab: Lab, group: Group, record: ReuseRecord, task: str, maps: dict[str, Values]) -> OtherTask:
    """The four tests of one other task."""
    rng = np.random.default_rng(0)
    main, unrelated, primary, size = record.main, record.unrelated, record.primary, record.size
    own, theirs = maps[main].mean(axis=2), maps[task].mean(axis=2)
    chosen = top_heads(theirs, size)
    floor = None if unrelated is None else rank_correlation(own, maps[unrelated].mean(axis=2))
    correlation = correlation_test(own, theirs, rng)
    shared = int((chosen & top_heads(own, size)).sum())
    zones: tuple[Zone, ...] = ("in_distribution", "transfer")
    sets = matched_sets(chosen, rng)
    return OtherTask(
        task=task,
        heads=tuple((int(layer), int(head)) for layer, head in np.argwhere(chosen)),
        importance=SharedImportance(
            rho=correlation.rho,
            ceiling=rank_correlation(maps[main][:, :, ::2].mean(axis=2), maps[main][:, :, 1::2].mean(axis=2)),
            floor=floor,
            p=correlation.p,
            null=correlation.null,
            size=size,
            shared=shared,
            p_shared=overlap_p(shared, size, own.size),
        ),
        necessity=tuple(
            _damage(lab, record, zone, here, chosen, own, sets)
            for zone in zones
            if (here := [each for each in record.lengths if group.zone(each) == zone])
        ),
        sufficiency=_sufficiency(lab, main, primary, own, theirs, rng),
        interchange=_interchange(lab, main, task, primary, chosen, sets),
    )


def _damage(
    lab: Lab, record: ReuseRecord, zone: Zone, lengths: Sequence[int], chosen: Mask, own: Values, sets: MatchedSets
) -> Damage:
    """What the main task loses in a zone without the chosen heads."""
    main, size = record.main, int(chosen.sum())
    compared = np.stack([chosen, top_heads(own, size), top_heads(-own, size)])
    lost, of_own, of_least = lab.lost(main, lengths, compared).tolist()
    exact = np.mean([lab.measure(main, each, chosen[None])[1].mean() for each in lengths])
    null = lab.lost(main, lengths, sets.masks)
    return Damage(
        zone=zone,
        lengths=tuple(lengths),
        lost=lost,
        lost_exact=float(exact),
        own=of_own,
        least=of_least,
        unrelated=None if record.unrelated is None else float(lab.lost(record.unrelated, lengths, chosen[None])[0]),
        complete=sets.complete,
        null=tuple(null.tolist()),
        p=p_value(lost, null, complete=sets.complete),
    )


def _sufficiency(
    lab: Lab, main: str, lengths: Sequence[int], own: Values, theirs: Values, rng: np.random.Generator
) -> Sufficiency:
    sizes = np.unique(np.linspace(1, own.size - 1, _SIZES_OF_AREA).round().astype(int))
    ranks = by_rank(theirs)
    orders = [ranks, by_rank(own), *(permuted(ranks, rng) for _ in range(_ORDERS))]
    removed = np.stack([order >= size for order in orders for size in sizes])
    everything = np.ones((1, *own.shape), dtype=np.bool_)
    lost = lab.lost(main, lengths, np.concatenate([everything, removed]))
    kept = 1 - lost[1:] / lost[0] if lost[0] > 0 else np.zeros(len(removed))
    areas = kept.reshape(len(orders), len(sizes)).mean(axis=1).tolist()
    return Sufficiency(
        area=areas[0],
        own=areas[1],
        sizes=tuple(sizes.tolist()),
        null=tuple(areas[2:]),
        p=p_value(areas[0], areas[2:], complete=False),
    )


def _interchange(
    lab: Lab, main: str, task: str, lengths: Sequence[int], chosen: Mask, sets: MatchedSets
) -> Interchange | None:
    if any(not {main, task} <= set(lab.questions[each].paired) for each in lengths):
        return None
    masks = np.concatenate([chosen[None], sets.masks])
    lost = lab.lost(main, lengths, masks, donor=task)
    resampled = np.mean([_resampled(lab, main, each, masks) for each in lengths], axis=0)
    scored = resampled >= LEAST_DAMAGE
    scores = 1 - lost / np.where(scored, resampled, 1.0)
    null = scores[1:][scored[1:]]
    score = float(scores[0]) if scored[0] else None
    enough = score is not None and len(null) >= FEWEST_SETS
    return Interchange(
        lost=float(lost[0]),
        resampled=float(resampled[0]),
        score=score,
        null=tuple(null.tolist()),
        p=p_value(score, null, complete=sets.complete) if enough and score is not None else None,
    )


def _resampled(lab: Lab, task: str, length: int, masks: Mask) -> Values:
    prepared = lab.prepared(task, length)
    none = np.zeros((1, *masks.shape[1:]), dtype=np.bool_)
    chosen = torch.tensor(np.concatenate([none, masks]), device=lab.model.device)
    scores = prepared.scores(chosen, lambda rows, outputs: replacement("resample", rows, outputs))
    lost: Values = (scores.mean_logprob[:1] - scores.mean_logprob[1:]).mean(dim=1).numpy()
    return lost
