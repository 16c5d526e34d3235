"""Runs and helpers for tests of `submissions/`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lgbench.data.tasks import get_task
from lgbench.submissions.checking import check
from lgbench.submissions.system import SystemRecord

Change = Callable[[Any], object]
RUN = "mini-v1-add-multiply-main_only-seed0"
OTHER_SEED = "mini-v1-add-multiply-main_only-seed1"
SYSTEM = SystemRecord.model_validate(
    {
        "name": "mine",
        "description": "Made up.",
        "authors": ("A",),
        "link": None,
        "licence": "MIT",
        "parameters": None,
        "training_notes": "",
    }
)


class RightUpTo:
    """Solves prompts of up to a number of characters; what it replies to longer ones is right but does not stop."""

    def __init__(self, longest: int, more: str = "?") -> None:
        self.longest = longest
        self.more = more

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to each prompt."""
        solve = get_task(task).solve
        return [solve(prompt) + self.more * (len(prompt) > self.longest) for prompt in prompts]


def problems(folder: Path) -> dict[tuple[str, str], str]:
    """Every problem and alarm found, as {(path below the folder, field): messages}; none may be told twice."""
    checked = check([folder])
    found = (*checked.problems, *checked.alarms)
    assert len(set(found)) == len(found)
    told: dict[tuple[str, str], str] = {}
    for path, (field, message) in found:
        where = (path.relative_to(folder).as_posix(), field)
        told[where] = f"{told[where]} {message}" if where in told else message
    return told


def edit(path: Path, change: Change) -> None:
    """Change a JSON file."""
    record = json.loads(path.read_text("utf-8"))
    change(record)
    path.write_text(json.dumps(record), encoding="utf-8")
