"""`lgbench demo`: see length generalization transfer in a minute."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._options import Quiet
from lgbench.util.text import LONGEST_PATH, plain


def command(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Keep the three results in this folder.", show_default="none"
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the comparison as JSON on stdout, and nothing else.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate three small bundled models, one for each arm, and compare them."""
    if not quiet:
        typer.echo("Evaluating the bundled models tiny:main_only, tiny:transfer and tiny:control ...", err=True)

    from lgbench.cli._progress import reporter
    from lgbench.cli._tables import print_parts
    from lgbench.data.suites import load_suite
    from lgbench.experiments.demo import SUITE, run_demo
    from lgbench.scoring.systems import score_trained
    from lgbench.scoring.verdicts import comparison_parts, comparison_record
    from lgbench.util.text import json_text

    with contextlib.ExitStack() as stack:
        folder = output or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lgbench-demo-")))
        runs = run_demo(folder, on_progress=stack.enter_context(reporter(quiet=quiet)))
    scores = score_trained([run.result for run in runs], load_suite(SUITE))
    if as_json:
        typer.echo(json_text(comparison_record(scores)))
        return
    print_parts(comparison_parts(scores))
    if output is not None and not quiet:
        typer.echo(f"Results: {plain(output, limit=LONGEST_PATH)}")
