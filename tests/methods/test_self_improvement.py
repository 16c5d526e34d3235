"""Self-improvement: the schedule, the filters, the mixture of a round, and whole runs."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from lgbench.data.cells import draw_cell
from lgbench.data.mixtures import Part, PoolPart
from lgbench.methods.filters import confidences, long_enough, majority
from lgbench.methods.registry import method_of
from lgbench.methods.self_improvement import SelfImprovement
from lgbench.methods.self_training import SelfTraining, _horizon
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.changes import MixtureChange, PoolChange
from lgbench.training.modules import build_module
from lgbench.training.settings import learning_rate
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from tests.methods.method_runs import assert_neutral, assert_resumes, method_plan
from tests.tiny_training import MINI

SMALL = ("rounds=2", "round_steps=4", "round_decay=2", "base_steps=5", "questions=20")


def test_the_rate_rises_again_in_each_round() -> None:
    settings = method_plan(
        "self-improvement", *SMALL, changes=("learning_rate=1e-3", "schedule=trapezoid", "warmup=0", "decay=0.4")
    ).settings
    rates = [learning_rate(settings, step) / 1e-3 for step in range(13)]
    assert rates[:3] == [1, 1, 1]
    assert rates[4] == pytest.approx(0.25), "half a cosine over the base's last two steps"
    assert rates[5:9] == pytest.approx([1, 1, 0.505, 0.01])
    assert rates[9:] == rates[5:9]


def test_replies_much_shorter_than_the_longest_are_dropped() -> None:
    assert long_enough([12, 11, 10, 3], short_by=2) == [True, True, False, False]
    assert long_enough([12, 11, 10, 3], short_by=1) == [True, False, False, False]
    assert long_enough([], short_by=2) == []


def test_a_vote_against_counting_every_ballot() -> None:
    for ballot in itertools.product("ab", repeat=5):
        expected = next((each for each in "ab" if ballot.count(each) >= 4), None)
        assert majority([[vote] for vote in ballot], agreement=0.7) == [expected], "0.7 of 5 are 3.5, so 4"
    assert majority([["x"], ["x"], ["y"]], agreement=2 / 3) == ["x"]


def test_confidence_is_the_product_of_the_tokens_probabilities() -> None:
    module = build_module(method_plan(None).settings, None, seed=0, device="cpu")
    prompts, replies = ["ab=", "hEllO="], ["ba", "x"]
    found = confidences(module, PUBLISHED, "reverse", prompts, replies, "cpu")
    for prompt, reply, each in zip(prompts, replies, found, strict=True):
        start, answer = PUBLISHED.encode_prompt("reverse", prompt), [*PUBLISHED.encode(reply), 2]
        probability = 1.0
        for place, token in enumerate(answer):
            with torch.no_grad():
                logits = module(torch.tensor([start + answer[:place]]))[0, -1]
            probability *= float(logits.softmax(0)[token])
        assert each == pytest.approx(probability, rel=1e-4)


def test_the_mixture_of_a_round() -> None:
    """Half to the newest; of the other half the list weighs 8 lengths and each older round one."""
    plan = method_plan("self-improvement", *SMALL)
    parts = SelfTraining(SelfImprovement(rounds=2), plan)._mixture(3)
    shares = {part.pool if isinstance(part, PoolPart) else part.task: part.share for part in parts}
    third = Fraction(1, 2) * Fraction(8, 10) / 3
    assert shares == {
        "capitalize_reverse": third,
        "capitalize": third,
        "reverse": third,
        "round 1": Fraction(1, 20),
        "round 2": Fraction(1, 20),
        "round 3": Fraction(1, 2),
    }
    assert [part.max_length for part in parts if isinstance(part, Part)] == [8, 16, 16]


def test_horizons() -> None:
    counts = [(2, 64), (4, 58), (6, 57), (8, 64)]
    assert (_horizon(counts, 90), _horizon(counts, 50), _horizon([(2, 10)], 50)) == (4, 8, 0)


def test_no_rounds_are_the_plain_run(tmp_path: Path) -> None:
    assert_neutral("self-improvement", "rounds=0", folder=tmp_path)


@pytest.mark.parametrize(
    "options", [("labels=true",), ("labels=true", "filter=vote", "voters=3"), ("labels=none",)], ids=str
)
def test_a_run_resumes(options: tuple[str, ...], tmp_path: Path) -> None:
    plan = method_plan("self-improvement", *SMALL, *options, changes=("evaluate_every=8",), arm="main_only")
    record = assert_resumes(plan, tmp_path, kills=(9,))
    pools = [each for each in record.changes if isinstance(each, PoolChange)]
    mixtures = [each for each in record.changes if isinstance(each, MixtureChange)]
    rounds = 0 if "labels=none" in options else 2
    assert [(each.step, each.examples) for each in pools] == [(5, 20), (9, 20)][:rounds]
    assert [each.step for each in mixtures] == [5, 9][:rounds]
    assert record.extra_cost is not None
    others = 2 if "filter=vote" in options else 0
    assert record.extra_cost.steps == 13 * others + 8, "the rounds, and all steps of the others"
    assert record.plan.division == "open"
    assert [each.values["labels/right"] for each in record.measures if "labels/right" in each.values] == [1.0] * rounds


def solving(self: CheckpointPredictor, prompts: Sequence[str], task: str) -> list[str]:
    """Right but for every fourth reply, which is too short."""
    solve = MINI.task(task).solve
    return [solve(prompt)[: -3 if number % 4 == 0 else None] for number, prompt in enumerate(prompts)]


@pytest.mark.parametrize(("filtered", "kept", "right"), [("none", 1.0, 0.75), ("length", 0.75, 1.0)])
def test_own_labels_are_asked_for_at_the_next_length_and_filtered(
    filtered: str, kept: float, right: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def asking(self: CheckpointPredictor, prompts: Sequence[str], task: str) -> list[str]:
        asked.append(list(prompts))
        return solving(self, prompts, task)

    monkeypatch.setattr(CheckpointPredictor, "predict", asking)
    plan = method_plan("self-improvement", *SMALL, f"filter={filtered}", arm="main_only")
    record = train(plan, tmp_path, method=method_of(plan))
    measured = [each.values for each in record.measures if "labels/kept" in each.values]
    assert [(each["labels/length"], each["labels/kept"], each["labels/right"]) for each in measured] == [
        (9, kept, right),
        (10, kept, right),
    ]
    assert [{len(prompt) - 1 for prompt in prompts} for prompts in asked] == [{9}, {10}]
    known = {
        each.prompt for split in ("test", "dev") for each in draw_cell(MINI, "capitalize_reverse", 10, split=split)
    }
    assert not known & set(asked[1])


def test_a_round_without_a_right_label_stops_with_its_number(tmp_path: Path) -> None:
    plan = method_plan("self-improvement", *SMALL, arm="main_only")
    with pytest.raises(LgbenchError, match=r"Round 1, length 9: of 20 replies \d+ passed .* none of these is right"):
        train(plan, tmp_path, method=method_of(plan))


def test_rounds_follow_a_checkpoint_at_once(tmp_path: Path) -> None:
    from lgbench.methods.registry import choose_method
    from lgbench.training.planned import planned_start
    from lgbench.training.spec import Recipe
    from tests.tiny_training import TINY

    first = method_plan(None, changes=("steps=2",))
    train(first, tmp_path / "first")
    tiny = [change for change in TINY if not change.startswith("steps=")]
    start, options = (
        planned_start(str(tmp_path / "first")),
        ["rounds=1", "round_steps=3", "round_decay=1", "labels=true"],
    )
    recipe = Recipe(
        MINI,
        changes=[*tiny, "batch=64"],
        start=start,
        method=choose_method("self-improvement", [*options, "questions=9"]),
    )
    plan = recipe.plan("capitalize-reverse", "transfer", 0)
    assert plan.settings.steps == 3
    record = train(plan, tmp_path / "rounds", method=method_of(plan))
    assert [each.step for each in record.changes] == [0, 0]
    with pytest.raises(LgbenchError, match="cannot vote"):
        Recipe(MINI, changes=tiny, start=start, method=choose_method("self-improvement", ["filter=vote"])).plan(
            "capitalize-reverse", "transfer", 0
        )
    with pytest.raises(LgbenchError, match=r"--set steps=12 is overridden by the method self-improvement, .* steps=3"):
        replace(recipe, changes=TINY).plan("capitalize-reverse", "transfer", 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("filter=vote", "voters=1"), "a vote needs 3 models or more, not voters=1"),
        (("agreement=0.5",), "agreement=0.5 of 'self-improvement'"),
        (("round_steps=10", "round_decay=20"), "round_decay=20 is more than round_steps=10"),
        (("labels=mine",), "labels=mine of 'self-improvement'"),
        (("confidence=1",), "confidence=1 of 'self-improvement'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        method_plan("self-improvement", *options)
