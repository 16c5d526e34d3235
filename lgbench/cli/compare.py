"""`lgbench compare`: systems side by side, or the arms of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._folders import named_folders
from lgbench.cli._opening import open_named
from lgbench.cli._options import AsMarkdown, Baseline, ComparedArm, DraftName, Quiet, one_form
from lgbench.cli._streams import print_csv
from lgbench.util.errors import LgbenchError
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.python.comparisons import ArmComparison, SystemComparison


def command(
    folders: Annotated[
        list[str],
        typer.Argument(metavar="DIR", help="Folders to search for finished runs; NAME=DIR names the system."),
    ],
    baseline: Baseline = None,
    arm: ComparedArm = None,
    lengths: Annotated[bool, typer.Option("--lengths", help="With --csv: a row for each length.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print the comparison as CSV on stdout, and nothing else.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON on stdout, and nothing else.")
    ] = False,
    markdown: AsMarkdown = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Compare systems and say whether one is better, or compare the arms of one. Runs are re-scored.

    "Is mine better than RoPE?" is `lgbench compare runs/mine --baseline reference-rope`.
    """
    one_form(csv=as_csv, json=as_json, markdown=markdown)

    from lgbench.cli._progress import counting
    from lgbench.cli._tables import print_parts
    from lgbench.python.comparing import compare_results
    from lgbench.python.systems import read_systems
    from lgbench.util.text import json_text

    open_named(suite)
    named = named_folders(folders)
    with counting("reading runs", quiet=quiet or as_json) as report:
        read = read_systems(named, report)
    with counting("re-scoring runs", quiet=quiet or as_json) as report:
        found = compare_results(read.systems, baseline=baseline, arm=arm, report=report, left_out=read.left_out)
    for each in found.left_out:
        typer.echo(f"Left out: {plain(each, limit=LONGEST_PATH)}.", err=True)
    if as_json:
        typer.echo(json_text(found.to_dict()))
    elif as_csv:
        print_csv(_frame(found, lengths=lengths))
    elif markdown:
        typer.echo(found.to_markdown(), nl=False)
    else:
        print_parts(found.parts())


def _frame(found: SystemComparison | ArmComparison, *, lengths: bool) -> pd.DataFrame:
    """The rows of `--csv`.

    Raises:
        LgbenchError: Rows for each length of the arms of one system, which `show` has.
    """
    from lgbench.python.comparisons import ArmComparison

    if isinstance(found, ArmComparison):
        if lengths:
            raise LgbenchError("--lengths is for several systems. Of one, `lgbench show --lengths --csv` has the rows.")
        return found.to_frame()
    return found.to_frame("lengths" if lengths else "differences")
