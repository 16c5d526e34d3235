"""What the training records of a system must show so that it is *recorded*. The rules: docs/rules.md."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lgbench.data.groups import Group
from lgbench.data.mixtures import Part, PoolPart
from lgbench.data.suites import Suite
from lgbench.methods.registry import METHODS, method_of
from lgbench.results.schema import Result
from lgbench.scoring.comparison import serving
from lgbench.submissions.checked import SubmittedRun
from lgbench.submissions.declaration import DECLARATION_FILE, Declaration, WeightsRecord
from lgbench.training.changes import MixtureChange
from lgbench.training.record import RECORD, TrainingRecord
from lgbench.training.spec import RunSpec
from lgbench.training.token_counts import stream_tokens
from lgbench.util.errors import LgbenchError
from lgbench.util.records import Problem

_MOST_NAMED, _MOST_SEEDS = 3, 10
_OF_THE_MACHINE = {"workers", "evaluate_every", "packed", "length_chunks", "compile"}
"""Settings that change how a step is computed, and neither its examples nor its gradient."""


def contradictions(result: Result, record: TrainingRecord) -> Iterator[Problem]:
    """The fields in which a training record does not fit the result beside it."""
    plan = record.plan
    for name in ("suite", "group", "arm", "seed"):
        if (said := getattr(plan, name)) != (scored := getattr(result, name)):
            yield Problem(f"plan.{name}", f"is {said!r}, but the result beside it is of {name} {scored!r}.")
    counted = result.system.parameters
    if counted is not None and counted != record.parameters:
        yield Problem("parameters", f"is {record.parameters:,}, but the result's model has {counted:,}.")
    if not record.finished:
        steps = f"{record.steps_done:,} of {plan.settings.steps:,} steps are done"
        yield Problem("steps_done", f"{steps}: only the last checkpoint of a finished run is scored.")
    yield from _withheld(record)
    if record.division == "closed":
        yield from _wrong_tokens(record)
    if plan.method is not None and plan.method.name in METHODS:  # a user's own is not run here
        yield from _forbidden(plan)


def _withheld(record: TrainingRecord) -> Iterator[Problem]:
    """The lists of tasks in a record, its plan's and what hooks set, that the arm's data does not cover."""
    plan = record.plan
    allowed = plan.suite_group.mixture(plan.arm).tasks
    lists: list[tuple[str, Iterable[Part | PoolPart]]] = [("plan", each.parts) for each in plan.mixture.schedule]
    changes = ((f"changes.{place}", each) for place, each in enumerate(record.changes))
    lists += [(place, each.mixed) for place, each in changes if isinstance(each, MixtureChange)]
    for place, parts in lists:
        for part in parts:
            if isinstance(part, Part) and part.max_length > (most := allowed.get(part.task, 0)):
                known = f"up to {most}" if most else "not at all"
                yield Problem(
                    place, f"trains {part.task} up to {part.max_length}, but the arm {plan.arm} trains it {known}."
                )


def _forbidden(plan: RunSpec) -> Iterator[Problem]:
    """A problem if the method of a run gives it answers that its arm withholds, or is not as lgbench has it."""
    try:
        method = method_of(plan)
    except LgbenchError as error:
        yield Problem("plan.method", f"does not exist: {error}")
        return
    if method is None or plan.method is None:
        return
    if plan.method.division != method.division:
        said = f"is {plan.method.division!r}, but the method {plan.method.name} is {method.division}."
        yield Problem("plan.method.division", said)
    if given := method.answers_beyond(plan):
        yield Problem(
            "plan.method", f"gives answers to inputs longer than the arm's: {given}. Such a run is an upper bound only."
        )


def _wrong_tokens(record: TrainingRecord) -> Iterator[Problem]:
    """A problem if a record counts other tokens than the stream of its arm has."""
    plan = record.plan
    examples = record.steps_done * plan.settings.batch
    span = stream_tokens(plan.loaded_suite, plan.mixture.parts, examples)
    if span is None:
        return
    for name in ("tokens", "target_tokens"):
        least, most, said = getattr(span.least, name), getattr(span.most, name), getattr(record, name)
        if not least <= said <= most:
            held = f"{least:,}" if least == most else f"{least:,} to {most:,}"
            message = f"is {said:,}, but the first {examples:,} examples of the stream of {plan.mixture} hold {held}."
            yield Problem(name, message)


def wrong_weights(result: Result, weights: WeightsRecord) -> Iterator[Problem]:
    """A problem if other weights are offered than were evaluated, as far as the result names them."""
    hashes = result.system.source_sha256
    if result.system.kind == "checkpoint" and hashes and weights.sha256 not in hashes:
        yield Problem("sha256", f"is not that of the weights that the result is of, {hashes[0]}.")


def missing_for_recorded(runs: Sequence[SubmittedRun], suite: Suite, declaration: Declaration | None) -> Iterator[str]:
    """What a system's runs of trained arms in a suite lack to be *recorded*, in sentences."""
    if declaration is None:
        yield f"{DECLARATION_FILE} is missing, which says how the settings were chosen."
    elif declaration.selected_on == "test":
        yield "Its settings were chosen on test examples."
    if any(run.training and run.training.division == "open" for run in runs) and not (
        declaration and declaration.open_data
    ):
        yield (
            f"It is in the open division, so {DECLARATION_FILE} must say in open_data what it was trained on "
            "(--open-data)."
        )
    if without := [run.folder for run in runs if run.training is None]:
        yield f"{RECORD} is missing in {named(without)}."
    for group in suite.groups:
        arms = _arms(runs, suite, group)
        yield from _wrong_seeds(group.name, arms, declaration.first_seed if declaration else 0)
        yield from _unequal_recipes(group.name, [run for served in arms.values() for run in served])


