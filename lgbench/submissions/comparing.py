"""Compares the runs of all systems: copies, near-copies, and recipes that a system claims to share with another."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from lgbench.evaluation.folder import RESULT_FILE
from lgbench.submissions.copies import Trace, copied, described, same_training, timed_alike
from lgbench.submissions.declaration import DECLARATION_FILE
from lgbench.submissions.likeness import WrongReplies, near_copies
from lgbench.util.records import Problem


class Compared(NamedTuple):
    """The part of a run that is compared with the runs of other systems.

    Attributes:
        trace: Identifies copies of the run.
        wrong: What is compared of its wrong replies; None if they are not compared.
        is_repeated: Whether it repeats another run of its own system, which was reported already.
    """

    trace: Trace
    wrong: WrongReplies | None = None
    is_repeated: bool = False


Systems = Mapping[str, Mapping[str, Compared]]
"""The runs of each system by the names of their folders, the systems by their folders."""


class Found(NamedTuple):
    """A problem, the file that has it, and the folder of its system."""

    path: Path
    system: str
    problem: Problem


def copies(systems: Systems) -> Iterator[Found]:
    """The runs that are copies of another, each with one problem."""
    told = {(system, name) for system, runs in systems.items() for name, run in runs.items() if run.is_repeated}
    traces = _traces(systems)
    for find in (copied, timed_alike):
        for system, run, problem in find(traces):
            if (system, run) not in told:
                told.add((system, run))
                yield Found(Path(system, run, RESULT_FILE), system, problem)


def alike(systems: Systems) -> Iterator[Found]:
    """The runs whose wrong replies are nearly those of another."""
    runs = [
        (system, name, run.trace, run.wrong)
        for system, of_system in systems.items()
        for name, run in of_system.items()
        if run.wrong
    ]
    owners = [system for system, *_ in runs]

    def may_be_alike(one: int, other: int) -> bool:
        return owners[one] == owners[other] and same_training(runs[one][2], runs[other][2])

    for one, other, likeness in near_copies([wrong for *_, wrong in runs], owners, may_be_alike):
        (system, run, left, _), (its_system, its_run, its_trace, _) = runs[one], runs[other]
        place = its_run if its_system == system else f"{its_system}/{its_run}"
        tasks = "main task" if left.group else "main tasks"
        message = (
            f"covers nearly the same wrong replies to the {tasks} as that of {described(place, its_trace)}: "
            f"{likeness.equal:,} of the {likeness.common:,} that are wrong in both are equal. In two "
            "independent models, far fewer are."
        )
        yield Found(Path(system, run, RESULT_FILE), system, Problem("replies_sha256", message))


def wrong_recipes(systems: Systems, same_recipe_as: Mapping[str, str], whole: Container[str]) -> Iterator[Found]:
    """The systems whose seeds must begin at 0, as they do not have the recipe of the system that they name.

    Args:
        systems: All systems.
        same_recipe_as: By the folder of a system, the system that it names.
        whole: Folders of submissions that were checked as a whole. In others, the other systems are unknown.
    """
    traces = _traces(systems)
    for system, named in same_recipe_as.items():
        folder = Path(system).parent
        other = str(folder / named)
        if str(folder) not in whole:
            continue
        its = None if other == system else traces.get(other)
        if message := _wrong_recipe(traces[system], its, repeats=other in same_recipe_as):
            problem = Problem("same_recipe_as", f"is {named!r}, {message}")
            yield Found(Path(system, DECLARATION_FILE), system, problem)


def _wrong_recipe(own: Mapping[str, Trace], its: Mapping[str, Trace] | None, *, repeats: bool) -> str:
    """Why a system does not have the recipe of another; empty where it may.

    Args:
        own: Its runs.
        its: The runs of the other system; None if there is no such system.
        repeats: Whether the other system itself names a third one.
    """
    if its is None:
        return "but there is no other system of this name here."
    if repeats:
        return "which has the recipe of another system itself: name that one."
    known = {(run.suite, run.group, run.recipe) for run in its.values()}
    for run in own.values():
        if run.recipe is not None and (run.suite, run.group, run.recipe) not in known:
            where = f"{run.group} on {run.suite} with this model and these settings"
            return f"which has no run of {where}. Seeds of another recipe begin at 0."
    return ""


def _traces(systems: Systems) -> dict[str, dict[str, Trace]]:
    return {system: {name: run.trace for name, run in runs.items()} for system, runs in systems.items()}
