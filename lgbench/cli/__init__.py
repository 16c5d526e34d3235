"""The commands. Each parses, calls the library and prints.

Commands import what they need when they run: `lgbench --help` loads neither NumPy nor pydantic nor anything heavier.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from lgbench.cli import (
    compare,
    data,
    demo,
    doctor,
    errors,
    export,
    leaderboard,
    models,
    plot,
    rescore,
    run,
    schema,
    show,
    submit,
    suites,
    tasks,
    train,
    validate,
)
from lgbench.cli import (
    eval as eval_,
)
from lgbench.cli._experiment import command_of
from lgbench.cli._group import Group
from lgbench.cli._streams import plain_streams, prepare_streams
from lgbench.experiments.ablate import Ablate
from lgbench.experiments.finetune import Finetune
from lgbench.experiments.reproduce import Reproduce
from lgbench.experiments.retrain import Retrain
from lgbench.experiments.sweep import Sweep
from lgbench.util.errors import LgbenchError, ModelError
from lgbench.version import __version__

app = typer.Typer(
    name="lgbench",
    cls=Group,
    help="The benchmark for length generalization transfer: does a model solve longer inputs of a task because a "
    "related task was trained on longer inputs?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,  # Typer's completion options load pydantic even for `lgbench eval --help`
    context_settings={"help_option_names": ["-h", "--help"]},
)
# What a system refuses whoever asks. A file that is missing or in the way is told as an LgbenchError where a user named
# it; anywhere else it is a bug of ours, which needs its traceback.
_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lgbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of lgbench itself."""


app.command("demo")(demo.command)
app.command("eval")(eval_.command)
app.command("train")(train.command)
app.command("finetune")(command_of(Finetune))
app.command("retrain")(command_of(Retrain))
app.command("reproduce")(command_of(Reproduce))
app.command("sweep")(command_of(Sweep))
app.command("ablate")(command_of(Ablate))
app.command("run")(run.command)
app.command("plot")(plot.command)
app.add_typer(export.app, name="export")
app.command("doctor")(doctor.command)
app.command("show")(show.command)
app.command("errors")(errors.command)
app.command("compare")(compare.command)
app.command("rescore")(rescore.command)
app.command("models")(models.command)
app.add_typer(tasks.app, name="tasks")
app.add_typer(suites.app, name="suites")
app.add_typer(data.app, name="data")
app.command("submit")(submit.command)
app.command("validate")(validate.command)
app.add_typer(leaderboard.app, name="leaderboard")
app.command("schema")(schema.command)


def main() -> None:
    """Run the command line. An error the user can mend becomes one sentence on stderr and exit status 1."""
    prepare_streams()
    with plain_streams():
        _run()


def _run() -> None:
    try:
        app()  # exits, and takes a reader that has seen enough for no error
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        print(f"Error: {error}", file=sys.stderr)
        if error.filename is None:  # stdout itself: flushed once more at the end, it would fail again
            sys.stdout = None
        sys.exit(1)
    except LgbenchError as error:
        if isinstance(error, ModelError) and error.user_traceback:
            print(error.user_traceback, file=sys.stderr)
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
