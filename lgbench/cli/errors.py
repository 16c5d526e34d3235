"""`lgbench errors`: wrong replies beside what was wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._options import Lengths, Tasks, listed, listed_lengths
from lgbench.util.errors import LgbenchError, UnknownNameError

if TYPE_CHECKING:
    from lgbench.data.task import Example
    from lgbench.results.reply import Reply
    from lgbench.results.schema import Result

_WIDTH = 70


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of a finished run.")],
    task: Tasks = None,
    length: Lengths = None,
    limit: Annotated[int, typer.Option(min=1, help="Print at most N of them, spread evenly.")] = 10,
) -> None:
    """Print wrong replies of a finished run, each with its prompt, its target and the first place where it is wrong."""
    from lgbench.doctor.diagnosis import mistake_of, wrong_replies
    from lgbench.evaluation.rescoring import rescore_result

    runs = finished_runs([folder])
    if len(runs) > 1:
        raise LgbenchError(f"{str(folder)!r} holds {len(runs)} runs: name one of them, as {str(runs[0])!r}.")
    result = read_result(runs[0])
    tasks, lengths = listed(task), listed_lengths(length)
    _check_evaluated(result, tasks, lengths)
    _, replies = rescore_result(result, runs[0])
    chosen = [
        (example, reply)
        for example, reply in wrong_replies(result, replies)
        if (not tasks or example.task in tasks) and (not lengths or example.length in lengths)
    ]
    count = min(limit, len(chosen))
    for example, reply in (chosen[at * len(chosen) // count] for at in range(count)):
        mistake = mistake_of(reply, example.target)
        typer.echo(example.id + (f": {mistake.name}" if mistake else ""))
        for line in _lines(example, reply):
            typer.echo(f"  {line}")
    typer.echo(f"{count:,} of {len(chosen):,} wrong replies." if chosen else "There is no wrong reply.")


def _check_evaluated(result: Result, tasks: list[str], lengths: list[int]) -> None:
    """Refuse tasks and lengths that the result does not hold, for nothing would be printed.

    Raises:
        LgbenchError: There is one.
    """
    evaluated = list(dict.fromkeys(cell.task for cell in result.cells))
    for name in tasks:
        if name not in evaluated:
            raise UnknownNameError("task of this run", name, evaluated)
    found = sorted({cell.length for cell in result.cells if not tasks or cell.task in tasks})
    for number in lengths:
        if number not in found:
            raise LgbenchError(f"Nothing of length {number} was evaluated, but {', '.join(map(str, found))}.")


def _lines(example: Example, reply: Reply) -> list[str]:
    """A prompt, and below each other target and reply with a mark at the first character that differs.

    Long ones are shown around it. What is not ASCII is escaped, so that every character takes as many columns as it is
    counted for, and none can write to the terminal.
    """
    target, text = example.target, reply.text
    same = 0
    while same < min(len(target), len(text)) and target[same] == text[same]:
        same += 1
    start = max(0, same - _WIDTH // 2)
    dots = "... " if start else ""
    flags = f"  ({', '.join(reply.flags)})" if reply.flags else ""
    mark = " " * (len(dots) + 1 + len(_escaped(target[start:same]))) + "^"
    return [
        f"prompt  {_quoted(example.prompt, 0)}",
        f"target  {dots}{_quoted(target, start)}",
        f"reply   {dots}{_quoted(text, start)}{flags}",
        f"        {mark}",
    ]


def _quoted(text: str, start: int) -> str:
    """Part of a text in quotes."""
    more = " ..." if len(text) > start + _WIDTH else ""
    return f"'{_escaped(text[start : start + _WIDTH])}'{more}"


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
