"""`compare`: systems against each other, or the arms of one, re-scored from their replies."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lgbench.data.groups import OPEN_ARM
from lgbench.python.comparisons import ArmComparison, SystemComparison
from lgbench.python.contests import find_contests, not_compared, rescored, suite_of
from lgbench.python.progress import count_bar
from lgbench.python.results import Result, Results
from lgbench.python.systems import Given, Systems, place_of, read_systems, systems_of, with_baseline
from lgbench.scoring.systems import score_trained, why_left_out
from lgbench.util.counting import CountReport, no_report
from lgbench.util.errors import LgbenchError


def compare(
    *systems: str | Path | Result | Results | Sequence[Result] | Mapping[str, str | Path | Sequence[Result]],
    baseline: str | None = None,
    arm: str | None = None,
    progress: bool | None = None,
) -> SystemComparison | ArmComparison:
    """Compare systems, trained under arms or evaluated under `open`; of a single trained system, compare its arms.

    Every run that counts is re-scored from its replies. docs/comparing.md says how systems are told apart.

    Args:
        systems: Folders of runs or submissions, or results; or one dictionary of these, by the systems' names.
        baseline: The system that every other is compared with: one of them, a folder, or a submitted system such as
            `reference-rope`. None for all pairs.
        arm: The arm in which trained systems are compared; None for `transfer`.
        progress: Whether to show a bar; None shows it in a notebook and in a terminal.

    Returns:
        A comparison with `to_frame()`, `to_markdown()` and `to_dict()`, which a notebook shows with pictures. What
        does not count is in its `left_out`, and warned of.

    Raises:
        LgbenchError: There is nothing to compare, as other suites or groups, or something cannot be read.
        UnknownNameError: There is no such arm or baseline.
    """
    found, left_out = given_systems(systems)
    with count_bar(progress, unit="runs") as report:
        comparison = compare_results(found, baseline=baseline, arm=arm, report=report, left_out=left_out)
    for each in comparison.left_out:
        warnings.warn(f"Left out: {each}.", stacklevel=2)
    return comparison


def given_systems(systems: Sequence[Any]) -> tuple[Systems, tuple[str, ...]]:
    """What was given to `compare` or `plot`, as systems; and what of it is left out, a clause each.

    Raises:
        LgbenchError: There is nothing, it is neither folders nor results, or it cannot be read.
    """
    if not any(len(each) if isinstance(each, Mapping) else True for each in systems):
        raise LgbenchError("Name systems, as in lgbench.compare('runs/mine', 'submissions/reference-rope').")
    pairs = [pair for each in systems for pair in (each.items() if isinstance(each, Mapping) else [(None, each)])]
    given, left_out = list[Given](), list[str]()
    for number, (name, what) in enumerate(pairs, 1):
        if isinstance(what, str | Path):
            read = read_systems([(name, Path(what))])
            left_out += read.left_out
            results = [each for own in read.systems.values() for each in own]
            given.append(Given(results, str(what), name))
        else:
            given.append(Given(_results(what), f"argument {number}", name))
    return systems_of(given), tuple(left_out)


def _results(what: object) -> list[Result]:
    given: list[object] = list(what) if isinstance(what, Sequence) else [what]
    for each in given:
        if not isinstance(each, Result):
            raise LgbenchError(
                f"Give folders or results, as of lgbench.load_results; {type(each).__name__} is neither."
            )
    return [each for each in given if isinstance(each, Result)]


def compare_results(
    systems: Systems,
    *,
    baseline: str | None = None,
    arm: str | None = None,
    report: CountReport = no_report,
    left_out: Sequence[str] = (),
) -> SystemComparison | ArmComparison:
    """What `compare` does once the systems are known. Arguments and errors as there.

    Args:
        systems: By name.
        baseline: As in `compare`.
        arm: As in `compare`.
        report: Called before the first run is re-scored, and after each.
        left_out: What was left out before: a clause each.
    """
    if baseline is not None:
        systems, baseline = with_baseline(systems, baseline)
    counted, incomplete = complete(systems)
    left_out = [*left_out, *incomplete]
    if len(systems) == 1:
        ((name, own),) = counted.items()
        if baseline is not None or arm is not None:
            option = "a baseline" if baseline is not None else "an arm"
            raise LgbenchError(
                f"All of these runs are of one system, {name!r}, and {option} is to compare several. Name another "
                "system too, or compare the arms of this one without it."
            )
        return _compare_arms(name, own, report, left_out)
    contests = find_contests(counted, baseline=baseline, arm=arm, report=report)
    return SystemComparison(contests, (*left_out, *not_compared(counted, contests)))


def complete(systems: Systems) -> tuple[Systems, list[str]]:
    """The complete results of each system, and a clause for each other one."""
    reasons = {id(each): why_left_out(each) for own in systems.values() for each in own}
    counted = {name: [each for each in own if reasons[id(each)] is None] for name, own in systems.items()}
    left = [each for own in systems.values() for each in own if reasons[id(each)] is not None]
    return counted, [f"{place_of(each)}, as {reasons[id(each)]}" for each in left]


def _compare_arms(name: str, results: Sequence[Result], report: CountReport, left_out: Sequence[str]) -> ArmComparison:
    trained = [each for each in results if each.arm != OPEN_ARM]
    left_out = [*left_out, *(f"{place_of(each)}, as it is of arm open" for each in results if each.arm == OPEN_ARM)]
    if not trained:
        if results:
            raise LgbenchError(f"There is one model, {name!r}, of arm open. Name a second, or `lgbench show` it.")
        raise LgbenchError(
            f"{name!r} has no complete run. Evaluate with --group and --arm, or under open, and without --limit, "
            "--task and --length."
        )
    counted = [each.result for each in rescored(trained, report)]
    suites = dict.fromkeys(suite_of(each) for each in trained)
    return ArmComparison(name, [score_trained(counted, suite) for suite in suites], left_out)