def _arms(runs: Sequence[SubmittedRun], suite: Suite, group: Group) -> dict[str, list[SubmittedRun]]:
    """The runs of a group, by arm, with those of other groups that it shares."""
    by_result = {id(run.result): run for run in runs}
    results = [run.result for run in runs]
    if not any(result.group == group.name for result in results):
        return {}
    served = {arm.name: serving(results, suite, arm.name, group) for arm in group.arms}
    return {arm: [by_result[id(result)] for result in own] for arm, own in served.items() if own}


def _wrong_seeds(group: str, arms: Mapping[str, Sequence[SubmittedRun]], first: int) -> Iterator[str]:
    """Problems of seeds that may have been selected, and of arms with more seeds than others.

    Args:
        group: The group.
        arms: The runs of each arm.
        first: The seed with which all must begin.
    """
    for arm, runs in arms.items():
        seeds = sorted(-1 if run.result.seed is None else run.result.seed for run in runs)
        if seeds != list(range(first, first + len(seeds))):
            given = ", ".join("none" if seed < 0 else str(seed) for seed in seeds[:_MOST_SEEDS])
            expected = f"it must be {first}" if len(seeds) == 1 else f"they must be {first} to {first + len(seeds) - 1}"
            yield f"Arm {arm} of {group} has the seeds {given}. With {_count(len(seeds), 'run')}, {expected}."
    counts = {arm: len(runs) for arm, runs in arms.items()}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{arm} {count}" for arm, count in counts.items())
        yield f"The arms of {group} have different numbers of seeds ({told}): all must have the same."


def _unequal_recipes(group: str, runs: Sequence[SubmittedRun]) -> Iterator[str]:
    """The first two runs of a group whose training differs in more than data and seed."""
    plans = [run.training.plan for run in runs if run.training is not None]
    for other in plans[1:]:
        if (name := next(_differing(plans[0], other), None)) is not None:
            one, two = (_recipe(plan)[name] for plan in (plans[0], other))
            yield (
                f"In {group}, {name} is {one!r} in arm {plans[0].arm}, seed {plans[0].seed}, and {two!r} in arm "
                f"{other.arm}, seed {other.seed}: all runs of a group must be trained alike."
            )
            return


def _differing(one: RunSpec, other: RunSpec) -> Iterator[str]:
    mine, its = _recipe(one), _recipe(other)
    return (name for name in mine if mine[name] != its[name])


def _recipe(plan: RunSpec) -> dict[str, Any]:
    """Everything that a run depends on except its data and its seed."""
    start = None if plan.start is None else plan.start.identity
    return plan.settings.model_dump(exclude=_OF_THE_MACHINE) | {
        "model": plan.model_sha256 or plan.model,
        "model_options": plan.model_options,
        "lora_rank": plan.lora_rank,
        "hooks": [hook.identity for hook in plan.hooks],
        "start": start,
        "method": None if plan.method is None else plan.method.identity,
    }


def recipe_digest(plan: RunSpec) -> str:
    """A hash of the model and the settings of a run: equal where arms that no method changes come out equal."""
    recipe = {name: value for name, value in _recipe(plan).items() if name not in ("hooks", "method")}
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, default=str).encode()).hexdigest()


def named(things: Sequence[str]) -> str:
    """The first three names, and the number of the others."""
    more = f" and {len(things) - _MOST_NAMED} more" if len(things) > _MOST_NAMED else ""
    return ", ".join(things[:_MOST_NAMED]) + more


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
