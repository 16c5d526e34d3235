"""The verdict on a group: every word, at its exact borders, and what it says beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from lgbench.data.suites import Cell, Suite
from lgbench.results.schema import Result
from lgbench.scoring.comparison import GroupScores, score_arm
from lgbench.scoring.seen import Verdict, decide
from tests.made_up import MINI, make_result

GROUP = MINI.group("capitalize-reverse")


def run(
    arm: str, seed: int, right: int, *, others: Mapping[str, float] | None = None, in_distribution: float = 1
) -> Result:
    """A run with `right` of the transfer zone's 1024 replies right, the other tasks as `others` says up to their
    training length, and everything where it says nothing.
    """
    lengths = GROUP.zone_lengths("transfer")

    def correct(cell: Cell) -> int:
        if cell.task != GROUP.main:
            return round(256 * (others or {}).get(cell.task, 1))
        if cell.length in lengths:
            place = lengths.index(cell.length)
            return min(256, max(0, right - 256 * place))
        return round(256 * in_distribution)

    return make_result(correct, arm=arm, group=GROUP.name, seed=seed)


def scored(right: Mapping[str, Sequence[int]], name: str = GROUP.name, **others: Mapping[str, float]) -> GroupScores:
    """A group of a system, its arms with these numbers of replies right, a seed each."""
    arms = {
        arm: score_arm([run(arm, seed, each, others=others.get(arm)) for seed, each in enumerate(numbers)], GROUP)
        for arm, numbers in right.items()
    }
    return GroupScores(group=replace(GROUP, name=name), arms=arms)


def verdict(right: Mapping[str, Sequence[int]], **others: Mapping[str, float]) -> Verdict:
    return decide([scored(right, GROUP.name, **others)])[GROUP.name]


HIGH, LOW = [900, 950, 1000, 980, 960], [0, 10, 20, 30, 40]


@pytest.mark.parametrize(
    ("right", "word", "reason"),
    [
        ({"transfer": HIGH, "main_only": LOW, "control": LOW}, "seen", ""),
        (
            {"transfer": HIGH, "main_only": LOW, "short_aux": LOW},
            "consistent with transfer",
            "control did not run, so long inputs of any task may be why",
        ),
        ({"transfer": HIGH, "main_only": LOW, "control": LOW, "short_aux": LOW}, "seen", ""),
        (
            {"transfer": HIGH[:4], "main_only": LOW, "control": LOW},
            "consistent with transfer",
            "4 seeds in transfer: 5 are needed for 'seen'",
        ),
        (
            {"transfer": HIGH[:3], "main_only": LOW[:3], "control": LOW[:3]},
            "consistent with transfer",
            "3 seeds in every arm: 5 are needed for 'seen'",
        ),
        (
            {"transfer": HIGH, "main_only": LOW, "control": LOW, "short_aux": LOW[:3]},
            "consistent with transfer",
            "3 seeds in short_aux: 5 are needed for 'seen'",
        ),
        (
            {"transfer": HIGH, "main_only": LOW[:2], "control": LOW[:2]},
            "too few seeds",
            "2 seeds in main_only and control: 3 are needed for a verdict",
        ),
        (
            {"transfer": HIGH, "main_only": LOW, "control": LOW[:1]},
            "too few seeds",
            "1 seed in control: 3 are needed for a verdict",
        ),
        (
            {"transfer": HIGH, "main_only": LOW},
            "not testable",
            "neither control nor short_aux ran, so long inputs alone may be why",
        ),
        ({"transfer": HIGH, "control": LOW}, "not testable", "main_only did not run"),
        ({"main_only": LOW, "control": LOW}, "not testable", "transfer did not run"),
        ({"control": LOW}, "not testable", "transfer and main_only did not run"),
        (
            {"transfer": LOW, "main_only": LOW, "control": LOW},
            "not seen",
            "the gain over main_only and over control is below 5 points",
        ),
        (
            {"transfer": LOW, "main_only": LOW, "control": [0, 0, 0, 0, 1024], "short_aux": LOW},
            "not seen",
            "the gain over main_only and over control and over short_aux is below 5 points",
        ),
        (
            {"transfer": HIGH, "main_only": LOW, "control": HIGH},
            "not seen",
            "the gain over control is below 5 points",
        ),
        (
            {"transfer": HIGH, "main_only": HIGH, "control": LOW},
            "not seen",
            "the gain over main_only is below 5 points",
        ),
        (
            {"transfer": HIGH, "main_only": LOW, "control": LOW, "short_aux": HIGH},
            "not seen",
            "the gain over short_aux is below 5 points",
        ),
        (
            {"transfer": [900, 950, 0, 980, 960], "main_only": LOW, "control": [0, 1024, 1024, 0, 0]},
            "not seen",
            "the p over control is above 0.05",
        ),
    ],
)
def test_the_word_and_its_reason(right: dict[str, list[int]], word: str, reason: str) -> None:
    found = verdict(right)
    assert (found.word, found.reason) == (word, reason)


@pytest.mark.parametrize(("right", "word"), [(51, "not seen"), (52, "seen")])
def test_the_least_gain_is_five_points(right: int, word: str) -> None:
    """A twentieth of 1024 replies are 51.2."""
    assert verdict({"transfer": [right] * 5, "main_only": [0] * 5, "control": [0] * 5}).word == word


@pytest.mark.parametrize(("overlapping", "word"), [(3, "consistent with transfer"), (2, "not seen")])
def test_three_seeds_must_be_apart_altogether(overlapping: int, word: str) -> None:
    """Of the 20 ways to call three of six seeds the arm's, one is a twentieth: the next best is two."""
    control = [100, 200, 300]
    transfer = [800, 800, 301 if overlapping == 3 else 299]
    found = verdict({"transfer": transfer, "main_only": [0, 0, 0], "control": control})
    assert found.word == word
    assert [contrast.p for contrast in found.contrasts] == [
        Fraction(1, 20),
        Fraction(1 if overlapping == 3 else 2, 20),
    ]


