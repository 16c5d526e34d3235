"""`lgbench doctor`: does a model honour the contract, and how long would it take?"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Annotated

import typer

from lgbench.cli._opening import opened
from lgbench.cli._options import AllJson, ModelOptions, Quiet, Tasks, listed, model_options
from lgbench.cli._streams import stdout_to_stderr
from lgbench.doctor.findings import TIME_LIMIT, Finding

_MARKS = {"ok": "ok     ", "warning": "WARNING", "problem": "PROBLEM", "untried": "skipped"}


def command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As for `lgbench eval`.")],
    suite: Annotated[str, typer.Option(metavar="NAME", help="The suite whose prompts are asked.")] = "mini-v1",
    task: Tasks = None,
    model_option: ModelOptions = None,
    time_limit: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Roughly how long all checks may take, without loading.")
    ] = TIME_LIMIT,
    as_json: AllJson = False,
    quiet: Quiet = False,
) -> None:
    """Check that a model honours the contract, and project how long the suites would take.

    Exit status 1 means that at least one problem was found.
    """
    if not quiet:
        typer.echo(f"Loading {model} ...", err=True)
    tasks = listed(task)

    from lgbench.cli._report import describe
    from lgbench.doctor.examining import examine
    from lgbench.evaluation.planning import make_plan
    from lgbench.models.loading import load_model
    from lgbench.util.text import json_text

    # Asked for in vain should fail before a model takes minutes to load.
    found = opened(suite)
    make_plan(found, tasks=tasks)
    begun = time.perf_counter()
    with stdout_to_stderr():
        loaded = load_model(model, model_options(model_option or []))
    took = f"in {time.perf_counter() - begun:.1f} s"
    loads = ", ".join(filter(None, (took, describe(loaded))))
    if not as_json:
        typer.echo(f"{_MARKS['ok']}  loads: {loads}")
    found_all = list[Finding]()
    findings = examine(loaded, suite=found, tasks=tasks, seconds=time_limit)
    while True:
        with stdout_to_stderr():
            finding = next(findings, None)
        if finding is None:
            break
        found_all.append(finding)
        if not as_json:
            typer.echo(f"{_MARKS[finding.state]}  {finding.check}: {finding.detail}")
            for line in finding.advice.splitlines():
                typer.echo(f"         {line}")
    states = {finding.state for finding in found_all}
    if as_json:
        findings_record = [{"check": "loads", "state": "ok", "detail": loads, "advice": ""}]
        typer.echo(json_text(findings_record + [finding._asdict() for finding in found_all]))
    else:
        typer.echo(_outcome(states))
    if "problem" in states:
        raise typer.Exit(1)


def _outcome(states: Collection[str]) -> str:
    if "problem" in states:
        return "The model breaks the contract: see PROBLEM above."
    as_far = ", as far as it was checked" if "untried" in states else ""
    return f"The model honours the contract{as_far}." + (" Read the warnings." if "warning" in states else "")
