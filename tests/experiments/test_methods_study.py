"""The registered study of the sources' methods: its runs, its rule, and the page that registers it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.data.suites import load_suite
from lgbench.experiments.contrasts import Key
from lgbench.experiments.effects import Outcome
from lgbench.methods.registry import METHODS
from lgbench.training.spec import Recipe
from studies.methods import ARMS, CONTRASTS, DEAR, SYSTEMS, MethodEffect, Methods

MINI = load_suite("mini-v1")
README = Path(__file__).parents[2] / "studies" / "README.md"


def outcome(transfer: int, short: int = 100) -> Outcome:
    return Outcome(Fraction(transfer, 100), Fraction(short, 100), {})


def found(
    higher: Sequence[int], lower: Sequence[int], *, group: str = "copy-mqar", short: int = 100
) -> dict[Key, Mapping[int, Outcome]]:
    """ALiBi and the plain run under main_only, with these percentages of the zone."""
    sides = {"alibi": higher, "plain": lower}
    return {
        Key(group, system, "main_only"): {seed: outcome(each, short) for seed, each in enumerate(accuracies)}
        for system, accuracies in sides.items()
    }


def judged(higher: Sequence[int], lower: Sequence[int], **given: int) -> MethodEffect:
    (effect,) = Methods().effects(found(higher, lower, **given))  # type: ignore[arg-type]
    assert isinstance(effect, MethodEffect)
    return effect


def test_every_system_is_trained_under_every_arm_and_what_the_claims_need_comes_first(tmp_path: Path) -> None:
    runs = list(Methods().runs(tmp_path, "cpu"))
    assert len(runs) == len({run.folder for run in runs}) == len({run.name for run in runs})
    assert len(runs) == len(SYSTEMS) * len(ARMS) * 2 * 5
    needed = {(name, contrast.arm) for contrast in CONTRASTS for name in (contrast.higher, contrast.lower)}
    first = [run for run in runs if (run.extra, run.plan.arm) in needed]
    assert runs[: len(first)] == first
    dear = [DEAR.index(run.extra) if run.extra in DEAR else -1 for run in first]
    assert dear == sorted(dear)
    seeds = [run.plan.seed for run in first if run.extra not in DEAR]
    assert seeds == sorted(seeds)


def test_a_system_is_the_preset_but_for_its_method(tmp_path: Path) -> None:
    for run in Methods().runs(tmp_path, "cpu"):
        plain = Recipe(MINI, preset="tuned", device="cpu").plan(run.plan.group, run.plan.arm, run.plan.seed)
        assert (run.plan.parts, run.plan.preset) == (plain.parts, "tuned")
        if run.extra == "plain":
            assert run.plan == plain
        else:
            assert run.plan.method is not None
            assert run.plan.method.name in METHODS
            assert run.plan.settings.learning_rate == plain.settings.learning_rate * (
                3 if run.extra == "ternary" else 1
            )


@pytest.mark.parametrize(
    ("higher", "lower", "verdict"),
    [
        ([60, 50, 70, 80, 90], [0, 1, 2, 0, 3], "higher"),
        ([100] * 5, [0] * 5, "higher"),  # no seed differs
        ([0] * 5, [0] * 5, "under 10 points"),  # nor here, where there is nothing
        ([20] * 5, [90] * 5, "under 10 points"),
        ([5, 4, 3, 2, 1], [0] * 5, "under 10 points"),
        ([60, 0, 0, 0, 0], [0] * 5, "not shown"),
        ([98] * 5, [95] * 5, "not testable"),
    ],
)
def test_the_verdict_follows_the_rule(higher: list[int], lower: list[int], verdict: str) -> None:
    effect = judged(higher, lower)
    assert effect.verdict == verdict
    assert effect.size == Fraction(sum(higher) - sum(lower), 500)
    assert effect.sentence.startswith("copy-mqar, ALiBi: ")


def test_a_system_that_has_not_learned_the_task_is_not_tested() -> None:
    assert judged([50] * 5, [0] * 5, short=89).verdict == "not testable"


def test_holm_is_over_the_groups_of_a_claim() -> None:
    one = judged([60, 50, 70, 80, 90], [0] * 5)
    assert one.p == 2 * Fraction(1, 252), "the other group, whose runs are not there yet, counts"
    both = found([60, 50, 70, 80, 90], [0] * 5) | found([60, 50, 70, 80, 90], [0] * 5, group="capitalize-reverse")
    assert [effect.p for effect in Methods().effects(both)] == [2 * Fraction(1, 252)] * 2


def test_a_claim_waits_for_all_its_seeds() -> None:
    some = {key: {seed: each for seed, each in seeds.items() if seed < 4} for key, seeds in found([50], [0]).items()}
    assert Methods().effects(some) == []


def test_the_page_registers_what_is_run() -> None:
    page = README.read_text("utf-8").partition("## Methods: `methods.py`")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| `")
    ]
    assert [row[0].strip("`") for row in rows] == [name for name in SYSTEMS if name != "plain"]
    arms = {contrast.lower if contrast.higher == "plain" else contrast.higher: contrast.arm for contrast in CONTRASTS}
    for name, method, claim, arm in ([cell.replace("`", "") for cell in row] for row in rows):
        system = SYSTEMS[name]
        assert method.startswith(str(system.method))
        for option in (*system.options[:1], *system.changes):
            assert option in method
        assert arm == arms[name]
        lower = any(contrast[1:3] == ("plain", name) for contrast in CONTRASTS)
        assert lower == ("lower" in claim), claim
    assert re.search(r"seeds 0 to 4", page)
