"""How a running evaluation is shown: a live display in a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lgbench.cli._console import PlainConsole
from lgbench.evaluation.loop import Progress
from lgbench.util.text import duration

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BEFORE_ESTIMATES = 5.0
"""Until then a rate says little of how long the rest takes."""
_AGAIN = "asking some again, one by one"


@contextlib.contextmanager
def reporter(*, quiet: bool, again: bool = True) -> Iterator[Callable[[Progress], None] | None]:
    """What to tell the progress to; None if nothing is to be shown.

    Args:
        quiet: Show nothing.
        again: Whether some prompts are asked again in the end.
    """
    console = PlainConsole(err=True)
    if quiet:
        yield None
    elif console.is_terminal:
        with _bar(console) as bar:
            yield _Live(bar, again=again).show
    else:
        yield _Lines(again=again).show


@contextlib.contextmanager
def live(*, below: str) -> Iterator[Callable[[Progress], None]]:
    """What shows an evaluation as one of several things in a terminal.

    Args:
        below: A line below the bar, while the model does not report what it uses.
    """
    with _bar(PlainConsole(err=True)) as bar:
        bar.below = below
        yield _Live(bar, again=True).show


class Count(Protocol):
    """Takes how many things are done, and of how many: None where that is not known."""

    def __call__(self, done: int, total: int | None, now: str = ...) -> None:
        """Show it, and what is being done now."""


@contextlib.contextmanager
def counting(what: str, *, quiet: bool) -> Iterator[Count]:
    """What to tell how many things are done, and of how many: a bar in a terminal; a line if it takes long elsewhere.

    Before the first report, and where the total is unknown, the bar only moves.

    Args:
        what: What is being done, as in "re-scoring runs", where nothing else is told.
        quiet: Show nothing.
    """
    console = PlainConsole(err=True)
    if quiet:
        yield lambda done, total, now=what: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), TextColumn("{task.fields[share]}"))
        with Bar(*columns, TimeLeft(), console=console, transient=True) as bar:
            row = bar.add_task(what, total=None, share="")

            def show(done: int, total: int | None, now: str = what) -> None:
                bar.update(row, completed=done, description=now, share="" if total is None else f"{done:,}/{total:,}")
                _set_total(bar, total)

            yield show
    else:
        yield _CountLines(what)


class _CountLines:
    """A line every ten seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int, total: int | None, now: str = "") -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            share = " ..." if total is None else f": {done:,}/{total:,}"
            print(f"{now or self._what}{share}", file=sys.stderr, flush=True)


def _set_total(bar: Bar, total: int | None) -> None:
    """Have the only row of a bar count to a total. `Bar.update` takes None for no change; here the bar only moves."""
    (task,) = bar.tasks
    task.total = total


class TimeLeft(TimeRemainingColumn):
    """How long the rest will take: nothing before that can be said, and nothing once all is done."""

    def render(self, task: Task) -> Text:
        """The time left, as a clock."""
        is_known = task.total is not None and task.completed < task.total and task.completed > 0
        if not is_known or (task.elapsed or 0.0) < SECONDS_BEFORE_ESTIMATES:
            return Text("")
        return super().render(task)


class _Rate:
    """Replies per second in this process, not counting those taken over from an earlier one."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    @property
    def is_settled(self) -> bool:
        """Whether it has been counted long enough to say how long the rest will take."""
        return time.monotonic() - self._begun >= SECONDS_BEFORE_ESTIMATES

    def __call__(self, progress: Progress) -> float:
        return (progress.done - progress.resumed) / max(time.monotonic() - self._begun, 1e-9)


class BarWithLine(Bar):
    """A bar with a line below it, for what would not fit beside it in a narrow terminal."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below)


def _bar(console: Console) -> BarWithLine:
    return BarWithLine(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[share]}"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TextColumn("{task.fields[accuracy]}"),
        TimeLeft(),
        console=console,
        transient=True,
    )


class _Live:
    def __init__(self, bar: BarWithLine, *, again: bool) -> None:
        self._bar = bar
        self._again = again
        self._rate = _Rate()
        self._row = bar.add_task("", total=None, rate=0.0, accuracy="", share="")

    def show(self, progress: Progress) -> None:
        accuracy = f"{100 * progress.correct / progress.done:.1f} % right" if progress.done else ""
        if progress.usage is not None:
            self._bar.below = str(progress.usage)
        is_again = progress.done == progress.total and self._again
        where = f"{progress.cell.task} {progress.cell.length} ({progress.cell_number}/{progress.cell_count})"
        self._bar.update(
            self._row,
            description=_AGAIN if is_again else where,
            completed=progress.done,
            share="" if is_again else f"{100 * progress.done / progress.total:.0f} %",
            rate=self._rate(progress),
            accuracy=accuracy,
        )
        _set_total(self._bar, None if is_again else progress.total)  # how long asking again takes is not known


class _Lines:
    """A line when a cell is done, and every ten seconds while one takes longer."""

    def __init__(self, *, again: bool) -> None:
        self._again = again
        self._rate = _Rate()
        self._last = time.monotonic()

    def show(self, progress: Progress) -> None:
        done = progress.cell_done == progress.cell_total
        if not done and time.monotonic() - self._last < SECONDS_BETWEEN_LINES:
            return
        self._last = time.monotonic()
        rate = self._rate(progress)
        seconds = (progress.total - progress.done) / rate if rate and self._rate.is_settled else 0.0
        left = f", {duration(seconds)} left" if seconds else ""
        spent = "" if progress.usage is None else f"; {progress.usage}"
        of_cell = "" if done else f" (of {progress.cell_total})"
        count = f"{progress.cell_correct}/{progress.cell_done} right{of_cell}"
        if progress.cell_done == 0:  # those of several processes are counted when the cell is whole
            count = f"{progress.cell_total} prompts"
        print(
            f"[{progress.cell_number}/{progress.cell_count}] {progress.cell}: "
            f"{count}, {rate:,.0f} replies/s{left}{spent}",
            file=sys.stderr,
            flush=True,
        )
        if progress.done == progress.total and self._again:
            print("Asking some examples again, one by one ...", file=sys.stderr, flush=True)
