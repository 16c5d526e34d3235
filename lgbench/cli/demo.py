"""`lgbench demo`: see length generalization transfer in a minute."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Annotated

import typer


def command(
    results: Annotated[
        Path | None, typer.Option("--json", metavar="DIR", help="Leave the three results in this folder.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Evaluate three small bundled models, one for each arm, and compare them."""
    typer.echo("Evaluating the bundled models tiny:main_only, tiny:transfer and tiny:control ...", err=True)

    from lgbench.cli._progress import reporter
    from lgbench.cli._report import print_parts
    from lgbench.data.suites import load_suite
    from lgbench.experiments.demo import SUITE, run_demo
    from lgbench.scoring.systems import score_trained
    from lgbench.scoring.verdicts import comparison_parts

    with contextlib.ExitStack() as stack:
        folder = results or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lgbench-demo-")))
        runs = run_demo(folder, on_progress=stack.enter_context(reporter(quiet=quiet)))
    print_parts(comparison_parts(score_trained([run.result for run in runs], load_suite(SUITE))))
    if results is not None:
        typer.echo(f"Results: {results}")
