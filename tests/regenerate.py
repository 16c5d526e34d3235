"""Writes anew what follows from the tables of tasks and suites: `python -m tests.regenerate`.

These are the hashes of test cells in lgbench/data/locks/, the hashes of training blocks in tests/training_blocks.json,
and the tables of docs/protocol.md. In `git diff` only lines of what is new may have changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from lgbench.data.cells import derive_lock, lock_path, lock_text
from lgbench.data.groups import Group
from lgbench.data.suites import SUITES, Suite
from lgbench.data.tasks import TASKS

from . import oracles

PROTOCOL = Path(__file__).parents[1] / "docs" / "protocol.md"


def tables() -> dict[str, list[str]]:
    """The lines of each generated part of docs/protocol.md, by its name."""
    groups = dict.fromkeys(_group_row(group) for suite in SUITES for group in suite.groups)
    return {
        "tasks": [f"| `{task.name}` | `{task.example}` | `{task.solve(task.example)}` |" for task in TASKS],
        "rules": [f"- `{task.name}`: {task.definition}" for task in TASKS if task.name not in oracles.TASKS],
        "groups": list(groups),
        "suites": [f"| `{suite.name}` | {suite.examples_per_cell} | {len(suite.cells())} |" for suite in SUITES],
        "lengths": [row for suite in SUITES for row in _length_rows(suite)],
    }


def _group_row(group: Group) -> str:
    return f"| `{group.name}` | `{group.main}` | {_names(group.auxiliaries)} | `{group.control}` |"


def _length_rows(suite: Suite) -> list[str]:
    """A row for the groups of a suite that have the same lengths, in the order of the first of them."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for group in suite.groups:
        grid = f"{group.grid[0]}, {group.grid[1]}, ..., {group.grid[-1]}"
        alike.setdefault((group.main_length, group.aux_length, grid), []).append(group.name)
    return [
        f"| `{suite.name}` | {_names(names)} | {main} | {aux} | {grid} |" for (main, aux, grid), names in alike.items()
    ]


def _names(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def with_tables(page: str) -> str:
    """docs/protocol.md with its generated parts written anew."""
    return with_parts(page, tables())


def with_parts(page: str, parts: Mapping[str, Sequence[str]]) -> str:
    """A page with other lines between `<!-- NAME -->` and `<!-- end of NAME -->`, below a table's heading, if any."""
    for name, lines in parts.items():
        pattern = rf"(<!-- {name} -->\n(?:\|[^\n]*\n\|[-|]+\n)?)(?:[|-][^\n]*\n)*(<!-- end of {name} -->)"
        page, count = re.subn(pattern, lambda found: found[1] + "".join(f"{each}\n" for each in lines) + found[2], page)  # noqa: B023
        assert count == 1, f"the page has no part {name}"
    return page


if __name__ == "__main__":
    for suite in SUITES:
        lock_path(suite).write_text(lock_text(derive_lock(suite)), encoding="ascii")
    from tests.data.test_training_data import GOLDEN, golden_hashes

    GOLDEN.write_text(json.dumps(golden_hashes(), indent=1) + "\n", encoding="utf-8")
    PROTOCOL.write_text(with_tables(PROTOCOL.read_text("utf-8")), encoding="utf-8")
