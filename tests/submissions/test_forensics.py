"""Signs of counts that no trained model has: silent on true runs, loud on forged ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy.special import chdtrc

from lgbench.data.suites import Cell
from lgbench.results.schema import Result
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.forensics import alarms, curve_differences, flatness, rises, spread
from lgbench.training.record import TrainingRecord
from tests.made_up import MINI, make_result
from tests.submitted import SYSTEM

ROOT = Path(__file__).parents[2]
GROUP = MINI.group("copy-mqar")


def committed() -> list[Submission]:
    systems = []
    for system in ("reference-rope", "reference-nope"):
        runs = []
        for folder in sorted((ROOT / "submissions" / system).glob("mini-v1-*")):
            result = Result.model_validate_json((folder / "result.json").read_text("utf-8"))
            training = TrainingRecord.model_validate_json((folder / "training.json").read_text("utf-8"))
            runs.append(SubmittedRun(folder.name, result, training=training))
        systems.append(Submission(system=SYSTEM, runs=tuple(runs)))
    return systems


def test_no_committed_run_sets_off_an_alarm_and_the_docs_say_how_many_were_tested() -> None:
    spreads, flats, runs, smallest = [], [], 0, []
    for submission in committed():
        assert list(alarms(submission)) == []
        arms: dict[tuple[str | None, str], list[Result]] = {}
        for run in submission.runs:
            arms.setdefault((run.result.group, run.result.arm), []).append(run.result)
            flats.append(flatness(run.result))
            runs += 1
            smallest += [z for _, _, z in rises(run.result)]
        spreads += [spread(results) for results in arms.values()]
    tested, lengths = [each for each in spreads if each], [each for each in flats if each]
    page = (ROOT / "docs" / "reviewing.md").read_text("utf-8")
    assert f"0 of {len(tested)} arms" in page
    assert f"0 of {len(lengths)} runs" in page
    assert f"0 of {runs} runs" in page
    assert f"at most {max(smallest):.1f} standard deviations" in page


def program(by_zone: dict[str, float], seeds: int, *, arm: str = "transfer") -> Submission:
    """Replies that are right with one chance in each zone, whatever the seed: what a program posts."""
    generator = np.random.Generator(np.random.PCG64(1))

    def correct(cell: Cell) -> int:
        return int(generator.binomial(256, by_zone[GROUP.zone(cell.length)]))

    runs = [
        SubmittedRun(f"seed{seed}", make_result(correct, arm=arm, group=GROUP.name, seed=seed)) for seed in range(seeds)
    ]
    return Submission(system=SYSTEM, runs=tuple(runs))


def test_a_program_with_a_little_noise_sets_off_alarms() -> None:
    told = [message for _, message in alarms(program({"in_distribution": 1, "transfer": 0.96, "beyond": 0.0}, 3))]
    assert any("differ no more than if all had the same probability" in message for message in told)
    assert any("does not fall with length in the transfer zone" in message for message in told)


LENGTHS = np.arange(2, 21, 2)


def chances(half: np.ndarray) -> np.ndarray:
    """Of a right reply at each length, falling along a logistic curve; half at `half`."""
    share: np.ndarray = 1 / (1 + np.exp(LENGTHS - half))
    return share


def statistics(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Chi-square and degrees of arms with counts of shape (arms, seeds, lengths), by another route."""
    share = counts.mean(1) / 256
    is_told = (share > 0.02) & (share < 0.98)
    variance = np.where(is_told, 256 * share * (1 - share), np.inf)
    squares = counts.var(1) * counts.shape[1]
    return (squares / variance).sum(1), is_told.sum(1) * (counts.shape[1] - 1)


@pytest.mark.parametrize("deviation", [0.5, 1, 2])
def test_true_seeds_look_like_one_chance_as_seldom_as_the_docs_say(deviation: float) -> None:
    told = []
    for seeds in (3, 5, 10):
        generator = np.random.Generator(np.random.PCG64(seeds))
        counts = generator.binomial(256, chances(generator.normal(12.0, deviation, (4000, seeds, 1))))
        statistic, degrees = statistics(counts)
        told.append(100 * (chdtrc(degrees, statistic)[degrees >= 4] > 0.01).mean())
        runs = [result(row.tolist()).model_copy(update={"seed": seed}) for seed, row in enumerate(counts[0])]
        found = spread(runs)
        assert found is not None
        assert (found.statistic, found.degrees) == pytest.approx((statistic[0], degrees[0]))
    page = (ROOT / "docs" / "reviewing.md").read_text("utf-8")
    row = next(line for line in page.splitlines() if line.startswith(f"| {deviation} |"))
    assert told == pytest.approx([float(share) for share in re.findall(r"([0-9.]+) %", row)], abs=1)


def result(counts: Sequence[int]) -> Result:
    by_length = dict(zip(GROUP.grid, counts, strict=True))
    return make_result(lambda cell: by_length[cell.length], arm="main_only", group=GROUP.name, seed=0)


def test_a_profile_that_rises_with_length_is_told() -> None:
    run = SubmittedRun("r", result([256, 256, 256, 256, 20, 20, 200, 20, 0, 0]))
    (alarm,) = list(alarms(Submission(system=SYSTEM, runs=(run,))))
    assert "string_copy at length 14 is solved more often than length 12, by " in alarm.message


def test_one_model_as_many_seeds_is_told_though_its_replies_were_changed() -> None:
    """The counts of one model, each moved by one or two."""
    base = [256, 256, 256, 255, 240, 200, 120, 30, 4, 0]
    runs = [
        SubmittedRun(
            f"seed{seed}", result([max(0, min(256, count - seed)) for count in base]).model_copy(update={"seed": seed})
        )
        for seed in range(3)
    ]
    told = [message for _, message in alarms(Submission(system=SYSTEM, runs=tuple(runs)))]
    assert any(message.startswith("the 3 seeds of arm main_only of copy-mqar differ no more") for message in told)


def test_a_curve_that_is_not_of_the_posted_weights_is_told() -> None:
    run = committed()[0].runs[0]
    assert run.training is not None
    assert list(curve_differences(run.result, run.training)) == []
    last = run.training.curve[-1]
    none = {task: dict.fromkeys(counts, 0) for task, counts in last.correct.items()}
    changed = run.training.model_copy(
        update={"curve": (*run.training.curve[:-1], last.model_copy(update={"correct": none}))}
    )
    told = list(curve_differences(run.result, changed))
    assert any("0 of 64 right, posted 256 of 256" in message for message in told)


def test_the_chi_square_by_hand() -> None:
    runs = [result([n] * 10).model_copy(update={"seed": seed}) for seed, n in enumerate((64, 128))]
    found = spread(runs)
    assert found is not None
    share = Fraction(192, 512)
    by_hand = 10 * 2 * Fraction(32**2) / (256 * share * (1 - share))
    assert found.degrees == 10
    assert found.statistic == pytest.approx(float(by_hand))
    assert spread([result([256] * 5 + [0] * 5)] * 3) is None
