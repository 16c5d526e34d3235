"""The contests of systems: what of them is comparable, re-scored, and why nothing is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite, load_suite
from lgbench.python.results import Result
from lgbench.python.systems import Systems
from lgbench.results.schema import Result as ResultRecord
from lgbench.scoring.comparison import same_experiment, serving
from lgbench.scoring.contest import Contest, compare_systems
from lgbench.scoring.contestants import Contestant, Field, open_fields, trained_fields
from lgbench.scoring.paired import Correct
from lgbench.training.notes import how_trained
from lgbench.util.counting import CountReport, counted
from lgbench.util.errors import LgbenchError, UnknownNameError

_TRANSFER = "transfer"


class Counted(NamedTuple):
    """A result as its replies give it.

    Attributes:
        result: The result.
        correct: Which replies are right; None where they are not at hand.
    """

    result: ResultRecord
    correct: Correct | None


def suite_of(result: ResultRecord) -> Suite:
    """The suite of a result, published or the user's own."""
    return load_suite(result.suite, result.draft)


def rescored(results: Sequence[Result], report: CountReport) -> list[Counted]:
    """Results as their replies give them, and without a folder of replies as they are.

    Raises:
        LgbenchError: Counts do not follow from the replies; with a sentence for each such result.
    """
    found, problems = list[Counted](), list[str]()
    for each in counted(results, report):
        try:
            found.append(
                Counted(each, None) if each.folder is None else Counted(each.rescored.result, each.rescored.correct)
            )
        except LgbenchError as error:
            problems.append(str(error))
    if problems:
        raise LgbenchError("\n".join(problems))
    return found


def find_contests(systems: Systems, *, baseline: str | None, arm: str | None, report: CountReport) -> list[Contest]:
    """A contest on each suite on which two systems have something in common: of trained arms, and of `open`.

    Args:
        systems: The complete results of each.
        baseline: The system that every other is compared with; None for all pairs.
        arm: The arm; None for `transfer` and for `open`.
        report: Told of each run that is re-scored.

    Raises:
        LgbenchError: There is none, or the replies of a run do not give its counts.
        UnknownNameError: There is no such arm.
    """
    suites = list(dict.fromkeys(suite_of(each) for own in systems.values() for each in own))
    check_arm(arm, suites)
    rounds = [(suite, each) for suite in suites for each in ([arm] if arm else [_TRANSFER, OPEN_ARM])]
    runs = {id(run): run for suite, of_arm in rounds for run in _needed(systems, suite, of_arm, baseline)}
    counted = dict(zip(runs, rescored(list(runs.values()), report), strict=True))
    contests = [_contest(systems, suite, of_arm, baseline, counted) for suite, of_arm in rounds]
    met = [each for each in contests if each is not None and each.duels]
    if not met:
        raise LgbenchError(_nothing_in_common(systems, arm or _TRANSFER))
    return met


def find_fields(systems: Systems, *, arm: str | None) -> tuple[str, list[Field]]:
    """What the systems have complete runs of in one arm on one suite, for a picture: the counts are as recorded.

    Args:
        systems: The complete results of each.
        arm: The arm; None for `transfer`, or for `open` where no system was trained.

    Raises:
        LgbenchError: They are of several suites, or some are of `open` and others of trained arms.
        UnknownNameError: There is no such arm.
    """
    results = [each for own in systems.values() for each in own]
    suites = list(dict.fromkeys(suite_of(each) for each in results))
    if not suites:
        raise LgbenchError(
            "No run is complete, so there is nothing to draw. Evaluate without --limit, --task and --length."
        )
    if len(suites) > 1:
        names = ", ".join(suite.name for suite in suites)
        raise LgbenchError(f"A picture shows runs on one suite. These are of {names}: name those of one.")
    check_arm(arm, suites)
    kinds = {each.arm == OPEN_ARM for each in results}
    if arm is None and len(kinds) > 1:
        raise LgbenchError("Some of these runs are of arm open, others of trained arms. Choose with --arm, as in open.")
    chosen = arm or (OPEN_ARM if kinds == {True} else _TRANSFER)
    contestants = [Contestant(name=name, results=tuple(own)) for name, own in systems.items() if own]
    if chosen == OPEN_ARM:
        return chosen, open_fields(contestants, suites[0])
    return chosen, trained_fields(contestants, suites[0], chosen)


def check_arm(arm: str | None, suites: Sequence[Suite]) -> None:
    """Refuse an arm that no suite has.

    Raises:
        UnknownNameError: There is no such arm.
    """
    valid = [*dict.fromkeys(each.name for suite in suites for each in suite.arms), OPEN_ARM]
    if arm is not None and arm not in valid:
        raise UnknownNameError("arm", arm, valid)


