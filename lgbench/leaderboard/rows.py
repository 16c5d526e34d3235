"""The rows of the front page's tables. A table fits the page of a repository: about 100 characters."""

from __future__ import annotations

from collections import Counter

from lgbench.leaderboard.markdown import count_range, estimated, mean_percent, short_range
from lgbench.leaderboard.order import Coverage, coverage, has_few_seeds
from lgbench.leaderboard.parts import Row
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.display import NONE
from lgbench.scoring.systems import OpenScores, TrainedScores
from lgbench.submissions.system import SystemRecord

FEW_SEEDS = "\\*"


def score_name(covers: Coverage) -> str:
    """The name of a system's score."""
    return "mean group score" if covers == "fewer_groups" else "transfer score"


def main_row(on_suite: SuiteScores, scores: TrainedScores) -> Row:
    """The score of a system and who verified it, without its place."""
    groups = len(scores.covered)
    few = FEW_SEEDS if has_few_seeds(scores) else ""
    return {
        "system": link(on_suite.system) + few,
        "tier": str(on_suite.tier),
        score_name(coverage(scores)): _unbroken(estimated(scores.score, of=groups)),
        "transfer gain": _unbroken(estimated(scores.transfer_gain, of=groups, signed=True)),
        "transfer seen": ", ".join(filter(None, seen(scores))),
        "parameters": short_range(on_suite.parameters),
    }


def more_row(on_suite: SuiteScores, scores: TrainedScores) -> Row:
    """The figures beside the score and the gain."""
    groups = len(scores.covered)
    domains = len({scores.suite.domain(group).name for group in scores.suite.groups})
    return {
        "system": link(on_suite.system),
        "mean of domains": _unbroken(estimated(scores.domain_score, of=domains)),
        "control gain": _unbroken(estimated(scores.control_gain, of=groups, signed=True)),
        "in-distribution": mean_percent(scores.mean(lambda arm: arm.zone("in_distribution")), of=groups),
        "beyond": mean_percent(scores.mean(lambda arm: arm.zone("beyond")), of=groups),
        "success rate": mean_percent(scores.mean(lambda arm: arm.success_rate), of=groups),
        "best seed": mean_percent(scores.mean(lambda arm: arm.best_seed), of=groups),
        "groups": str(groups),
        "seeds": count_range(scores.seeds),
    }


def open_row(on_suite: SuiteScores, scores: OpenScores) -> Row:
    """The score of a system of arm `open` and how it was prompted, without its place."""
    tasks = len(on_suite.suite.main_tasks)
    return {
        "system": link(on_suite.system),
        "open score": _unbroken(estimated(scores.score, of=tasks, mark_one_seed=False)),
        "asked": asked(scores),
        "parameters": short_range(on_suite.parameters),
    }


def _unbroken(figure: str) -> str:
    """A figure with its interval, without spaces at which a narrow column could break it."""
    return figure.replace(", ", ",\N{NO-BREAK SPACE}")


def seen(scores: TrainedScores) -> tuple[str, str]:
    """In how many of the covered groups transfer was seen, and in how many more the runs are consistent with it."""
    words = Counter(scores.verdicts[group.group.name].word for group in scores.covered)
    consistent = f"{count} consistent" if (count := words["consistent with transfer"]) else ""
    return f"{words['seen']} of {len(scores.covered)}", consistent


def asked(scores: OpenScores) -> str:
    """How a language model was prompted, on which its score depends."""
    styles = []
    for result in scores.results:
        prompt = result.system.prompt
        shots = "" if prompt is None or prompt.shots is None else f", {prompt.shots} shots"
        styles.append(NONE if prompt is None else prompt.style + shots)
    return "; ".join(dict.fromkeys(styles))


def link(system: SystemRecord) -> str:
    """A link to the system's page. A system's name contains no Markdown."""
    return f"[{system.name}]({page(system)})"


def page(system: SystemRecord, anchor: str = "") -> str:
    """The path of a system's page, or of the section with this anchor."""
    return f"systems/{system.name}.md{'#' if anchor else ''}{anchor}"
