"""Two records side by side: what of their curves and machines differs, and how it is said."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.training.curve_diff import compare, elsewhere_note, machine_differences, point_difference, verdict
from lgbench.training.record import CurvePoint, Machine, TrainingRecord, read_training_record
from lgbench.training.retraining import last_step, plan_again
from tests.tiny_training import STRINGS, tiny_plan

RECORDS = sorted(path.parent for path in (Path(__file__).parents[2] / "docs" / "runs").rglob("training.json"))
TASKS = ("capitalize_reverse", "capitalize", "reverse")
MACHINE = Machine(
    lgbench="0.1.0", torch="2.9.0", platform="Linux x86_64, 2 cores", device="cpu", threads=1, processor="A B"
)


def point(step: int, *, loss: float = 0.5, right: int = 60) -> CurvePoint:
    return CurvePoint(step=step, loss=loss, correct={task: dict.fromkeys(STRINGS.grid, right) for task in TASKS})


def record(*points: CurvePoint, precision: str = "float32") -> TrainingRecord:
    plan = tiny_plan(f"precision={precision}")
    return TrainingRecord(plan=plan, machine=MACHINE, parameters=1, steps_done=points[-1].step, curve=points)


def test_every_digit_and_every_count_of_a_point_counts() -> None:
    before = point(5, loss=0.1)
    assert point_difference(before, point(5, loss=0.1)) is None
    later = math.nextafter(0.1, 1)
    assert point_difference(before, point(5, loss=later)) == f"loss 0.1 recorded, {later!r} here"
    for task in TASKS:
        for length in STRINGS.grid:
            other = point(5, loss=0.1)
            other.correct[task][length] = 59
            told = f"{task} at length {length}: 60 of 64 recorded, 59 here"
            assert point_difference(before, other) == told
    other.correct["capitalize"][4] = other.correct["capitalize"][6] = 61
    assert point_difference(before, other) == "capitalize at length 4: 60 of 64 recorded, 61 here; 2 more counts"
    both = point_difference(before, point(5, right=0))
    assert both is not None
    assert both.startswith("loss 0.1 recorded, 0.5 here; capitalize_reverse at length 2: 60 of 64 recorded, 0 here; ")


def test_the_points_up_to_a_step_are_compared() -> None:
    recorded = record(point(5), point(10), point(12))
    here = record(point(5), point(10, loss=0.4), point(12))
    assert compare(recorded, here, until=5).differing == []
    compared = compare(recorded, here, until=10)
    assert len(compared.recorded) == len(compared.here) == 2
    assert compared.differing == [(recorded.curve[1], here.curve[1])]
    assert len(compare(recorded, here, until=12).recorded) == 3
    with pytest.raises(ValueError, match="shorter"):
        _ = compare(recorded, record(point(5)), until=12).differing


def test_the_verdict_tells_the_first_difference_and_where_both_ended() -> None:
    recorded = record(point(5), point(10), point(12, right=64))
    here = record(point(5), point(10, loss=0.4), point(12, right=32))
    told = verdict(recorded, compare(recorded, here, until=12), ["threads 1 recorded, 2 here"]).splitlines()
    assert told[0] == (
        "2 of 3 points of the curve differ from the recorded ones, first at step 10: loss 0.5 recorded, 0.4 here."
    )
    shares = "capitalize_reverse in-distribution {0} %, transfer {0} %, beyond {0} %"
    ends = [shares.format(share) for share in ("100.0", "50.0")]
    assert told[1] == f"The last point, at step 12, recorded: {ends[0]}; here: {ends[1]}."
    assert "another machine (threads 1 recorded, 2 here). Floating-point results are equal only on" in told[2]
    told = verdict(recorded, compare(recorded, here, until=12), []).splitlines()
    assert "The reason may be a record that is not of this run." in told[2]
    older = recorded.model_copy(update={"machine": MACHINE.model_copy(update={"processor": None})})
    told = verdict(older, compare(older, here, until=12), []).splitlines()
    assert "a processor of another model, which this record does not name, or a record that is not" in told[2]
    assert machine_differences(older, MACHINE, fast_bfloat16=True) == []
    equal = verdict(recorded, compare(recorded, here, until=5), ["threads 1 recorded, 2 here"])
    assert equal == "The one point up to step 5 of 12 is equal to the recorded one, to the last digit."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lgbench", "0.2.0"),
        ("torch", "2.9.1"),
        ("platform", "Darwin arm64, 2 cores"),
        ("device", "A100"),
        ("threads", 2),
        ("processor", "C D"),
    ],
)
def test_whatever_differs_between_machines_is_named(name: str, value: object) -> None:
    here = MACHINE.model_copy(update={name: value})
    found = machine_differences(record(point(5)), here, fast_bfloat16=True)
    assert found == [f"{name} {getattr(MACHINE, name)} recorded, {value} here"]
    (note,) = elsewhere_note(record(point(5)), here, fast_bfloat16=True)
    assert found[0] in note
    assert ("Set OMP_NUM_THREADS=1" in note) == (name == "threads")


def test_the_same_machine_is_no_news_unless_it_only_emulates_the_precision() -> None:
    for precision, fast, news in (
        ("float32", False, 0), ("float32", True, 0), ("bfloat16", True, 0), ("bfloat16", False, 1),
    ):  # fmt: skip
        recorded = record(point(5), precision=precision)
        assert len(machine_differences(recorded, MACHINE, fast_bfloat16=fast)) == news
        assert len(elsewhere_note(recorded, MACHINE, fast_bfloat16=fast)) == news


def test_a_run_ends_at_a_recorded_point() -> None:
    recorded = record(point(5), point(10), point(12))
    ends = [last_step(recorded, until) for until in (None, 1, 5, 6, 12, 13)]
    assert ends == [12, 5, 5, 10, 12, 12]


def test_every_committed_run_can_be_trained_again_as_it_was() -> None:
    assert len(RECORDS) > 80
    for folder in RECORDS:
        recorded = read_training_record(folder)
        assert plan_again(recorded, model=None) == recorded.plan
