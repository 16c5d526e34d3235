"""`lgbench compare`: the arms of one system side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._folders import check_one_system, finished_runs, fitting, read_result, why_no_arm
from lgbench.cli._opening import open_named
from lgbench.cli._options import DraftName
from lgbench.util.errors import LgbenchError


def command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs of trained arms; searched.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON on stdout, and nothing else.")
    ] = False,
    suite: DraftName = None,
) -> None:
    """Re-score the runs of one system and compare its arms: by length, by zone, gains with intervals, a verdict."""
    from lgbench.cli._report import print_parts
    from lgbench.data.suites import load_suite
    from lgbench.evaluation.rescoring import rescore
    from lgbench.scoring.systems import score_trained
    from lgbench.scoring.verdicts import comparison_parts, comparison_record
    from lgbench.util.text import json_text

    open_named(suite)
    found = finished_runs(folders)
    check_one_system(found)
    fit = fitting({folder: read_result(folder) for folder in found}, why_no_arm)
    if not fit:
        raise LgbenchError(
            "None of these runs is a complete one of a trained arm: evaluate the arms with --group and --arm, and "
            "without --limit, --task or --length."
        )
    compared = [rescore(folder).result for folder in fit]
    suites = dict.fromkeys(result.suite for result in compared)
    scored = [score_trained(compared, load_suite(name)) for name in suites]
    if as_json:
        typer.echo(json_text([group for scores in scored for group in comparison_record(scores)]))
        return
    for scores in scored:
        if len(scored) > 1:
            typer.echo(f"Suite {scores.suite.name}\n")
        print_parts(comparison_parts(scores))
