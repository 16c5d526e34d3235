"""A made-up site for tests: three systems of one group, one of them hostile, and one of arm `open`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lgbench.data.tasks import get_task
from lgbench.evaluation.evaluator import evaluate
from lgbench.results.schema import Result
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.declaration import Declaration
from lgbench.submissions.system import SystemRecord
from lgbench.training.record import TrainingRecord
from tests.made_up import MINI, group_results, make_result
from tests.submitted import SYSTEM, RightUpTo

ROOT = Path(__file__).parents[2]
GROUP = MINI.group("capitalize-reverse")
DECLARED = Declaration(trials=0, selected_on="nothing", tuned_arms=(), tuning_seeds=(), open_data=None)
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>"
HOSTILE_REPLY = "</code></pre><script>window.hacked=3</script>\x1b[31m\u202e"


class Hostile:
    """Writes markup where a prompt is long."""

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to each prompt."""
        solve = get_task(task).solve
        return [solve(prompt) if len(prompt) < 10 else HOSTILE_REPLY for prompt in prompts]


def record(arm: str, seed: int) -> TrainingRecord:
    """A committed one."""
    folder = ROOT / "docs" / "runs" / "reference-rope" / f"mini-v1-{GROUP.name}-{arm}-seed{seed}"
    return TrainingRecord.model_validate_json((folder / "training.json").read_text("utf-8"))


@dataclass(frozen=True)
class Systems:
    """Submissions, and where their replies are."""

    submissions: tuple[Submission, ...]
    folder: Path


def made_systems(folder: Path) -> Systems:
    """Evaluate what the pages show replies of; the rest is made up."""
    trained = [
        _system(folder, "alpha", [RightUpTo(14), RightUpTo(12), RightUpTo(10)], recorded=True, parameters=1_000_000),
        _system(folder, "beta", [RightUpTo(12, "!"), RightUpTo(10, "!"), RightUpTo(8, "!")], parameters=20_000),
        _system(folder, "hostile", [Hostile()], text=HOSTILE, parameters=None),
    ]
    opened = SYSTEM.model_copy(update={"name": "opened", "parameters": 7_000_000_000})
    result = make_result(lambda cell: cell.length)
    return Systems((*trained, Submission(system=opened, runs=(SubmittedRun("open", result),))), folder)


def _system(
    folder: Path,
    name: str,
    models: Sequence[object],
    *,
    text: str = "Made up.",
    recorded: bool = False,
    parameters: int | None,
) -> Submission:
    runs = []
    for seed, model in enumerate(models):
        run = folder / name / f"transfer-{seed}"
        result = evaluate(model, arm="transfer", group=GROUP.name, seed=seed, output=run)  # type: ignore[arg-type]
        runs.append(SubmittedRun(run.name, result, training=record("transfer", seed) if recorded else None))
    right = range(3, 3 + len(models))
    for baseline in group_results(GROUP.name, {"main_only": right, "control": right}):
        training = record(baseline.arm, baseline.seed or 0) if recorded else None
        runs.append(SubmittedRun(f"{baseline.arm}-{baseline.seed}", baseline, training=training))
    fields = {"name": name, "description": text, "authors": (text, text), "licence": text, "training_notes": text}
    system = SystemRecord.model_validate(SYSTEM.model_dump() | fields | {"parameters": parameters})
    return Submission(system=system, runs=tuple(runs), declaration=DECLARED if recorded else None)


def transfer_results(systems: Systems, name: str) -> list[Result]:
    """The results of a system's arm `transfer`."""
    (submission,) = (each for each in systems.submissions if each.system.name == name)
    return [run.result for run in submission.runs if run.result.arm == "transfer"]


def pairs(systems: Systems) -> list[tuple[Submission, Submission]]:
    """Every two of the trained systems, either way."""
    return list(itertools.permutations(systems.submissions[:3], 2))
