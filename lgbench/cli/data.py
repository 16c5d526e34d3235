"""`lgbench data export`: prompts for people who train or infer elsewhere."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._group import App
from lgbench.cli._opening import opened
from lgbench.cli._options import Quiet, SuiteName, Tasks, listed
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    from lgbench.cli._progress import Count
    from lgbench.data.suites import Suite
    from lgbench.data.task import Example

_EXAMPLES_BETWEEN_REPORTS = 256

app = App(help="Write the benchmark's data.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Write the benchmark's data."""


@app.command("export")
def export(
    suite: SuiteName = "mini-v1",
    split: Annotated[str, typer.Option(metavar="NAME", help="test, or train for an arm's training stream.")] = "test",
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A group, or several joined by commas. With --split train or a trained arm, exactly one.",
            show_default="all",
        ),
    ] = None,
    arm: Annotated[str, typer.Option(metavar="NAME", help="An arm (`lgbench suites show`), or open.")] = "open",
    stage: Annotated[int | None, typer.Option(help="The stage, of an arm that trains in stages.", min=1)] = None,
    task: Tasks = None,
    count: Annotated[int | None, typer.Option(help="Number of training examples.", min=1)] = None,
    with_targets: Annotated[bool, typer.Option("--with-targets", help="Write targets of the test split too.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write.", show_default="stdout")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Write a split as JSON lines with id, task, length and prompt, and with the target on request.

    Training examples always have their targets. Answer test prompts by adding "reply" to each line; then
    `lgbench eval replay:FILE.jsonl` scores them.
    """
    groups, tasks = listed(group), listed(task)
    if split not in ("test", "train"):
        raise UnknownNameError("split to export", split, ("test", "train"))
    if split == "train" and (len(groups) != 1 or count is None or tasks):
        raise LgbenchError("--split train takes exactly one --group, an --arm, a --count, and no --task.")
    if split == "test" and count is not None:
        raise LgbenchError("--count is for --split train. A test split is exported whole.")

    from lgbench.cli._progress import counting

    found = opened(suite)
    # Lines that a terminal shows are their own progress.
    with counting("drawing examples", quiet=quiet or (output is None and sys.stdout.isatty())) as report:
        if split == "train":
            assert count is not None
            examples = _train_examples(found, groups[0], arm, stage, count, report)
        else:
            examples = _test_examples(found, groups, arm, tasks, report)
        lines = (_line(example, with_target=with_targets or split == "train") for example in examples)
        if output is None:
            for line in lines:
                typer.echo(line)
            return
        _write(lines, output)
    if not quiet:
        typer.echo(f"Wrote {plain(output, limit=LONGEST_PATH)}", err=True)


def _write(lines: Iterator[str], path: Path) -> None:
    from lgbench.util.files import output_writer, write_errors

    with write_errors(path), output_writer(path) as file:
        file.writelines(f"{line}\n".encode("ascii") for line in lines)


def _test_examples(suite: Suite, groups: list[str], arm: str, tasks: list[str], report: Count) -> Iterator[Example]:
    from lgbench.data.cells import checked_cell
    from lgbench.evaluation.planning import make_plan
    from lgbench.util.counting import counted

    plan = make_plan(suite, arm=arm, groups=groups, tasks=tasks)
    return (example for cell in counted(plan.cells, report) for example in checked_cell(plan.suite, cell))


def _train_examples(
    suite: Suite, group: str, arm: str, stage: int | None, count: int, report: Count
) -> Iterator[Example]:
    from lgbench.data.stream import training_stream

    report(0, count)
    for number, example in enumerate(itertools.islice(training_stream(suite, group, arm, stage=stage), count), 1):
        yield example
        if number % _EXAMPLES_BETWEEN_REPORTS == 0:
            report(number, count)


def _line(example: Example, *, with_target: bool) -> str:
    record = {"id": example.id, "task": example.task, "length": example.length, "prompt": example.prompt}
    return json.dumps(record | ({"target": example.target} if with_target else {}))