def test_the_greatest_p_of_a_group_is_corrected_over_the_groups_that_can_be_tested() -> None:
    """11 of 252 assignments are 0.044: enough in one group, too many where two are tested."""
    weak = {"transfer": [900, 800, 700, 180, 60], "main_only": LOW, "control": [100, 170, 160, 50, 150]}
    alone = decide([scored(weak, "weak")])["weak"]
    ((_, _, over_main), (_, _, over_control)) = alone.contrasts
    assert over_main == Fraction(1, 252)
    assert Fraction(1, 40) < over_control <= Fraction(1, 20)
    assert (alone.word, alone.corrected_p, alone.tests) == ("seen", over_control, 1)

    strong = {"transfer": HIGH, "main_only": LOW, "control": LOW}
    untestable = scored({"transfer": HIGH, "main_only": LOW}, "untestable")
    verdicts = decide([scored(weak, "weak"), untestable])
    assert (verdicts["weak"].word, verdicts["weak"].tests) == ("seen", 1)
    verdicts = decide([scored(weak, "weak"), scored(strong, "strong"), scored(strong, "strong too"), untestable])
    assert [each.word for each in verdicts.values()] == ["seen", "seen", "seen", "not testable"], (
        "Holm: the greatest of all is not corrected"
    )
    assert verdicts["strong"].corrected_p == Fraction(3, 252)
    assert verdicts["strong"].tests == 3
    verdicts = decide([scored(weak, "weak"), scored(weak, "weak too")])
    assert {each.word for each in verdicts.values()} == {"not seen"}
    assert verdicts["weak"].reason == "the p after Holm's correction for 2 groups is above 0.05"
    assert verdicts["weak"].corrected_p == 2 * over_control


@pytest.mark.parametrize(("seeds", "word"), [(3, "consistent with transfer"), (1, "too few seeds")])
def test_a_group_with_few_seeds_counts_in_the_correction_of_the_others(seeds: int, word: str) -> None:
    weak = {"transfer": [900, 800, 700, 180, 60], "main_only": LOW, "control": [100, 170, 160, 50, 150]}
    few = {"transfer": HIGH[:seeds], "main_only": LOW[:seeds], "control": LOW[:seeds]}
    assert decide([scored(weak, "weak")])["weak"].word == "seen"
    verdicts = decide([scored(weak, "weak"), scored(few, "few")])
    assert (verdicts["weak"].word, verdicts["weak"].tests) == ("not seen", 2)
    assert (verdicts["few"].word, verdicts["few"].corrected_p, verdicts["few"].tests) == (word, None, 0)


