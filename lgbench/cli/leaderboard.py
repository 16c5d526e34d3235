"""`lgbench leaderboard`: derive the leaderboard from the submissions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._fetch import Fetch, fetch_all
from lgbench.cli._group import App
from lgbench.cli._options import CheckJobs, Quiet

if TYPE_CHECKING:
    from lgbench.submissions.checked import Submission
    from lgbench.submissions.kept import KeptScores

MAX_LINES = 200
Full = Annotated[
    bool,
    typer.Option("--full", help="Score every reply again, including those of runs that this version scored before."),
]
Submissions = Annotated[Path, typer.Option(help="The folder of all submissions.")]

app = App(help="Derive the leaderboard from the submissions.", no_args_is_help=True)


@app.callback()
def leaderboard() -> None:
    """Derive the leaderboard from the submissions."""


@app.command("build")
def build(
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing. Report what differs, and exit with status 1 if anything does."),
    ] = False,
    submissions: Submissions = Path("submissions"),
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder of the leaderboard.")] = Path(
        "leaderboard"
    ),
    jobs: CheckJobs = None,
    full: Full = False,
    fetch: Fetch = False,
    quiet: Quiet = False,
) -> None:
    """Re-score every submission, and write leaderboard/README.md, board.json, cells.csv and a page for each system."""
    from lgbench.cli._progress import counting
    from lgbench.leaderboard.build import BoardFiles, differences, write_files
    from lgbench.leaderboard.derive import derive_part
    from lgbench.leaderboard.parts import Part
    from lgbench.submissions.checking import reduce_submissions
    from lgbench.util.processes import cores
    from lgbench.util.text import LONGEST_PATH, plain

    if fetch:
        fetch_all(submissions, quiet=quiet)
    with counting("checking runs", quiet=quiet) as report:
        parts = reduce_submissions(submissions, derive_part, jobs=jobs or cores(), kept=_kept(full=full), report=report)
    files = BoardFiles(Part(*blocks) for blocks in parts)
    up_to_date = f"{output}/ is up to date with {submissions}/ (pages, pictures and data: {len(files)})."
    if not check:
        for path in write_files(files, output):
            if not quiet:
                typer.echo(f"{'Wrote' if path.exists() else 'Removed'} {plain(path, limit=LONGEST_PATH)}")
        if not quiet:
            typer.echo(up_to_date)
        return
    lines = list(differences(files, output))
    for line in lines[:MAX_LINES]:
        typer.echo(plain(line, limit=1000))
    if len(lines) > MAX_LINES:
        typer.echo(f"... and {len(lines) - MAX_LINES} more lines")
    if lines:
        typer.echo(f"{output}/ is not up to date with {submissions}/. Run: lgbench leaderboard build", err=True)
        raise typer.Exit(1)
    if not quiet:
        typer.echo(up_to_date)


@app.command("site")
def site(
    output: Annotated[
        Path, typer.Argument(metavar="OUT", help="The folder of the site; an earlier site in it is replaced.")
    ],
    submissions: Submissions = Path("submissions"),
    jobs: CheckJobs = None,
    full: Full = False,
    fetch: Fetch = False,
    quiet: Quiet = False,
) -> None:
    """Write the leaderboard as a web page, which needs no server: sort, filter, curves of all systems in a group.

    Every submission is re-scored. Needs the extra `site`.
    """
    from lgbench.cli._progress import counting
    from lgbench.leaderboard.site.build import write_site
    from lgbench.util.extras import require_extra
    from lgbench.util.text import LONGEST_PATH, plain

    require_extra("site", purpose="The web page of the leaderboard")
    if fetch:
        fetch_all(submissions, quiet=quiet)
    read = _read(submissions, jobs=jobs, full=full, quiet=quiet)
    with counting("writing pages of systems", quiet=quiet) as report:
        count = write_site(read, submissions, output, report)
    if not quiet:
        typer.echo(f"Wrote {count:,} files. Open {plain(output / 'index.html', limit=LONGEST_PATH)} in a browser.")


def _read(submissions: Path, *, jobs: int | None, full: bool, quiet: bool) -> tuple[Submission, ...]:
    from lgbench.cli._progress import counting
    from lgbench.submissions.checking import read_submissions
    from lgbench.util.processes import cores

    with counting("checking runs", quiet=quiet) as report:
        return read_submissions(submissions, jobs=jobs or cores(), kept=_kept(full=full), report=report)


def _kept(*, full: bool) -> KeptScores | None:
    from lgbench.submissions.kept import KeptScores, default_folder

    return None if full else KeptScores(default_folder())
