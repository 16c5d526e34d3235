"""`lgbench show` and `lgbench compare`: results that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.folders import check_one_system, finished_runs, fitting, read_result, why_no_arm
from lgbench.cli.opening import open_named
from lgbench.cli.options import DraftName
from lgbench.errors import LgbenchError


def show(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs; searched.")],
    lengths: Annotated[bool, typer.Option("--lengths", help="Print the accuracy at every length too.")] = False,
    suite: DraftName = None,
) -> None:
    """Print the tables of finished runs again."""
    from lgbench.cli.diagnosis import examined
    from lgbench.cli.report import print_result

    open_named(suite)
    problems = []
    for number, folder in enumerate(finished_runs(folders)):
        if number > 0:
            typer.echo()
        try:
            result, diagnosis = examined(read_result(folder), folder, folder)
            print_result(result, folder, diagnosis=diagnosis, lengths=lengths)
        except LgbenchError as error:
            problems.append(str(error))
    if problems:
        raise LgbenchError("\n".join(problems))


def compare(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs of trained arms; searched.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON on stdout, and nothing else.")
    ] = False,
    suite: DraftName = None,
) -> None:
    """Re-score the runs of one system and compare its arms: by length, by zone, gains with intervals, a verdict."""
    from lgbench.cli.report import print_parts
    from lgbench.rescoring import rescore
    from lgbench.scoring.report import comparison_parts, comparison_record
    from lgbench.scoring.systems import score_trained
    from lgbench.suites import load_suite
    from lgbench.text import json_text

    open_named(suite)
    found = finished_runs(folders)
    check_one_system(found)
    fit = fitting({folder: read_result(folder) for folder in found}, why_no_arm)
    if not fit:
        raise LgbenchError(
            "None of these runs is a complete one of a trained arm: evaluate the arms with --group and --arm, and "
            "without --limit, --task or --length."
        )
    compared = [rescore(folder) for folder in fit]
    suites = dict.fromkeys(run.result.suite for run in compared)
    scored = [score_trained(compared, load_suite(name)) for name in suites]
    if as_json:
        typer.echo(json_text([group for scores in scored for group in comparison_record(scores)]))
        return
    for scores in scored:
        if len(scored) > 1:
            typer.echo(f"Suite {scores.suite.name}\n")
        print_parts(comparison_parts(scores))
