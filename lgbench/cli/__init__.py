"""The commands. Each parses, calls the library and prints.

`lgbench --help` imports none of them, and a command imports what it needs when it runs: its own help loads neither
NumPy nor pydantic nor anything heavier.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated, Any

import typer

from lgbench.cli._group import Group
from lgbench.cli._lazy import LazyCommand
from lgbench.cli._streams import plain_streams, prepare_streams
from lgbench.util.errors import LgbenchError, ModelError
from lgbench.util.stopping import INTERRUPTED, TERMINATED, heed_sigterm, was_terminated
from lgbench.version import __version__

# In the order of `--help`, each with the first paragraph of its own help: a test compares them.
PANELS = {
    "Start": {
        "demo": "Evaluate three small bundled models, one for each arm, and compare them.",
        "doctor": "Check that a model honours the contract, and project how long the suites would take.",
        "models": (
            "List the kinds of models that MODEL can name, with their model options and the package they come from."
        ),
    },
    "Evaluate": {
        "eval": "Run a model through a suite and write a result that anyone can check.",
    },
    "Train and study": {
        "train": "Train a model under one arm of a group and save a checkpoint that `lgbench eval` reads.",
        "finetune": (
            "Finetune a pretrained language model under an arm, and save it so that `lgbench eval hf:...` reads it."
        ),
        "retrain": "Train recorded runs again and say whether they come out the same. Rerun to resume.",
        "reproduce": "Train and evaluate every arm and seed, then say whether transfer was seen. Rerun to resume.",
        "sweep": "Train the arm transfer to every pair of lengths and print the generalization gaps. Rerun to resume.",
        "ablate": (
            "Train the arm transfer with each choice of its auxiliaries, to see which of them help. Rerun to resume."
        ),
        "methods": "List the methods that change how a model is trained, or explain one.",
        "run": "Run your own experiment and print its report. Rerun to resume.",
        "analyze": "Look inside a model, and analyze what goes wrong in its replies.",
    },
    "Results": {
        "show": "Print finished runs: a single run in full, several runs in one line each.",
        "errors": "Print wrong replies, each with its prompt, its target and the first place where it is wrong.",
        "compare": "Compare systems and say whether one is better, or compare the arms of one. Runs are re-scored.",
        "plot": "Draw curves by length, training step or pretraining step, or the generalization gap of a sweep.",
        "rescore": "Regenerate the data, rebuild every reply, and recompute every count of results.",
        "export": "Write checkpoints, the suite and results in other formats.",
    },
    "Leaderboard": {
        "submit": "Check results, copy them to submissions/NAME/, and print the Git steps of a pull request.",
        "validate": (
            "Check submissions and re-score every run. Lists every problem; if there is any, the exit status is 1."
        ),
        "audit": "Check a system's weights on fresh examples, and write the outcome to audits/. For maintainers.",
        "leaderboard": "Derive the leaderboard from the submissions.",
    },
    "Reference": {
        "tasks": "List the tasks, or show examples of one.",
        "suites": "List the suites, show one, or lock their test cells.",
        "data": "Write the benchmark's data.",
        "schema": "Print the JSON Schema of result.json, or of the leaderboard's board.json.",
    },
}
"""The commands with their summaries, by the panel of `--help` that lists them."""
COMMANDS = {name: summary for commands in PANELS.values() for name, summary in commands.items()}


class _Commands(Group):
    """All commands, with the module of each imported when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for panel, commands in PANELS.items():
            for name, summary in commands.items():
                self.add_command(LazyCommand(name, summary, panel))


app = typer.Typer(
    name="lgbench",
    cls=_Commands,
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


def main() -> None:
    """Run the command line. An error the user can mend becomes one sentence on stderr and exit status 1."""
    prepare_streams()
    if "_LGBENCH_COMPLETE" in os.environ:  # a shell asks what may follow; Typer has no public way without its options
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    with plain_streams():
        _run()


def _run() -> None:
    heed_sigterm()
    try:
        app()  # exits, and takes a reader that has seen enough for no error
    except SystemExit as end:
        if end.code == INTERRUPTED and was_terminated():
            sys.exit(TERMINATED)
        raise
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