def _contest(
    systems: Systems, suite: Suite, arm: str, baseline: str | None, counted: Mapping[int, Counted]
) -> Contest | None:
    """The systems of a suite compared in an arm; None where fewer than two are of it, or the baseline is not.

    Raises:
        LgbenchError: A system has two runs of one seed.
    """
    contestants = []
    for name, results in systems.items():
        own = [each for each in results if each.suite == suite.name and (each.arm == OPEN_ARM) == (arm == OPEN_ARM)]
        runs = [counted.get(id(each), Counted(each, None)) for each in own]
        if runs:
            kept, correct = zip(*runs, strict=True)
            trained = tuple(None if each.folder is None else how_trained(each.folder) for each in own)
            contestants.append(Contestant(name=name, results=kept, correct=correct, trained=trained))
    if len(contestants) < 2 or (baseline is not None and baseline not in [each.name for each in contestants]):
        return None
    try:
        return compare_systems(contestants, suite, arm=arm, baseline=baseline)
    except LgbenchError as error:
        raise LgbenchError(f"{error} If they are of two systems, give each a name, as in mine=FOLDER.") from None


def _needed(systems: Systems, suite: Suite, arm: str, baseline: str | None) -> Iterator[Result]:
    """The runs that a contest rests on: those of groups that both systems of some pair have."""
    of_suite = {name: [each for each in own if each.suite == suite.name] for name, own in systems.items()}
    for name, own in of_suite.items():
        others = [other for other in of_suite if other != name and baseline in (None, name, other)]
        if arm == OPEN_ARM:
            is_met = any(each.arm == OPEN_ARM for other in others for each in of_suite[other])
            yield from (each for each in own if each.arm == OPEN_ARM and is_met)
            continue
        common = [
            group
            for group in suite.groups
            if group.has_arm(arm) and any(serving(of_suite[other], suite, arm, group) for other in others)
        ]
        for each in own:
            if each.arm in (arm, "main_only") and each.group is not None:
                served = same_experiment(suite, each.arm, suite.group(each.group))
                if any(group in common for group in served):
                    yield each


def _nothing_in_common(systems: Systems, arm: str) -> str:
    """Why systems cannot be compared."""
    if empty := [name for name, own in systems.items() if not own]:
        return f"{empty[0]!r} has no complete run. Evaluate whole arms, without --limit, --task and --length."
    suites = {name: dict.fromkeys(each.suite for each in own) for name, own in systems.items()}
    if not set.intersection(*map(set, suites.values())):
        listed = ", ".join(f"{name} on {' and '.join(own)}" for name, own in suites.items())
        return f"These systems are of different suites: {listed}. Evaluate them on one suite."
    is_open = {name: {each.arm == OPEN_ARM for each in own} for name, own in systems.items()}
    if not set.intersection(*is_open.values()):
        kinds = ", ".join(f"{name} under {'open' if True in own else 'trained arms'}" for name, own in is_open.items())
        return f"These systems answer different questions: {kinds}. Compare systems of one kind."
    groups = {name: sorted({str(each.group) for each in own if each.arm == arm}) for name, own in systems.items()}
    listed = "; ".join(f"{name} {', '.join(own) or 'none'}" for name, own in groups.items())
    said = f"No group has complete runs of arm {arm!r} of two of these systems. Their groups: {listed}."
    shared = [other for other in _arms_in_common(systems) if other != arm]
    return f"{said} Compare them in arm {shared[0]!r} (--arm {shared[0]})." if shared else said


def _arms_in_common(systems: Systems) -> list[str]:
    """The arms in which two systems have runs of the same suite and group, that of the most such systems first."""
    owners: dict[tuple[str, str, str | None], set[str]] = {}
    for name, own in systems.items():
        for each in own:
            owners.setdefault((each.arm, each.suite, each.group), set()).add(name)
    most: dict[str, int] = {}
    for (arm, *_), names in owners.items():
        most[arm] = max(most.get(arm, 0), len(names))
    return sorted((arm for arm, count in most.items() if count > 1), key=lambda arm: -most[arm])


def not_compared(systems: Systems, contests: Sequence[Contest]) -> list[str]:
    """The systems that are in no contest of a suite that they have runs of, a clause each."""
    met = {(each.suite.name, name) for each in contests for duel in each.duels for name in (duel.first, duel.second)}
    found = [f"{name}, as it has no complete run" for name, own in systems.items() if not own]
    for name, own in systems.items():
        for suite in dict.fromkeys(each.suite for each in own):
            if (suite, name) not in met:
                found.append(f"{name} on {suite}, as no other system has the same groups and arm there")
    return found
