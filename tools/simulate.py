"""How far the board's statistics can be trusted: coverage, size and power, simulated. `python -m tools.simulate`.

It prints the tables of docs/statistics.md, in several minutes. A seed's true accuracy is drawn from a beta distribution
with the mean and the standard deviation of the committed runs of its arm, and what it gets right from a binomial one of
1024 replies. Where the committed seeds of an arm are equal, so are the drawn ones. Everything after the draw is the
code that makes the board.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lgbench.data.suites import load_suite
from lgbench.results.schema import Result
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.estimates import Estimate, Sample, mean_estimate
from lgbench.scoring.measures import Interval
from lgbench.scoring.ranking import told_apart
from lgbench.scoring.seen import decide
from lgbench.scoring.systems import TrainedScores, score_trained
from lgbench.util.records import read_record

SUBMISSIONS = Path(__file__).parents[1] / "submissions"
SEEDS = (3, 5, 10)
REPLIES = 1024


class Spread(NamedTuple):
    """How accuracies of seeds are distributed.

    Attributes:
        mean: Their mean.
        deviation: Their standard deviation; 0 for equal seeds.
        works: Where given, the share of seeds that have this distribution; the others have nothing right.
    """

    mean: float
    deviation: float
    works: float = 1

    @property
    def expected(self) -> float:
        """The mean over all seeds there could be."""
        return self.works * self.mean

    def draw(self, generator: np.random.Generator, seeds: int) -> Sample:
        """The accuracies of some seeds."""
        accuracies = np.full(seeds, self.mean)
        if self.deviation:
            size = self.mean * (1 - self.mean) / self.deviation**2 - 1
            accuracies = generator.beta(size * self.mean, size * (1 - self.mean), size=seeds)
        if self.works < 1:
            accuracies *= generator.random(seeds) < self.works
        right = generator.binomial(REPLIES, accuracies)
        return Sample(tuple(Fraction(int(each), REPLIES) for each in right), Interval(0, 1))


EQUAL = Spread(0, 0)
Arms = Mapping[str, Spread]


def observed(system: str) -> TrainedScores:
    """A committed system, scored."""
    results = [read_record(path, Result) for path in sorted((SUBMISSIONS / system).glob("*/result.json"))]
    return score_trained(results, load_suite("mini-v1"))


def spreads(scores: GroupScores) -> dict[str, Spread]:
    """How the seeds of each arm of a group are distributed, by their mean and standard deviation."""
    accuracies = {name: [float(share) for share in arm.accuracies] for name, arm in scores.arms.items()}
    return {name: Spread(statistics.mean(each), statistics.stdev(each)) for name, each in accuracies.items()}


def drawn(scores: GroupScores, arms: Arms, generator: np.random.Generator, seeds: int) -> GroupScores:
    """A group like a committed one, but for the accuracies of its seeds in the transfer zone."""
    made = {}
    for name, spread in arms.items():
        sample, like = spread.draw(generator, seeds), scores.arms[name].seeds[0]
        of_arm = tuple(replace(like, zones={**like.zones, "transfer": share}) for share in sample.accuracies)
        made[name] = ArmScores(seeds=of_arm, transfer=Estimate({sample: Fraction(1)}))
    return GroupScores(group=scores.group, arms=made)


def share(outcomes: Iterator[bool]) -> float:
    """How many of the outcomes are true."""
    return statistics.mean(map(float, outcomes))


def coverage(gain: tuple[Spread, Spread], seeds: int, repeats: int) -> float:
    """How often the interval of a gain holds the true gain, where there is an interval."""
    generator, (arm, baseline) = np.random.default_rng(0), gain
    gains = (of(arm.draw(generator, seeds)) - of(baseline.draw(generator, seeds)) for _ in range(repeats))
    return share(_holds(each.interval, arm.expected - baseline.expected) for each in gains if each.interval)


def mean_coverage(groups: Sequence[Spread], seeds: int, repeats: int) -> float:
    """How often the interval of a mean over groups holds the true mean."""
    generator, truth = np.random.default_rng(1), statistics.mean(group.expected for group in groups)
    means = (mean_estimate(of(group.draw(generator, seeds)) for group in groups) for _ in range(repeats))
    return share(_holds(each.interval, truth) for each in means if each is not None and each.interval)


def of(sample: Sample) -> Estimate:
    """The mean of one arm."""
    return Estimate({sample: Fraction(1)})


def _holds(interval: Interval, value: float) -> bool:
    return interval.low <= value <= interval.high


def found(groups: Sequence[tuple[GroupScores, Arms]], seeds: int, repeats: int) -> list[list[bool]]:
    """For each simulated system, in which groups transfer is seen, or of few seeds what they are consistent with."""
    generator, outcomes = np.random.default_rng(2), []
    for _ in range(repeats):
        system = [
            replace(drawn(scores, arms, generator, seeds), group=replace(scores.group, name=str(number)))
            for number, (scores, arms) in enumerate(groups)
        ]
        verdicts = decide(system).values()
        outcomes.append([verdict.word in {"seen", "consistent with transfer"} for verdict in verdicts])
    return outcomes


def nulls(transfer: Spread, harmful: Spread) -> dict[str, Arms]:
    """Cases without transfer in which one baseline is far below, so that only the other can keep the rule right."""
    return {
        "control as good as transfer, main_only at 0": {
            "transfer": transfer,
            "main_only": EQUAL,
            "control": transfer,
        },
        "main_only as good as transfer, control harmful": {
            "transfer": transfer,
            "main_only": transfer,
            "control": harmful,
        },
    }


def apart(groups: Sequence[Spread], shift: float, systems: int, seeds: int, repeats: int) -> float:
    """How often some of several systems are told apart, of which the first has more in every group by a shift."""
    generator, outcomes = np.random.default_rng(3), []
    better = [group._replace(mean=min(group.mean + shift, 0.999)) for group in groups]
    for _ in range(repeats):
        kinds = [better, *[groups] * (systems - 1)]
        scores = [mean_estimate(of(group.draw(generator, seeds)) for group in kind) for kind in kinds]
        outcomes.append(bool(told_apart([score for score in scores if score is not None]).any()))
    return share(iter(outcomes))


def report(repeats: int) -> Iterator[str]:
    """The lines of the tables, in Markdown."""
    rope, nope = observed("reference-rope"), observed("reference-nope")
    by_name = {group.group.name: (group, spreads(group)) for group in rope.groups}
    yield from _coverage_table(rope, nope, repeats)
    yield from _size_table(by_name, repeats)
    yield from _power_table(by_name, repeats)
    yield from _order_table([arms["transfer"] for _, arms in by_name.values()], repeats)


def _row(name: str, numbers: Sequence[float]) -> str:
    return f"| {name} | {' | '.join(f'{100 * each:.1f}' for each in numbers)} |"


def _heading(title: str) -> list[str]:
    return ["", f"| {title} | {' | '.join(f'{seeds} seeds' for seeds in SEEDS)} |", "|---|---|---|---|"]


def _coverage_table(rope: TrainedScores, nope: TrainedScores, repeats: int) -> Iterator[str]:
    yield from _heading("the 95 % interval holds the true value")
    for system, scores in (("", rope), ("NoPE, ", nope)):
        for group in scores.groups:
            arms = spreads(group)
            gain = (arms["transfer"], arms["main_only"])
            if any(spread.deviation for spread in gain):
                name = f"{system}`{group.group.name}`, transfer gain"
                yield _row(name, [coverage(gain, seeds, repeats) for seeds in SEEDS])
    third = (Spread(0.9, 0.05, works=1 / 3), EQUAL)
    yield _row("a gain where one seed in three works", [coverage(third, seeds, repeats) for seeds in SEEDS])
    score = [spreads(group)["transfer"] for group in rope.groups]
    yield _row("the mean over seven groups", [mean_coverage(score, seeds, repeats) for seeds in SEEDS])


def _size_table(groups: Mapping[str, tuple[GroupScores, Arms]], repeats: int) -> Iterator[str]:
    yield from _heading("without transfer, the verdict is *seen* (3 seeds: *consistent*)")
    like = groups["maze-trace"][0]
    harmful = groups["maze-trace"][1]["control"]
    transfers = {name: arms["transfer"] for name, (_, arms) in groups.items() if arms["transfer"].mean > 0.05}
    transfers["half of the seeds work"] = Spread(0.9, 0.05, works=0.5)
    cases = [nulls(spread, harmful) for spread in transfers.values()]
    first, second = cases[0]
    for null in (first, second):
        worst = [max(_size([(like, case[null])], seeds, repeats) for case in cases) for seeds in SEEDS]
        yield _row(f"{null}: the worst of {len(cases)} distributions", worst)
    board = [(like, case[first]) for case in cases] + [(like, cases[-1][second])]
    some = [_size(board, seeds, repeats // 4) for seeds in SEEDS]
    yield _row(f"such cases in {len(board)} groups: in at least one", some)


def _size(groups: Sequence[tuple[GroupScores, Arms]], seeds: int, repeats: int) -> float:
    return share(any(each) for each in found(groups, seeds, repeats))


def _power_table(groups: Mapping[str, tuple[GroupScores, Arms]], repeats: int) -> Iterator[str]:
    yield from _heading("with transfer as in the committed runs, it is *seen* (3 seeds: *consistent*)")
    wanted = ("main_only", "transfer", "control")
    system = [(scores, {name: arms[name] for name in wanted}) for scores, arms in groups.values()]
    outcomes = [found(system, seeds, repeats // 4) for seeds in SEEDS]
    for number, name in enumerate(groups):
        yield _row(f"`{name}`", [share(each[number] for each in of_seeds) for of_seeds in outcomes])


def _order_table(groups: Sequence[Spread], repeats: int) -> Iterator[str]:
    yield from _heading("some two of these systems are told apart")
    cases: list[tuple[str, float, int]] = [("two equal ones", 0, 2), ("six equal ones", 0, 6)]
    cases += [(f"two, one {points} points better in every group", points / 100, 2) for points in (5, 10)]
    for name, shift, systems in cases:
        yield _row(name, [apart(groups, shift, systems, seeds, repeats // 2) for seeds in SEEDS])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Simulate coverage, size and power of the board's statistics.")
    parser.add_argument("--repeats", type=int, default=2000, help="How often each case is drawn (default: 2000).")
    for line in report(parser.parse_args().repeats):
        print(line, flush=True)


if __name__ == "__main__":
    main()
