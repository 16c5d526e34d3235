"""`lgbench submit`: put checked results into `submissions/`."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._options import MAX_SEED, Quiet, listed, listed_numbers
from lgbench.util.text import LONGEST_PATH, plain


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders to search for finished runs.")],
    name: Annotated[str, typer.Option(help="The system, like my-system: lower-case letters, digits and hyphens.")],
    description: Annotated[str | None, typer.Option(help="What it is, in one line.")] = None,
    authors: Annotated[list[str] | None, typer.Option(help="Who made it; may be repeated.")] = None,
    link: Annotated[str | None, typer.Option(help="A paper or repository: an http(s) address.")] = None,
    licence: Annotated[str | None, typer.Option(help="The licence of the results, and of the model if public.")] = None,
    parameters: Annotated[int | None, typer.Option(help="The number of trainable parameters.")] = None,
    training_notes: Annotated[
        str | None,
        typer.Option(help="How it was trained.", show_default="where it has none, what `lgbench reproduce` recorded"),
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Number of training runs that were tried before these to choose settings.", min=0)
    ] = None,
    selected_on: Annotated[
        str | None,
        typer.Option(help="What the settings were chosen on: nothing, in_distribution, transfer_zone or test."),
    ] = None,
    tuned_arms: Annotated[
        list[str] | None,
        typer.Option(
            "--tuned-arm", help="An arm that the trials trained, or several joined by commas; may be repeated."
        ),
    ] = None,
    tuning_seeds: Annotated[
        list[str] | None,
        typer.Option(
            "--tuning-seed",
            metavar="N",
            help="A seed of the trials, or several joined by commas; may be repeated.",
        ),
    ] = None,
    open_data: Annotated[
        str | None, typer.Option(help="Open division: what it was trained on besides the arm's stream, and how much.")
    ] = None,
    first_seed: Annotated[
        int | None, typer.Option(help="The lowest seed, if it is not 0: a multiple of 1000.", show_default="0")
    ] = None,
    same_recipe_as: Annotated[
        str | None, typer.Option(help="The system on the board that has the same recipe and the seeds from 0 on.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Where the weights can be had: an http(s) address, with {run} for the run's name."),
    ] = None,
    replies: Annotated[
        str | None,
        typer.Option(
            help="Leave the replies out of the submission, which only says where they are: an http(s) address, with "
            "{run} for the run's name. Upload each run's replies.jsonl.gz there."
        ),
    ] = None,
    submissions: Annotated[Path, typer.Option(help="The folder of all submissions.")] = Path("submissions"),
    quiet: Quiet = False,
) -> None:
    """Check results, copy them to submissions/NAME/, and print the Git steps of a pull request."""
    from lgbench.cli._console import say
    from lgbench.cli._progress import counting
    from lgbench.submissions.declaration import declared
    from lgbench.submissions.submitting import Addresses, Details, declaration_of, submit

    runs = finished_runs(folders)
    drafted = _drafted_notes(runs, submissions / name) if training_notes is None else None
    details = Details(
        description=description,
        authors=authors or None,
        link=link,
        licence=licence,
        parameters=parameters,
        training_notes=training_notes or drafted,
    )
    is_clone = submissions.exists()
    declaration = declared(
        declaration_of(submissions / name),
        trials=trials,
        selected_on=selected_on,
        tuned_arms=None if tuned_arms is None else listed(tuned_arms),
        tuning_seeds=None
        if tuning_seeds is None
        else listed_numbers(tuning_seeds, flag="--tuning-seed", most=MAX_SEED),
        open_data=open_data,
        first_seed=first_seed,
        same_recipe_as=same_recipe_as,
    )
    with counting("checking runs", quiet=quiet) as report:
        submitted = submit(
            runs,
            name=name,
            details=details,
            submissions=submissions,
            declaration=declaration,
            addresses=Addresses(weights=weights, replies=replies),
            report=report,
        )
    if not quiet:
        for run in submitted.runs:
            typer.echo(f"Added {plain(run, limit=LONGEST_PATH)}")
        for run in submitted.there:
            typer.echo(f"Already there: {plain(run, limit=LONGEST_PATH)}")
        for file in submitted.changed:
            typer.echo(f"Changed {plain(file, limit=LONGEST_PATH)}")
    if drafted is not None and not quiet:
        typer.echo("\nIts training_notes, from training.json. Add how its settings were chosen:")
        say(drafted, indent="  ", hanging="  ")
    if submitted.to_fix:
        typer.echo("\nBefore the next step, fix these:")
        for problem in submitted.to_fix:
            say(str(problem), indent="  ", hanging="    ")
    if quiet:
        return
    if not is_clone:
        typer.echo()
        say(f"There was no folder {submissions} here, so it was created. The steps below need a clone of lgbench.")
    if replies is not None:
        typer.echo()
        say("Upload the replies.jsonl.gz of each run to the address that its replies.json names.")
    if declaration is None and not (submissions / name / "declaration.json").exists():
        typer.echo()
        say("For the tier recorded, declare how its settings were chosen: --trials, and the options after it.")
    _print_git_steps(name, submitted.folder, submissions)


def _print_git_steps(name: str, system: Path, submissions: Path) -> None:
    from lgbench.submissions.system import SUBMISSIONS_FOLDER

    folder = plain(shlex.quote(str(system)), limit=LONGEST_PATH)
    is_usual = submissions == Path(SUBMISSIONS_FOLDER)
    elsewhere = "" if is_usual else f" --submissions {plain(shlex.quote(str(submissions)), limit=LONGEST_PATH)}"
    typer.echo(
        f"""
Next, in this repository:
  lgbench validate {shlex.quote(str(submissions))}
  lgbench leaderboard build{elsewhere}
  git switch -c submit-{name}
  git add {folder} leaderboard
  git commit -m "Submit {name}"
  git push -u origin submit-{name}
and open a pull request."""
    )


def _drafted_notes(runs: Sequence[Path], system: Path) -> str | None:
    """The training notes of a system that has none, if the training of all these runs was recorded."""
    from lgbench.submissions.submitting import has_notes
    from lgbench.training.notes import record_beside, training_notes

    if has_notes(system) or any(read_result(run).draft for run in runs):  # which will be refused
        return None
    records = [record for run in runs if (record := record_beside(run)) is not None]
    return training_notes(records) if len(records) == len(runs) else None
