"""The front page: the systems of each suite, ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
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
from lgbench.leaderboard.order import Coverage, Entry, Section, has_few_seeds, sections
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.display import NONE
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
_COVERAGES: Mapping[Coverage, str] = {
    "ranked": "",
    "few_seeds": f", with fewer than {ENOUGH_SEEDS} seeds",
    "fewer_groups": ", in fewer groups",
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
    untrained = [(each, each.untrained) for each in scores if each.untrained is not None]
    parts = []
    for section in sections(scores):
        parts += [f"### {_heading(section)}", *_explained(section, suite)]
        score = "mean group score" if section.coverage == "fewer_groups" else "transfer score"
        rows = [_trained_row(entry, score=score) for entry in section.entries]
        parts += _marked(table(rows, left=2 if section.coverage == "ranked" else 1))
    if untrained:
        parts += _open_section(suite, sorted(untrained, key=_open_rank))
    return parts


def _heading(section: Section) -> str:
    verified = "verified" if section.is_verified else "unverified"
    return f"{section.division.capitalize()} division, {verified}{_COVERAGES[section.coverage]}"


def _explained(section: Section, suite: Suite) -> list[str]:
    if section.coverage == "few_seeds":
        return [
            f"A system is ranked from {ENOUGH_SEEDS} `transfer` seeds in every group on, so these are not.",
        ]
    if section.coverage == "fewer_groups":
        return [
            "Means over the groups that a system covers with runs of both `transfer` and `main_only`. A transfer score "
            f"is over all {len(suite.groups)} groups, so these systems are not ranked.",
        ]
    return []


def _marked(text: str) -> list[str]:
    """A table, and the meaning of the marks in it."""
    return [text, *(note for mark, note in _NOTES.items() if mark in text)]


def _trained_row(entry: Entry, *, score: str) -> _Row:
    on_suite, scores, place = entry
    groups = len(scores.covered)
    domains = len({scores.suite.domain(group).name for group in scores.suite.groups})
    few = FEW_SEEDS if has_few_seeds(scores) else ""
    return ({} if place is None else {"#": str(place)}) | {
        "system": link(on_suite.system) + few,
        "tier": str(on_suite.tier),
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
        "parameters": count_range(on_suite.parameters, none=NONE),
    }


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
            "parameters": count_range(on_suite.parameters, none=NONE),
        }
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


def link(system: SystemRecord) -> str:
    """A link to the system's page. Its name holds nothing that means something in Markdown."""
    return f"[{system.name}](systems/{system.name}.md)"
