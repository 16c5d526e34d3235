"""Whether transfer was seen in a group: one rule, for the board and for every command. Definition: docs/protocol.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple

from lgbench.scoring.comparison import GroupScores
from lgbench.scoring.display import percent
from lgbench.scoring.estimates import Estimate
from lgbench.scoring.significance import holm, permutation_p

Word = Literal["seen", "consistent with transfer", "not seen", "too few seeds", "not testable"]

FEWEST_SEEDS = 3
"""Seeds of every arm with which a verdict begins."""
ENOUGH_SEEDS = 5
"""Seeds of every arm with which transfer can be seen, and of `transfer` with which a system is ranked."""
LEAST_GAIN = Fraction(1, 20)
"""What `transfer` must gain over each baseline."""
LEVEL = Fraction(1, 20)
"""The greatest p of each gain."""
BASELINES = ("main_only", "control", "short_aux")


class Contrast(NamedTuple):
    """The arm `transfer` against one of its baselines, in the transfer zone.

    Attributes:
        baseline: The other arm.
        gain: The accuracy of `transfer` minus the baseline's.
        p: Of the one-sided permutation test over seeds.
    """

    baseline: str
    gain: Estimate
    p: Fraction


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What can be said of transfer in a group.

    Attributes:
        word: The verdict.
        reason: Why it is not a better one; empty for the best.
        caveats: What a reader should know beside it, a clause each.
        contrasts: The gains that it rests on: over every baseline that ran.
        corrected_p: The greatest p after Holm's correction; None where no correction is due.
        tests: Over how many groups it is corrected.
    """

    word: Word
    reason: str = ""
    caveats: tuple[str, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    corrected_p: Fraction | None = None
    tests: int = 0


def decide(groups: Sequence[GroupScores]) -> dict[str, Verdict]:
    """The verdict of every group of a system, by its name.

    The p of a group is the greatest of its contrasts, since each of them must hold. It is corrected over all groups
    with every needed arm, also those with too few seeds: leaving seeds out must not make the others easier to see.
    """
    contrasts = {scores.group.name: _contrasts(scores) for scores in groups}
    tested = [scores.group.name for scores in groups if not _obstacle(scores)]
    corrected = holm([max(contrast.p for contrast in contrasts[name]) for name in tested])
    p_values = dict(zip(tested, corrected, strict=True))
    return {
        scores.group.name: _decide(scores, contrasts[scores.group.name], p_values.get(scores.group.name), len(tested))
        for scores in groups
    }


def _decide(scores: GroupScores, contrasts: tuple[Contrast, ...], corrected_p: Fraction | None, tests: int) -> Verdict:
    if corrected_p is None:
        return Verdict(word="not testable", reason=_obstacle(scores), contrasts=contrasts)
    caveats, failures = _caveats(scores), _failures(contrasts)
    unlearned = _unlearned(scores, "transfer", scores.group.auxiliaries)
    fewest = min(contrast.gain.fewest_seeds for contrast in contrasts)
    if fewest < FEWEST_SEEDS:
        reason = f"{_seeds(scores, contrasts)}: {FEWEST_SEEDS} are needed for a verdict"
        if failures and unlearned:
            caveats = (unlearned, *caveats)
        return Verdict(word="too few seeds", reason=reason, caveats=caveats, contrasts=contrasts)
    word: Word = "seen"
    reason = ""
    if fewest < ENOUGH_SEEDS:
        word = "consistent with transfer"
        reason = f"{_seeds(scores, contrasts)}: {ENOUGH_SEEDS} are needed for 'seen'"
    elif not failures and "control" not in scores.arms:
        word = "consistent with transfer"
        reason = "control did not run, so long inputs of any task may be why"
    elif not failures and corrected_p > LEVEL:
        failures = [f"the p after Holm's correction for {tests} groups is above {float(LEVEL)}"]
    if failures:
        word = "not testable" if unlearned else "not seen"
        reason = unlearned or "; ".join(failures)
    is_corrected = fewest >= ENOUGH_SEEDS
    return Verdict(
        word=word,
        reason=reason,
        caveats=caveats,
        contrasts=contrasts,
        corrected_p=corrected_p if is_corrected else None,
        tests=tests if is_corrected else 0,
    )


def _contrasts(scores: GroupScores) -> tuple[Contrast, ...]:
    gains = ((name, scores.gain_over(name)) for name in BASELINES)
    return tuple(
        Contrast(name, gain, permutation_p(scores.arms["transfer"].accuracies, scores.arms[name].accuracies))
        for name, gain in gains
        if gain is not None
    )


def _obstacle(scores: GroupScores) -> str:
    """What keeps a group from being tested with any number of seeds; empty for nothing."""
    if not scores.group.zone_lengths("transfer"):
        return "the suite has no test length in the transfer zone"
    if missing := [arm for arm in ("transfer", "main_only") if arm not in scores.arms]:
        return f"{' and '.join(missing)} did not run"
    if "control" not in scores.arms and "short_aux" not in scores.arms:
        return "neither control nor short_aux ran, so long inputs alone may be why"
    return ""


def _failures(contrasts: Sequence[Contrast]) -> list[str]:
    small = [each.baseline for each in contrasts if each.gain.value < LEAST_GAIN]
    weak = [each.baseline for each in contrasts if each.gain.value >= LEAST_GAIN and each.p > LEVEL]
    failures = [f"the gain over {' and over '.join(small)} is below {100 * LEAST_GAIN} points"] if small else []
    return failures + ([f"the p over {' and over '.join(weak)} is above {float(LEVEL)}"] if weak else [])


def _seeds(scores: GroupScores, contrasts: Sequence[Contrast]) -> str:
    """The arms with the fewest seeds, with their number."""
    counts = {arm: len(scores.arms[arm].seeds) for arm in ("transfer", *(each.baseline for each in contrasts))}
    fewest = min(counts.values())
    arms = [arm for arm, count in counts.items() if count == fewest]
    where = "every arm" if len(arms) == len(counts) else " and ".join(arms)
    return f"{fewest} seed{'s' if fewest > 1 else ''} in {where}"


def _caveats(scores: GroupScores) -> tuple[str, ...]:
    found = [each] if (each := _unlearned(scores, "transfer", (scores.group.main,))) else []
    for arm in BASELINES:
        if arm in scores.arms and (each := _unlearned(scores, arm)):
            found.append(f"{each}: the gain over it says less")
    if "control" not in scores.arms:
        found.append("control did not run")
    return tuple(found)


def _unlearned(scores: GroupScores, arm: str, tasks: Sequence[str] | None = None) -> str:
    """A clause with the tasks, all or some, that an arm did not learn up to its training lengths; empty for none."""
    shares = scores.arms[arm].unlearned(scores.group.main)
    shares = {task: share for task, share in shares.items() if tasks is None or task in tasks}
    if not shares:
        return ""
    lengths = scores.group.mixture(arm).tasks
    found = (f"{task} ({percent(share)} % up to length {lengths[task]})" for task, share in shares.items())
    return f"{arm} did not learn {' and '.join(found)}"


def p_text(p: Fraction | float) -> str:
    """A p-value, for people.

    Examples:
        >>> p_text(Fraction(1, 252)), p_text(Fraction(1, 184756))
        ('p = 0.004', 'p < 0.001')
    """
    return f"p = {float(p):.3f}" if p >= Fraction(1, 1000) else "p < 0.001"
