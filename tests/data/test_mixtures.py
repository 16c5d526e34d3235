"""Mixtures: lists with shares, stages, and the batches that a run in stages takes."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from lgbench.data.mixtures import Mixture, Part, Span, Stage
from lgbench.training.batching import Batch, batches, mixture_batches
from lgbench.training.spec import RunSpec, difference
from lgbench.training.trainer import Progress, train
from lgbench.util.errors import LgbenchError
from tests.tiny_training import MINI, STRINGS, tiny_plan, weights

HALF, ONE = Fraction(1, 2), Fraction(1)
LONG = (Part("reverse", 16, ONE),)
BOTH = (Part("capitalize_reverse", 8, HALF), Part("reverse", 16, HALF))
STAGED = Mixture(stages=(Stage(LONG, Fraction(1, 4)), Stage(BOTH, HALF), Stage(LONG, Fraction(1, 4))))


def test_a_list_is_one_stage() -> None:
    plain = Mixture(BOTH)
    assert plain.schedule == (Stage(BOTH, ONE),)
    assert plain.tasks == {"capitalize_reverse": 8, "reverse": 16}
    assert list(plain.spans(10)) == [Span(BOTH, 0, 10, 0)]


def test_a_list_that_comes_again_goes_on_where_it_stopped() -> None:
    assert list(STAGED.spans(10)) == [Span(LONG, 0, 2, 0), Span(BOTH, 2, 7, 0), Span(LONG, 7, 10, 2)]
    assert STAGED.tasks == {"reverse": 16, "capitalize_reverse": 8}


def rows(batch: Batch) -> list[list[int]]:
    return [row for chunk in batch.chunks for row in chunk.inputs.tolist()]


@pytest.mark.parametrize("start", range(11))
@pytest.mark.slow
def test_the_batches_of_a_run_in_stages_are_those_of_its_lists(start: int) -> None:
    long, both = (list(itertools.islice(batches(MINI, parts, size=3, chunks=1), 5)) for parts in (LONG, BOTH))
    expected = [*long[:2], *both[:5], *long[2:5]][start:]
    taken = list(mixture_batches(MINI, STAGED, steps=10, start=start, size=3, chunks=1))
    assert [rows(batch) for batch in taken] == [rows(batch) for batch in expected]


def test_a_stage_without_a_step_is_refused() -> None:
    with pytest.raises(LgbenchError, match="Stage 1 has 1/4 of 3 steps, which is none"):
        list(STAGED.spans(3))


@pytest.mark.parametrize(
    ("parts", "stages", "message"),
    [
        ((), (), "either parts or stages"),
        (BOTH, (Stage(LONG, ONE),), "either parts or stages"),
        ((*LONG, *LONG), (), "repeats a task: reverse, reverse"),
        ((Part("reverse", 8, HALF),), (), "add up to 1/2"),
        ((Part("reverse", 8, 0.5), Part("capitalize", 8, HALF)), (), r"0.5. It must be a fraction"),  # type: ignore[arg-type]
        ((Part("reverse", 8, Fraction(1, 997)), Part("capitalize", 8, Fraction(996, 997))), (), None),
        ((Part("reverse", 8, Fraction(1, 1009)), Part("capitalize", 8, Fraction(1008, 1009))), (), "denominator 1009"),
        ((), (Stage(LONG, HALF),), "shares of the stages add up to 1/2"),
        ((), (Stage((), ONE),), "an empty list"),
    ],
)
def test_what_is_no_mixture_is_refused(parts: tuple[Part, ...], stages: tuple[Stage, ...], message: str | None) -> None:
    if message is None:
        assert Mixture(parts, stages).tasks
        return
    with pytest.raises(LgbenchError, match=message):
        Mixture(parts, stages)


def staged_plan(**changes: object) -> RunSpec:
    """A tiny run in stages, of a group whose arm `transfer` is BOTH with another auxiliary."""
    main, *_, other = tiny_plan().model_dump(mode="json")["parts"]
    stages = [
        {"parts": [other | {"share": "1"}], "share": "1/4"},
        {"parts": [main | {"share": "1/2"}, other | {"share": "1/2"}], "share": "3/4"},
    ]
    return RunSpec.model_validate(tiny_plan().model_dump(mode="json") | {"parts": [], "stages": stages} | changes)


def test_a_plan_in_stages_is_recorded_and_read_again() -> None:
    plan = staged_plan()
    assert plan.mixture.tasks == {"reverse": 16, "capitalize_reverse": 8}
    assert RunSpec.model_validate_json(plan.model_dump_json()) == plan
    assert not plan.is_of_its_arm
    assert "it trains 1/3 capitalize_reverse to 8" in str(difference(tiny_plan(), plan))
    assert difference(plan, staged_plan()) is None


def test_the_record_of_a_plan_without_stages_is_as_ever() -> None:
    assert not {"stages", "draft"} & tiny_plan().model_dump(mode="json").keys()


def test_a_run_in_stages_resumes_to_the_same_weights(tmp_path: Path) -> None:
    settings = tiny_plan().settings.model_copy(update={"steps": 8, "evaluate_every": 2}).model_dump()
    plan = staged_plan(settings=settings)
    train(plan, tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(plan, tmp_path / "resumed", report=stop)
    train(plan, tmp_path / "resumed", resume=True)
    whole, resumed = (weights(tmp_path / name) for name in ("whole", "resumed"))
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_groups_arms_are_mixtures() -> None:
    assert str(STRINGS.mixture("short_aux")) == "1/3 capitalize_reverse to 8, 1/3 capitalize to 8, 1/3 reverse to 8"
    assert {arm.name: arm.baseline for arm in STRINGS.arms} == {
        "main_only": None,
        "transfer": "main_only",
        "control": "main_only",
        "direct": "main_only",
        "short_aux": "main_only",
    }
