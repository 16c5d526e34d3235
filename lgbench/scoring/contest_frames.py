"""Systems side by side for programs: the content of `--json`, and tidy frames. Pure; pandas is imported when used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from lgbench.scoring.contest import Contest
from lgbench.scoring.contest_caveats import caveats, contest_notes
from lgbench.scoring.contestants import Entry, Field
from lgbench.scoring.duels import Difference, Duel
from lgbench.scoring.estimates import Estimate
from lgbench.scoring.frames import frame
from lgbench.util.errors import LgbenchError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

ContestRows = Literal["differences", "systems", "lengths"]


def contest_frame(contests: Sequence[Contest], rows: ContestRows = "differences") -> pd.DataFrame:
    """Comparisons of systems as a frame.

    Args:
        contests: At least one.
        rows: What a row is. `differences`: a pair of systems in a group, and last their mean, without a group, which
            has the verdict. `systems`: a system in a group. `lengths`: a system in a group at a length. Under `open`,
            a main task takes the place of a group.

    Raises:
        LgbenchError: There is nothing to make a frame of.
        UnknownNameError: There are no such rows.
    """
    makers: dict[str, Callable[[Contest], Iterator[dict[str, Any]]]] = {
        "differences": _differences,
        "systems": _systems,
        "lengths": _lengths,
    }
    if rows not in makers:
        raise UnknownNameError("kind of rows", rows, makers)
    found = [row for contest in contests for row in makers[rows](contest)]
    if not found:
        raise LgbenchError("No two systems were compared, so there are no rows.")
    return frame(iter(found))


def _differences(contest: Contest) -> Iterator[dict[str, Any]]:
    for duel in contest.duels:
        fields = [field for field in contest.fields if field.name in duel.differences]
        for field in fields:
            sides = [field.entries[name] for name in (duel.first, duel.second)]
            yield {
                **_of_pair(contest, duel),
                "group": None if field.group is None else field.name,
                "task": field.task,
                "first_seeds": sides[0].seeds,
                "second_seeds": sides[1].seeds,
                "first_accuracy": sides[0].accuracy.value,
                "second_accuracy": sides[1].accuracy.value,
                **_numbers(duel.differences[field.name], duel.corrected_ps[field.name], duel.gains.get(field.name)),
                "verdict": None,
            }
        yield {
            **_of_pair(contest, duel),
            "group": None,
            "task": None,
            "first_seeds": None,
            "second_seeds": None,
            "first_accuracy": duel.accuracies[0],
            "second_accuracy": duel.accuracies[1],
            **_numbers(duel.mean, duel.corrected_p, None),
            "verdict": duel.word,
        }


def _of_pair(contest: Contest, duel: Duel) -> dict[str, Any]:
    return {"suite": contest.suite.name, "arm": contest.arm, "first": duel.first, "second": duel.second}


def _numbers(difference: Difference, corrected_p: float | None, gain: Difference | None) -> dict[str, Any]:
    low, high = difference.interval or (None, None)
    return {
        "difference": difference.value,
        "low": low,
        "high": high,
        "p": difference.p,
        "corrected_p": corrected_p,
        "gain_difference": None if gain is None else gain.value,
    }


def _systems(contest: Contest) -> Iterator[dict[str, Any]]:
    for field in contest.fields:
        for name, entry in field.entries.items():
            yield {
                **_of_system(contest, field, name),
                "seeds": entry.seeds,
                **_bounded(entry.accuracy, "accuracy", "low", "high"),
                **_bounded(entry.gain, "gain", "gain_low", "gain_high"),
            }


def _lengths(contest: Contest) -> Iterator[dict[str, Any]]:
    for field in contest.fields:
        zones = contest.suite.zone_group(field.task, None if field.group is None else field.name)
        for name, entry in field.entries.items():
            for length, seeds in zip(entry.curve.lengths, zip(*entry.curve.seeds, strict=True), strict=True):
                yield {
                    **_of_system(contest, field, name),
                    "length": length,
                    "zone": zones.zone(length),
                    "seeds": entry.seeds,
                    "accuracy": sum(seeds) / len(seeds),
                    "lowest": min(seeds),
                    "highest": max(seeds),
                }


def _of_system(contest: Contest, field: Field, name: str) -> dict[str, Any]:
    group = None if field.group is None else field.name
    return {"suite": contest.suite.name, "arm": contest.arm, "group": group, "task": field.task, "system": name}


def _bounded(estimate: Estimate | None, value: str, low: str, high: str) -> dict[str, Any]:
    if estimate is None:
        return dict.fromkeys((value, low, high))
    ends = estimate.interval or (None, None)
    return {value: estimate.value, low: ends[0], high: ends[1]}


def contest_record(contest: Contest) -> dict[str, Any]:
    """The content of `--json`. Accuracies and differences are shares from -1 to 1; null where there is none."""
    return {
        "suite": contest.suite.name,
        "draft": contest.suite.draft is not None,
        "arm": contest.arm,
        "systems": [each.name for each in contest.contestants],
        "comparisons": [_duel_record(contest, duel) for duel in contest.duels],
        "groups": [_field_record(field) for field in contest.fields],
        "notes": contest_notes(contest),
    }


def _duel_record(contest: Contest, duel: Duel) -> dict[str, Any]:
    return {
        "first": duel.first,
        "second": duel.second,
        "verdict": duel.word,
        "caveats": caveats(contest, duel),
        "fewest_seeds": duel.fewest_seeds,
        "first_accuracy": float(duel.accuracies[0]),
        "second_accuracy": float(duel.accuracies[1]),
        "mean": {**_difference_record(duel.mean), "corrected_p": duel.corrected_p},
        "groups": {
            name: {
                **_difference_record(difference),
                "corrected_p": duel.corrected_ps[name],
                "gain": _difference_record(duel.gains[name]) if name in duel.gains else None,
            }
            for name, difference in duel.differences.items()
        },
    }


def _difference_record(difference: Difference) -> dict[str, Any]:
    return {
        "difference": float(difference.value),
        "interval": None if difference.interval is None else [*difference.interval],
        "over_examples": difference.over_examples,
        "p": difference.p,
    }


def _field_record(field: Field) -> dict[str, Any]:
    return {
        "group": None if field.group is None else field.name,
        "task": field.task,
        "systems": {name: _entry_record(entry) for name, entry in field.entries.items()},
    }


def _entry_record(entry: Entry) -> dict[str, Any]:
    by_length = zip(entry.curve.lengths, zip(*entry.curve.seeds, strict=True), strict=True)
    return {
        "seeds": entry.seeds,
        "accuracy": float(entry.accuracy.value),
        "interval": None if entry.accuracy.interval is None else [*entry.accuracy.interval],
        "gain": None if entry.gain is None else float(entry.gain.value),
        "not_learned": {task: float(share) for task, share in entry.unlearned.items()},
        "lengths": [{"length": length, "by_seed": [float(share) for share in own]} for length, own in by_length],
    }
