"""How a running evaluation is shown: a live display in a terminal, plain lines elsewhere. Always on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from rich.console import Console, RenderableType
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from lgbench.cli._console import PlainConsole
from lgbench.evaluation.loop import Progress

SECONDS_BETWEEN_LINES = 10.0
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
def counting(what: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """What to tell how many things are done, and of how many: a bar in a terminal; a line if it takes long elsewhere.

    Args:
        what: What is being done, as in "re-scoring runs".
        quiet: Show nothing.
    """
    console = PlainConsole(err=True)
    if quiet:
        yield lambda done, total: None
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed}/{task.total}"),
        )
        with Bar(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
            row = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(row, completed=done, total=total)
    else:
        yield _CountLines(what)


class _CountLines:
    """A line every ten seconds."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._last >= SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            print(f"{self._what}: {done}/{total}", file=sys.stderr, flush=True)


class _Rate:
    """Replies per second in this process, not counting those taken over from an earlier one."""

    def __init__(self) -> None:
        self._begun = time.monotonic()

    def __call__(self, progress: Progress) -> float:
        return (progress.done - progress.resumed) / max(time.monotonic() - self._begun, 1e-9)


class _Bar(Bar):
    """A bar with a line below it, for what would not fit beside it in a narrow terminal."""

    below = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield from super().get_renderables()
        if self.below:
            yield Text(self.below)


def _bar(console: Console) -> _Bar:
    return _Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:.0f} %"),
        TextColumn("{task.fields[rate]:,.0f}/s"),
        TextColumn("{task.fields[accuracy]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


class _Live:
    def __init__(self, bar: _Bar, *, again: bool) -> None:
        self._bar = bar
        self._again = again
        self._rate = _Rate()
        self._row = bar.add_task("", rate=0.0, accuracy="")

    def show(self, progress: Progress) -> None:
        accuracy = f"{100 * progress.correct / progress.done:.1f} % right" if progress.done else ""
        if progress.usage is not None:
            self._bar.below = str(progress.usage)
        self._bar.update(
            self._row,
            description=_AGAIN
            if progress.done == progress.total and self._again
            else f"{progress.cell.task} {progress.cell.length} ({progress.cell_number}/{progress.cell_count})",
            completed=progress.done,
            total=progress.total,
            rate=self._rate(progress),
            accuracy=accuracy,
        )


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
        left = f", {(progress.total - progress.done) / rate:,.0f} s left" if rate else ""
        spent = "" if progress.usage is None else f"; {progress.usage}"
        of_cell = "" if done else f" (of {progress.cell_total})"
        print(
            f"[{progress.cell_number}/{progress.cell_count}] {progress.cell}: "
            f"{progress.cell_correct}/{progress.cell_done} right{of_cell}, {rate:,.0f} replies/s{left}{spent}",
            file=sys.stderr,
            flush=True,
        )
        if progress.done == progress.total and self._again:
            print("Asking some examples again, one by one ...", file=sys.stderr, flush=True)
