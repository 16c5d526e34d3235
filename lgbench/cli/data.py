"""`lgbench data export`: prompts for people who train or infer elsewhere."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._group import App
from lgbench.cli._opening import opened
from lgbench.cli._options import SuiteName, Tasks, listed
from lgbench.util.errors import LgbenchError, UnknownNameError

if TYPE_CHECKING:
    from lgbench.data.suites import Suite
    from lgbench.data.task import Example

app = App(help="Write the benchmark's data.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Write the benchmark's data."""


@app.command("export")
def export(
    suite: SuiteName = "mini-v1",
    split: Annotated[str, typer.Option(help="test, or train for a training stream.")] = "test",
    group: Annotated[
        list[str] | None,
        typer.Option(
            help="A group, or several joined by commas; train and trained arms take exactly one.", show_default="all"
        ),
    ] = None,
    arm: Annotated[str, typer.Option(help="An arm of the group (`lgbench suites show`), or open.")] = "open",
    stage: Annotated[int | None, typer.Option(help="Of an arm that trains in stages, the stage.", min=1)] = None,
    task: Tasks = None,
    count: Annotated[int | None, typer.Option(help="How many training examples.", min=1)] = None,
    with_targets: Annotated[bool, typer.Option("--with-targets", help="Write targets of the test split too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.", show_default="stdout")
    ] = None,
) -> None:
    """Write a split as JSON lines of id, task, length, prompt, and target where asked for.

    Training examples always have their targets. Answer test prompts by adding "reply" to each line; then
    `lgbench eval replay:FILE.jsonl` scores them.
    """
    groups, tasks = listed(group), listed(task)
    if split == "train":
        if len(groups) != 1 or count is None or tasks:
            raise LgbenchError("--split train takes exactly one --group, an --arm, a --count, and no --task.")
        examples = _train_examples(opened(suite), groups[0], arm, stage, count)
    elif split == "test":
        if count is not None:
            raise LgbenchError("--count is for --split train. A test split is exported whole.")
        examples = _test_examples(opened(suite), groups, arm, tasks)
    else:
        raise UnknownNameError("split to export", split, ("test", "train"))
    lines = (_line(example, with_target=with_targets or split == "train") for example in examples)
    if output is None:
        for line in lines:
            typer.echo(line)
        return

    from lgbench.util.files import output_writer, write_errors
    from lgbench.util.text import LONGEST_PATH, plain

    with write_errors(output), output_writer(output) as file:
        file.writelines(f"{line}\n".encode("ascii") for line in lines)
    typer.echo(f"Written to {plain(output, limit=LONGEST_PATH)}.", err=True)


def _test_examples(suite: Suite, groups: list[str], arm: str, tasks: list[str]) -> Iterator[Example]:
    from lgbench.data.cells import checked_cell
    from lgbench.evaluation.planning import make_plan

    plan = make_plan(suite, arm=arm, groups=groups, tasks=tasks)
    return (example for cell in plan.cells for example in checked_cell(plan.suite, cell))


def _train_examples(suite: Suite, group: str, arm: str, stage: int | None, count: int) -> Iterator[Example]:
    from lgbench.data.stream import training_stream

    return itertools.islice(training_stream(suite, group, arm, stage=stage), count)


def _line(example: Example, *, with_target: bool) -> str:
    record = {"id": example.id, "task": example.task, "length": example.length, "prompt": example.prompt}
    return json.dumps(record | ({"target": example.target} if with_target else {}))
