"""`lgbench validate`: everything that is wrong with submissions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._fetch import Fetch, fetched
from lgbench.cli._options import AllJson, CheckJobs, Quiet

if TYPE_CHECKING:
    from lgbench.submissions.checked import Checked, FileProblem
    from lgbench.submissions.summary import SystemSummary
    from lgbench.util.records import Problem

_RULE = (
    "A submission adds files to one system's folder, and changes nothing else but leaderboard/, which\n"
    "`lgbench leaderboard build` writes. Only a maintainer can allow more: docs/submitting.md says how."
)


def command(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PATH", help="Folders of submissions, of a system or of a run.", show_default="submissions"
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="COMMIT",
            help="Also compare HEAD with this commit or branch, as the check of a pull request does: a submission adds "
            "files to one system's folder, and changes nothing else but leaderboard/.",
            show_default=False,
        ),
    ] = None,
    fetch: Fetch = False,
    jobs: CheckJobs = None,
    by_maintainer: Annotated[
        bool, typer.Option("--by-maintainer", help="With --base: allow what only a maintainer may change.")
    ] = False,
    as_json: AllJson = False,
    quiet: Quiet = False,
) -> None:
    """Check submissions and re-score every run. Lists every problem; if there is any, the exit status is 1."""
    from lgbench.cli._progress import counting
    from lgbench.submissions.checking import check
    from lgbench.util.errors import LgbenchError
    from lgbench.util.processes import cores
    from lgbench.util.text import json_text

    if by_maintainer and base is None:
        raise LgbenchError("--by-maintainer needs --base: the commit that HEAD is compared with.")
    compared, of_changes = ("", []) if base is None else _compare(base, by_maintainer=by_maintainer)
    folders = paths or [Path("submissions")]
    of_fetching = fetched(folders, quiet=quiet or as_json) if fetch else ()
    with counting("checking runs", quiet=quiet or as_json) as report:
        checked = check(folders, jobs=jobs or cores(), summarized=True, report=report)
    told = {problem.path for problem in of_fetching}  # the check says of these only that they are not here
    found = (*of_changes, *of_fetching, *(each for each in checked.problems if each.path not in told))
    if as_json:
        typer.echo(
            json_text(
                {
                    "systems": checked.systems,
                    "runs": checked.runs,
                    "problems": _records(found),
                    "alarms": _records(checked.alarms),
                }
            )
        )
    else:
        if compared and not quiet:
            typer.echo(compared)
        if found:
            _print_by_file(found)
        if of_changes:
            typer.echo(_RULE)
        if found or not quiet:
            outcome = f"{_count(len(found), 'problem')} in " if found else ""
            typer.echo(f"{outcome}{_size(checked.systems, checked.runs)}{'.' if found else ': all good'}")
        _print_for_reviewers(checked, quiet=quiet)
    if found:
        raise typer.Exit(1)


def _print_for_reviewers(checked: Checked, *, quiet: bool) -> None:
    """Print the tiers, and what is not refused but needs a look."""
    from lgbench.cli._console import say
    from lgbench.submissions.summary import perfect_twins
    from lgbench.util.text import plain

    if not quiet:
        _print_tiers(checked.summaries)
    if checked.alarms:
        typer.echo("\nFor reviewers (docs/reviewing.md), not refused:")
        _print_by_file(checked.alarms)
    for note in perfect_twins(checked.summaries):
        say(f"Note: {plain(note)}", hanging="  ")


def _compare(base: str, *, by_maintainer: bool) -> tuple[str, list[FileProblem]]:
    """What HEAD changes since a commit, in one line, and what it may not change."""
    from lgbench.submissions.changes import check_changes, describe
    from lgbench.submissions.git import compare_with

    base, head, changes = compare_with(base, Path())
    problems = check_changes(changes, by_maintainer=by_maintainer)
    return f"HEAD ({head[:12]}) compared with {base[:12]}: {describe(changes)}.", problems


def _records(found: Iterable[FileProblem]) -> list[dict[str, str]]:
    return [{"path": str(path), "field": problem.field, "message": problem.message} for path, problem in found]


def _print_tiers(summaries: Iterable[SystemSummary]) -> None:
    """Division and tier of each system on each suite, and what the next tier needs."""
    from lgbench.cli._console import say
    from lgbench.util.text import plain

    for summary in summaries:
        for suite, found in summary.standings:
            told = f"{summary.name} on {suite}: {found.division} division, {found.tier}"
            say(f"{told}. Missing for the next tier:" if found.missing else f"{told}.")
            for each in found.missing:
                say(plain(each, limit=2000), indent="  ", hanging="    ")


def _print_by_file(problems: Iterable[FileProblem]) -> None:
    from lgbench.cli._console import say
    from lgbench.util.text import LONGEST_PATH, plain

    by_file: dict[Path, list[Problem]] = {}
    for path, problem in problems:
        by_file.setdefault(path, []).append(problem)
    for path, of_file in by_file.items():
        typer.echo(plain(path, limit=LONGEST_PATH))
        for problem in of_file:
            say(str(problem), indent="  ", hanging="    ")
    typer.echo()


def _size(systems: int, runs: int) -> str:
    return f"{_count(systems, 'system')}, {_count(runs, 'run')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