def test_where_the_auxiliary_was_not_learned_a_missing_transfer_is_not_testable() -> None:
    same = {"transfer": [512] * 3, "main_only": [512] * 3, "control": [512] * 3}
    found = verdict(same, transfer={"reverse": 0.5})
    assert (found.word, found.reason) == ("not testable", "transfer did not learn reverse (50.0 % up to length 16)")
    found = verdict(same, transfer={"reverse": 0.5, "capitalize": 0})
    assert found.reason == (
        "transfer did not learn capitalize (0 % up to length 16) and reverse (50.0 % up to length 16)"
    )
    gained = {"transfer": HIGH[:3], "main_only": LOW[:3], "control": LOW[:3]}
    assert verdict(gained, transfer={"reverse": 0.5}).word == "consistent with transfer"
    assert verdict(gained, transfer={"reverse": 0.5}).caveats == ()
    few = verdict({arm: numbers[:2] for arm, numbers in same.items()}, transfer={"reverse": 0.5})
    assert few.word == "too few seeds"
    assert few.caveats == ("transfer did not learn reverse (50.0 % up to length 16)",)


def test_a_correction_that_undoes_a_verdict_asks_for_the_auxiliaries_too() -> None:
    weak = {"transfer": [900, 800, 700, 180, 60], "main_only": LOW, "control": [100, 170, 160, 50, 150]}
    groups = [scored(weak, name, transfer={"reverse": 0.5}) for name in ("one", "two")]
    assert {each.word for each in decide(groups).values()} == {"not testable"}
    assert decide(groups[:1])["one"].word == "seen"


def test_a_baseline_that_did_not_learn_its_tasks_is_named() -> None:
    right = {"transfer": HIGH[:3], "main_only": LOW[:3], "control": LOW[:3], "short_aux": LOW[:3]}
    arms = {arm: [run(arm, seed, each) for seed, each in enumerate(numbers)] for arm, numbers in right.items()}
    arms["main_only"] = [run("main_only", seed, 0, in_distribution=0.5) for seed in range(3)]
    arms["control"] = [run("control", seed, 0, others={"repeat_first": 0.25}) for seed in range(3)]
    arms["short_aux"] = [run("short_aux", seed, 0, others={"capitalize": 0.75}) for seed in range(3)]
    scores = {name: score_arm(runs, GROUP) for name, runs in arms.items()}
    assert decide([GroupScores(group=GROUP, arms=scores)])[GROUP.name].caveats == (
        "main_only did not learn capitalize_reverse (50.0 % up to length 8): the gain over it says less",
        "control did not learn repeat_first (25.0 % up to length 16): the gain over it says less",
        "short_aux did not learn capitalize (75.0 % up to length 8): the gain over it says less",
    )


def test_a_verdict_without_control_says_so() -> None:
    found = verdict({"transfer": HIGH, "main_only": LOW, "short_aux": LOW})
    assert (found.word, found.caveats) == ("consistent with transfer", ("control did not run",))


@pytest.mark.parametrize(("right", "learned"), [(1843, False), (1844, True)])
def test_a_task_is_learned_from_nine_tenths_up_to_its_training_length(right: int, learned: bool) -> None:
    """Nine tenths of 8 lengths with 256 replies each are 1843.2 replies."""

    def correct(cell: Cell) -> int:
        if cell.task == GROUP.main:
            return 256
        if cell.task != "reverse" or cell.length < 16:
            return 256
        return right - 7 * 256 if cell.length == 16 else 0

    scores = score_arm([make_result(correct, arm="transfer", group=GROUP.name, seed=0)], GROUP)
    assert scores.others == {"capitalize": 1, "reverse": Fraction(right, 2048)}
    assert scores.unlearned(GROUP.main) == ({} if learned else {"reverse": Fraction(right, 2048)})


def test_a_suite_without_a_transfer_zone_is_not_testable() -> None:
    group = replace(GROUP, grid=(2, 4, 6, 8, 18, 20))
    suite = Suite(name="made-up-v1", groups=(group,), examples_per_cell=256)
    assert suite.group(group.name).zone_lengths("transfer") == ()
    runs = [run(arm, seed, 0) for arm in ("transfer", "main_only", "control") for seed in range(5)]
    arms = {arm: score_arm([each for each in runs if each.arm == arm], group) for arm in ("transfer", "main_only")}
    found = decide([GroupScores(group=group, arms=arms)])[group.name]
    assert (found.word, found.reason) == ("not testable", "the suite has no test length in the transfer zone")
