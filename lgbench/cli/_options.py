"""Options that several commands take, each written once, and how lists in them are read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lgbench.util.errors import LgbenchError
from lgbench.util.text import key_values

GroupName = Annotated[str, typer.Argument(metavar="GROUP", help="A group, as `lgbench suites show` lists them.")]
ArmName = Annotated[str, typer.Argument(metavar="ARM", help="An arm, as `lgbench suites show` lists them.")]
SuiteName = Annotated[
    str,
    typer.Option(
        "--suite",
        metavar="NAME",
        help="mini-v1, standard-v1 (`lgbench suites`), or your own: FILE.py:ATTRIBUTE (docs/adding-a-task.md).",
    ),
]
DraftName = Annotated[
    str | None,
    typer.Option(
        "--suite",
        metavar="FILE.py:ATTRIBUTE",
        help="The draft suite that the runs or the model belong to.",
        show_default="none",
    ),
]
Preset = Annotated[
    str, typer.Option("--preset", metavar="NAME", help="Hyperparameters to start from: tuned, mini or paper.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change one hyperparameter of docs/settings.md; may be repeated."),
]
MAX_SEED = 2**63 - 1  # as `lgbench.results.schema.Seed` has it, which loads too much for --help
Build = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE.py:BUILD",
        help="A function that takes the vocabulary's size and returns a torch.nn.Module.",
        show_default="the reference model",
    ),
]
Start = Annotated[
    str | None,
    typer.Option(
        "--start", metavar="FOLDER", help="Start from the weights of this checkpoint.", show_default="fresh weights"
    ),
]
StartParts = Annotated[
    list[str] | None,
    typer.Option(
        "--start-parts",
        metavar="GLOB",
        help="Load only parameters with matching names, as in 'blocks.*.attention.*'; may be repeated.",
        show_default="all",
    ),
]
Hooks = Annotated[
    list[str] | None,
    typer.Option(
        "--hook",
        metavar="NAME",
        help="Call a hook during training: keep-points, stop-when, tensorboard, or FILE.py:CLASS; may be repeated.",
    ),
]
HookOptions = Annotated[
    list[str] | None,
    typer.Option("--hook-option", metavar="NAME.KEY=VALUE", help="An option for that hook; may be repeated."),
]
MethodName = Annotated[
    str | None,
    typer.Option(
        "--method",
        metavar="NAME",
        help="Change the training with a method: one of `lgbench methods`, or FILE.py:CLASS.",
        show_default="none",
    ),
]
MethodOptions = Annotated[
    list[str] | None,
    typer.Option("--method-option", metavar="KEY=VALUE", help="An option for that method; may be repeated."),
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda or cuda:N.")]
RunFolder = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FOLDER", help="The run's folder.", show_default="one in runs/"),
]
RunsFolder = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="The folder in which each run gets a folder.",
        show_default="one in runs/",
    ),
]
Seeds = Annotated[int, typer.Option("--seeds", min=1, help="Train seeds 0 to SEEDS - 1.")]
Resume = Annotated[bool, typer.Option("--resume", help="Resume the run in --output.")]
Jobs = Annotated[int, typer.Option("--jobs", min=1, help="Number of runs at a time, each with its share of the cores.")]
Executor = Annotated[
    str,
    typer.Option(
        "--executor", metavar="NAME", help="Where to run: local, ray, ray:ADDRESS, or your own as file.py:attribute."
    ),
]
Cores = Annotated[
    int | None,
    typer.Option("--cores", min=1, metavar="N", help="Cores for each run.", show_default="an equal share; on Ray 1"),
]
_LISTED = "or several joined by commas; may be repeated."
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="NAME", help=f"A group (`lgbench suites show`), {_LISTED}", show_default="all"),
]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", metavar="NAME", help=f"A task (`lgbench tasks`), {_LISTED}", show_default="all"),
]


def length_option(default: str) -> Any:
    """The option `--length`, which says which lengths a command takes without it."""
    return typer.Option("--length", metavar="N", help=f"A length, {_LISTED}", show_default=default)


Lengths = Annotated[list[str] | None, length_option("all")]

Baseline = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        metavar="NAME",
        help="What every other system is compared with: one of DIR, a folder, or a submitted system (reference-rope).",
        show_default="none",
    ),
]
ComparedArm = Annotated[
    str | None,
    typer.Option(
        "--arm",
        metavar="NAME",
        help="The arm in which several systems are compared.",
        show_default="transfer; or open",
    ),
]
AsMarkdown = Annotated[
    bool, typer.Option("--markdown", help="Print the tables as Markdown on stdout, and nothing else.")
]
AllJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, and nothing else.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="Print the rows as CSV on stdout, and nothing else.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the rows as JSON on stdout, and nothing else.")]


def listed(given: list[str] | None) -> list[str]:
    """The names given, each in an option of its own or several in one, joined by commas."""
    return [name.strip() for text in given or [] for name in text.split(",")]


def listed_numbers(given: list[str] | None, *, flag: str, most: int = 999_999) -> tuple[int, ...]:
    """The whole numbers given, each in an option of its own or several in one, joined by commas.

    Raises:
        LgbenchError: One is not a number from 0 to `most`.
    """
    texts = listed(given)
    for text in texts:
        if not (text.isdecimal() and text.isascii() and len(text) < 20 and int(text) <= most):
            raise LgbenchError(f"{flag} {text!r} is not a number from 0 to {most:,}.")
    return tuple(map(int, texts))


def listed_lengths(given: list[str] | None) -> list[int]:
    """The lengths given, each once.

    Raises:
        LgbenchError: One is not a positive number.
    """
    try:
        lengths = [int(text) for text in listed(given)]
    except ValueError:
        lengths = [0]
    if any(length < 1 for length in lengths):
        raise LgbenchError(f"{','.join(given or [])!r} is not a list of lengths. Write them as in 2,4,8.")
    return list(dict.fromkeys(lengths))


def model_options(given: list[str]) -> dict[str, str]:
    """`key=value` texts as a dictionary.

    Raises:
        LgbenchError: One does not read so, or a key is given twice.
    """
    return key_values(given, flag="--model-option")


def one_form(**chosen: bool) -> None:
    """Refuse two of the options that choose the form of what is printed.

    Args:
        chosen: Whether each was given, by its name.

    Raises:
        LgbenchError: Several were.
    """
    if sum(chosen.values()) > 1:
        given = " and ".join(f"--{name}" for name, value in chosen.items() if value)
        raise LgbenchError(f"{given} are forms of the same. Choose one.")


CheckJobs = Annotated[
    int | None, typer.Option(min=1, help="Processes that check systems.", show_default="one for each core")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Show no progress, no hints, and no summary of files written or checks passed."),
]
ModelOptions = Annotated[
    list[str] | None,
    typer.Option("--model-option", metavar="KEY=VALUE", help="An option for the model; may be repeated."),
]
