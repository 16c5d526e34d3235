"""The front page: the systems of each suite, ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from lgbench.data.suites import SUITES, Suite
from lgbench.leaderboard.markdown import (
    COUNT,
    EQUAL_SEEDS,
    EQUAL_SEEDS_NOTE,
    GENERATED,
    ONE_SEED,
    ONE_SEED_NOTE,
    count_range,
    estimated,
    horizons,
    mean_percent,
    table,
)
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.display import NONE
from lgbench.scoring.ranking import places
from lgbench.scoring.seen import ENOUGH_SEEDS, FEWEST_SEEDS
from lgbench.scoring.systems import OpenScores, TrainedScores
from lgbench.submissions.system import SystemRecord

FEW_SEEDS = "\\*"
_EMPTY = "No system has been submitted yet. [Submit the first](../docs/submitting.md)."
_INTRODUCTION = """Does a model solve longer inputs of a task because a related task was trained on longer inputs?
Accuracies are exact match in %, gains are in points, both with 95 % intervals. The transfer score says how well the
main tasks work on such inputs, and the gains whether the related tasks helped.
[How to read this](../docs/leaderboard.md) and [how to submit](../docs/submitting.md)."""
_NOTES = {
    ONE_SEED: ONE_SEED_NOTE,
    EQUAL_SEEDS: EQUAL_SEEDS_NOTE,
    FEW_SEEDS: f"{FEW_SEEDS} Fewer than {FEWEST_SEEDS} transfer seeds in some group: listed after the others.",
    COUNT: f"{COUNT}5) The mean is over 5 groups, or domains, only: those that have this value.",
}
_Row = dict[str, str]


def front_page(scores: Sequence[SuiteScores]) -> str:
    """The text of `leaderboard/README.md`.

    Args:
        scores: Of every system on every suite.
    """
    parts = [GENERATED, "# Leaderboard", _INTRODUCTION if scores else _EMPTY]
    for suite in SUITES:
        of_suite = [each for each in scores if each.suite == suite]
        if of_suite:
            parts += [f"## {suite.name}", *_suite_section(suite, of_suite)]
    return "\n\n".join(parts) + "\n"


def _suite_section(suite: Suite, scores: Sequence[SuiteScores]) -> list[str]:
    trained = [(each, each.trained) for each in scores if each.trained is not None]
    untrained = [(each, each.untrained) for each in scores if each.untrained is not None]
    ranked = sorted((entry for entry in trained if entry[1].is_ranked), key=_order)
    few_seeds = [entry for entry in trained if entry[1].covers_suite and not entry[1].is_ranked]
    elsewhere = sorted((entry for entry in trained if not entry[1].covers_suite), key=_order)
    parts = []
    if ranked:
        parts += ["### Trained under the arms", *_marked(table(_ranked_rows(ranked), left=2))]
    if few_seeds:
        parts += [
            f"### Trained under the arms, with fewer than {ENOUGH_SEEDS} seeds",
            f"A system is ranked from {ENOUGH_SEEDS} `transfer` seeds in every group on, so these are not.",
            *_marked(table([_trained_row(*entry) for entry in sorted(few_seeds, key=_order)])),
        ]
    if elsewhere:
        rows = [_trained_row(*entry, score="mean group score") for entry in elsewhere]
        parts += [
            "### Trained under the arms, in fewer groups",
            "Means over the groups that a system covers with runs of both `transfer` and `main_only`. A transfer score "
            f"is over all {len(suite.groups)} groups, so these systems are not ranked.",
            *_marked(table(rows)),
        ]
    if untrained:
        parts += _open_section(suite, sorted(untrained, key=_open_rank))
    return parts


def _marked(text: str) -> list[str]:
    """A table, and the meaning of the marks in it."""
    return [text, *(note for mark, note in _NOTES.items() if mark in text)]


def _order(entry: tuple[SuiteScores, TrainedScores]) -> tuple[int, bool, Fraction, str]:
    on_suite, scores = entry
    score = scores.score.value if scores.score else Fraction()
    return -len(scores.covered), _has_few_seeds(scores), -score, on_suite.system.name


def _has_few_seeds(scores: TrainedScores) -> bool:
    return any(count < FEWEST_SEEDS for count in scores.seeds)


def _ranked_rows(ranked: Sequence[tuple[SuiteScores, TrainedScores]]) -> list[_Row]:
    found = places([scores.score for _, scores in ranked if scores.score is not None])
    return [{"#": str(place)} | _trained_row(*entry) for place, entry in zip(found, ranked, strict=True)]


def _trained_row(on_suite: SuiteScores, scores: TrainedScores, *, score: str = "transfer score") -> _Row:
    groups = len(scores.covered)
    domains = len({scores.suite.domain(group).name for group in scores.suite.groups})
    few = FEW_SEEDS if _has_few_seeds(scores) else ""
    return {
        "system": link(on_suite.system) + few,
        score: estimated(scores.score, of=groups),
        "mean of domains": estimated(scores.domain_score, of=domains),
        "transfer gain": estimated(scores.transfer_gain, of=groups, signed=True),
        "control gain": estimated(scores.control_gain, of=groups, signed=True),
        "transfer seen": _seen(scores),
        "in-distribution": mean_percent(scores.mean(lambda arm: arm.zone("in_distribution")), of=groups),
        "beyond": mean_percent(scores.mean(lambda arm: arm.zone("beyond")), of=groups),
        "success rate": mean_percent(scores.mean(lambda arm: arm.success_rate), of=groups),
        "best seed": mean_percent(scores.mean(lambda arm: arm.best_seed), of=groups),
        "groups": str(groups),
        "seeds": count_range(scores.seeds, none=NONE),
    } | _about(on_suite)


def _seen(scores: TrainedScores) -> str:
    """In how many of the covered groups transfer was seen, and in how many more the runs are consistent with it."""
    words = Counter(scores.verdicts[group.group.name].word for group in scores.covered)
    consistent = f", {count} consistent" if (count := words["consistent with transfer"]) else ""
    return f"{words['seen']} of {len(scores.covered)}{consistent}"


def _open_section(suite: Suite, scores: Sequence[tuple[SuiteScores, OpenScores]]) -> list[str]:
    ranked = [
        {
            "#": str(place),
            "system": link(on_suite.system),
            "open score": estimated(each.score, of=len(suite.main_tasks)),
            "asked": _asked(each),
            "seeds": str(len(each.results)),
        }
        | _about(on_suite)
        for place, (on_suite, each) in enumerate(scores, start=1)
    ]
    by_task = [
        {"system": link(on_suite.system)}
        | {task.name: horizons(each.horizons_90[task.name], each.horizons_50[task.name]) for task in suite.tasks}
        for on_suite, each in scores
    ]
    return [
        "### Not trained under an arm (`open`)",
        f"The open score is the mean transfer-zone accuracy of the {len(suite.main_tasks)} main tasks.",
        *_marked(table(ranked, left=2)),
        "Horizons: the length up to which at least 90 % / 50 % of the replies are right.",
        table(by_task),
    ]


def _open_rank(entry: tuple[SuiteScores, OpenScores]) -> tuple[Fraction, str]:
    on_suite, scores = entry
    return -(scores.score.value if scores.score else Fraction()), on_suite.system.name


def _asked(scores: OpenScores) -> str:
    """How a language model was asked: its score depends on it."""
    styles = []
    for result in scores.results:
        prompt = result.system.prompt
        shots = "" if prompt is None or prompt.shots is None else f", {prompt.shots} shots"
        styles.append(NONE if prompt is None else prompt.style + shots)
    return "; ".join(dict.fromkeys(styles))


def _about(on_suite: SuiteScores) -> _Row:
    return {
        "parameters": count_range(on_suite.parameters, none=NONE),
        "status": "reproduced" if on_suite.system.reproduced_by else "self-reported",
    }


def link(system: SystemRecord) -> str:
    """A link to the system's page. Its name holds nothing that means something in Markdown."""
    return f"[{system.name}](systems/{system.name}.md)"
