"""`lgbench errors`: wrong replies beside what was wanted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._opening import open_named
from lgbench.cli._options import AsCsv, AsJson, DraftName, Lengths, Quiet, Tasks, listed, listed_lengths, one_form
from lgbench.cli._streams import print_csv
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.doctor.errors import Page, WrongReply
    from lgbench.results.schema import Result

_WIDTH = 70
_BESIDE = 20
"""Columns of a line beside a text that is cut on both sides."""
_PAGE_SIZE = 10


def command(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders to search for finished runs.")],
    task: Tasks = None,
    length: Lengths = None,
    mistake: Annotated[
        list[str] | None,
        typer.Option(
            help="A kind of mistake (docs/results.md), or several joined by commas; may be repeated.",
            show_default="all",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1, help="At most N replies on a page.", show_default=f"{_PAGE_SIZE}; all with --csv and --json"
        ),
    ] = None,
    page: Annotated[int, typer.Option(min=1, metavar="N", help="Print page N.")] = 1,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Print wrong replies, each with its prompt, its target and the first place where it is wrong.

    Each page is an even sample of all matching replies, and all pages together show each reply once.
    """
    from lgbench.cli._progress import counting
    from lgbench.doctor import errors
    from lgbench.util.text import json_text

    one_form(csv=as_csv, json=as_json)
    wanted = errors.Filter.of(tasks=listed(task), lengths=listed_lengths(length), mistakes=listed(mistake))
    open_named(suite)
    runs, problems = _readable(finished_runs(folders))
    with counting("re-scoring runs", quiet=quiet or as_json) as report:
        found, unusable = errors.wrong_replies_in(runs, wanted, report) if runs else ([], [])
    size = limit or (max(len(found), 1) if as_csv or as_json else _PAGE_SIZE)
    shown = errors.page(found, number=page, size=size) if found or page > 1 else errors.Page(1, 1, [])
    if as_json:
        typer.echo(json_text([each.row() for each in shown.shown]))
    elif as_csv:
        if shown.shown:
            print_csv(errors.error_frame(shown.shown))
    else:
        _print(shown, found, context, several=len(runs) > 1, quiet=quiet)
    if problems + unusable:
        raise LgbenchError("\n".join(problems + unusable))


def _readable(folders: list[Path]) -> tuple[dict[Path, Result], list[str]]:
    """The results that can be read, by folder, and a sentence for each other one."""
    runs, problems = {}, []
    for folder in folders:
        try:
            runs[folder] = read_result(folder)
        except LgbenchError as error:
            problems.append(str(error))
    return runs, problems


def _print(page: Page, found: list[WrongReply], context: typer.Context, *, several: bool, quiet: bool) -> None:
    from lgbench.cli._console import PlainConsole
    from lgbench.doctor.errors import kinds
    from lgbench.util.text import LONGEST_PATH, plain

    console = PlainConsole()
    width = max(console.width - _BESIDE, _BESIDE) if console.is_terminal else _WIDTH
    for number, each in enumerate(page.shown):
        if several and (number == 0 or page.shown[number - 1].run != each.run):
            typer.echo(f"{plain(each.run, limit=LONGEST_PATH)}:")
        typer.echo(f"{each.example.id}: {each.mistake}")
        for line in _lines(each, width):
            typer.echo(f"  {line}")
    if not found:
        typer.echo("There is no wrong reply" + (" of this kind." if _is_narrowed(context) else "."))
        return
    pages = f", page {page.number:,} of {page.pages:,}" if page.pages > 1 else ""
    typer.echo(f"{len(page.shown):,} of {len(found):,} wrong replies{pages}.")
    counts = kinds(found)
    if len(counts) > 1:
        typer.echo(f"By kind: {', '.join(f'{name} {count:,}' for name, count in counts.items())}.")
    if page.number < page.pages and not quiet:
        typer.echo(f"The next page: {_next_page(context, page.number + 1)}")


def _is_narrowed(context: typer.Context) -> bool:
    return any(context.params[name] for name in ("task", "length", "mistake"))


def _next_page(context: typer.Context, number: int) -> str:
    """The command line of another page."""
    given = context.params
    words = ["lgbench", "errors", *map(str, given["folders"])]
    for name in ("task", "length", "mistake"):
        words += [f"--{name}={','.join(given[name])}"] if given[name] else []
    words += [f"--limit={given['limit']}"] if given["limit"] else []
    words += [f"--suite={given['suite']}"] if given["suite"] else []
    return shlex.join([*words, f"--page={number}"])


def _lines(wrong: WrongReply, width: int) -> list[str]:
    """A prompt, and below each other target and reply with a mark at the first character that differs.

    Long ones are shown around it. What is not ASCII is escaped, so that every character takes as many columns as it is
    counted for, and none can write to the terminal.
    """
    target, reply, same = wrong.example.target, wrong.reply, wrong.first_wrong
    start = max(0, same - width // 2)
    dots = "... " if start else ""
    flags = f"  ({', '.join(reply.flags)})" if reply.flags else ""
    mark = " " * (len(dots) + 1 + len(_escaped(target[start:same]))) + "^"
    return [
        f"prompt  {_quoted(wrong.example.prompt, 0, width)}",
        f"target  {dots}{_quoted(target, start, width)}",
        f"reply   {dots}{_quoted(reply.text, start, width)}{flags}",
        f"        {mark}",
    ]


def _quoted(text: str, start: int, width: int) -> str:
    """Part of a text in quotes."""
    more = " ..." if len(text) > start + width else ""
    return f"'{_escaped(text[start : start + width])}'{more}"


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")
