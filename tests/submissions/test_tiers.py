"""Tiers: what records must show, and what keeps a system from the next tier."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.declaration import Declaration
from lgbench.submissions.tiers import Standing, Tier, standing
from lgbench.training.record import TrainingRecord
from lgbench.training.spec import RunSpec, TrainedPart, TrainedStage
from tests.made_up import MINI, group_results
from tests.submitted import SYSTEM

ROOT = Path(__file__).parents[2]
GROUP = MINI.group("capitalize-reverse")


RUNS = ROOT / "docs" / "runs" / "reference-rope"
DECLARED = Declaration(trials=0, selected_on="nothing", tuned_arms=(), tuning_seeds=(), open_data=None)
Change = Callable[[str, int, TrainingRecord], TrainingRecord | None]


def committed(arm: str, seed: int) -> TrainingRecord:
    path = RUNS / f"mini-v1-{GROUP.name}-{arm}-seed{seed}" / "training.json"
    return TrainingRecord.model_validate_json(path.read_text("utf-8"))


def recorded(
    arms: Sequence[str] = ("main_only", "transfer", "control"),
    seeds: Sequence[int] = (0, 1, 2),
    change: Change = lambda arm, seed, record: record,
) -> Submission:
    """A system with the committed training records of a group, with changes."""
    runs = []
    for arm, seed in itertools.product(arms, seeds):
        (result,) = group_results(GROUP.name, {arm: [100]})
        result = result.model_copy(update={"seed": seed})
        record = committed(arm, seed % 3)
        record = record.model_copy(update={"plan": record.plan.model_copy(update={"seed": seed})})
        runs.append(SubmittedRun(f"{arm}-{seed}", result, training=change(arm, seed, record)))
    return Submission(system=SYSTEM, runs=tuple(runs), declaration=DECLARED)


def with_settings(record: TrainingRecord, **settings: Any) -> TrainingRecord:
    plan = record.plan
    changed = plan.settings.model_copy(update=settings)
    return record.model_copy(update={"plan": plan.model_copy(update={"settings": changed})})


def found(submission: Submission) -> Standing:
    return standing(submission, MINI)


def test_tiers_ascend_and_read_as_words() -> None:
    assert [str(tier) for tier in sorted(Tier)] == ["self-reported", "recorded", "audited", "reproduced"]
    assert [tier.is_verified for tier in sorted(Tier)] == [False, False, True, True]


def test_a_system_without_records_is_self_reported_and_closed_and_says_what_it_lacks() -> None:
    standing_ = found(recorded(change=lambda arm, seed, record: None))
    assert (standing_.tier, standing_.division) == (Tier.SELF_REPORTED, "closed")
    assert standing_.missing == ("training.json is missing in main_only-0, main_only-1, main_only-2 and 6 more.",)


def test_other_data_makes_a_system_open_with_and_without_records() -> None:
    declared = DECLARED.model_copy(update={"open_data": "a trillion tokens of text"})
    for change in (lambda arm, seed, record: record, lambda arm, seed, record: None):
        assert found(replace(recorded(change=change), declaration=declared)).division == "open"
    without = recorded(change=lambda arm, seed, record: None)
    (first, *others) = without.runs
    for kind, division in (("hf", "open"), ("api", "open"), ("checkpoint", "closed")):
        system = first.result.system.model_copy(update={"kind": kind})
        one = first._replace(result=first.result.model_copy(update={"system": system}))
        assert found(replace(without, runs=(one, *others))).division == division


def test_the_seeds_begin_where_the_declaration_says() -> None:
    moved = DECLARED.model_copy(update={"first_seed": 1000, "same_recipe_as": "other"})
    system = replace(recorded(seeds=(1000, 1001, 1002)), declaration=moved)
    assert found(system).tier == Tier.RECORDED
    assert "1000, 1001, 1002. With 3 runs, they must be 0 to 2" in found(recorded(seeds=(1000, 1001, 1002))).missing[0]
    for seeds in ((0, 1, 2), (1000, 1002, 1003), (999, 1000, 1001)):
        (told, *_) = found(replace(recorded(seeds=seeds), declaration=moved)).missing
        assert told.endswith("With 3 runs, they must be 1000 to 1002.")


@pytest.mark.parametrize(
    ("submission", "words"),
    [
        (
            recorded(seeds=(3, 5, 8)),
            "Arm main_only of capitalize-reverse has the seeds 3, 5, 8. With 3 runs, they must be 0 to 2.",
        ),
        (recorded(seeds=(1,)), "has the seeds 1. With 1 run, it must be 0."),
        (
            recorded(change=lambda arm, seed, record: None if arm == "control" else record),
            "training.json is missing in control-0",
        ),
        (
            recorded(
                change=lambda arm, seed, record: with_settings(record, steps=9000) if arm == "transfer" else record
            ),
            "steps is 3000 in arm main_only, seed 0, and 9000 in arm transfer, seed 0",
        ),
        (
            recorded(change=lambda arm, seed, record: with_settings(record, learning_rate=0.003 if seed else 0.001)),
            "learning_rate is 0.001 in arm main_only, seed 0, and 0.003 in arm main_only, seed 1",
        ),
    ],
)
def test_what_breaks_the_rules_is_told_and_keeps_a_system_self_reported(submission: Submission, words: str) -> None:
    standing_ = found(submission)
    assert standing_.tier == Tier.SELF_REPORTED
    assert any(words in each for each in standing_.missing)


def test_arms_must_have_the_same_number_of_seeds() -> None:
    whole = recorded()
    fewer = replace(whole, runs=tuple(run for run in whole.runs if run.folder != "control-2"))
    assert found(fewer).missing == (
        "The arms of capitalize-reverse have different numbers of seeds (main_only 3, transfer 3, control 2): "
        "all must have the same.",
    )


def test_how_a_step_is_computed_may_differ() -> None:
    submission = recorded(
        change=lambda arm, seed, record: with_settings(record, workers=seed, evaluate_every=100 + seed)
    )
    assert not [each for each in found(submission).missing if "trained alike" in each]


def own_mixture(plan: RunSpec) -> dict[str, object]:
    half = [part.model_copy(update={"share": Fraction(1, 2)}) for part in plan.parts[:2]]
    return {"parts": tuple(half)}


def stages(plan: RunSpec) -> dict[str, object]:
    main = TrainedPart(task=GROUP.main, task_version=1, max_length=8, share=Fraction(1))
    half = Fraction(1, 2)
    return {
        "parts": (),
        "stages": (TrainedStage(parts=plan.parts, share=half), TrainedStage(parts=(main,), share=half)),
    }


def start(plan: RunSpec) -> dict[str, object]:
    from lgbench.training.planned import Start

    return {"start": Start(folder="x", sha256="0" * 64)}


def pretrained(plan: RunSpec) -> dict[str, object]:
    return {"model": "hf:some/model"}


@pytest.mark.parametrize("change", [own_mixture, stages, start, pretrained])
def test_runs_on_other_data_or_from_other_weights_are_open(change: Callable[[RunSpec], dict[str, Any]]) -> None:
    def changed(arm: str, seed: int, record: TrainingRecord) -> TrainingRecord:
        if (arm, seed) != ("transfer", 0):
            return record
        plan = record.plan.model_copy(update=change(record.plan))
        return record.model_copy(update={"plan": RunSpec.model_validate(plan.model_dump(mode="json"))})

    assert found(recorded()).division == "closed"
    assert found(recorded(change=changed)).division == "open"


def test_a_run_whose_data_a_program_changed_is_open() -> None:
    record = committed("transfer", 0).model_copy(update={"source": "MySource"})
    assert (record.plan.division, record.division) == ("closed", "open")
