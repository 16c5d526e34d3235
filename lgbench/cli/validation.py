"""`lgbench validate`: everything that is wrong with submissions."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lgbench.records import Problem
    from lgbench.submissions.checked import FileProblem


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", help="Folders of submissions, of a system or of a run.", show_default="submissions"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Check submissions and re-score every run. All problems of all files are told; with any, the exit status is 1."""
    from lgbench.records import plain
    from lgbench.submissions.checking import check
    from lgbench.submissions.copies import perfect_twins

    checked = check(paths or [Path("submissions")])
    if as_json:
        problems = [
            {"path": str(path), "field": problem.field, "message": problem.message}
            for path, problem in checked.problems
        ]
        typer.echo(json.dumps({"systems": checked.systems, "runs": checked.runs, "problems": problems}, indent=1))
    elif checked.problems:
        _print_by_file(checked.problems)
        typer.echo(f"{_count(len(checked.problems), 'problem')} in {_size(checked.systems, checked.runs)}.")
    else:
        typer.echo(f"{_size(checked.systems, checked.runs)}: all good")
    if not as_json:
        for submission in checked.submissions:
            if (who := submission.system.reproduced_by) is not None:
                name = submission.system.name
                typer.echo(
                    f"Note: {name} says that it was reproduced by {plain(who)}. Only a maintainer may enter that."
                )
        for sentence in perfect_twins(checked.submissions):
            typer.echo(f"Note: {sentence}")
    if checked.problems:
        raise typer.Exit(1)


def _print_by_file(problems: Iterable[FileProblem]) -> None:
    from lgbench.records import plain

    by_file: dict[Path, list[Problem]] = {}
    for path, problem in problems:
        by_file.setdefault(path, []).append(problem)
    for path, of_file in by_file.items():
        typer.echo(plain(str(path)))
        for problem in of_file:
            typer.echo(f"  {problem}")
    typer.echo()


def _size(systems: int, runs: int) -> str:
    return f"{_count(systems, 'system')}, {_count(runs, 'run')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
