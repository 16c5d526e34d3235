"""A run of an experiment at work in a terminal: a bar for its training and one for its evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from lgbench.experiments.monitor import Monitor, Tell

if TYPE_CHECKING:
    from lgbench.evaluation.loop import Progress as Evaluating
    from lgbench.training.spec import RunSpec
    from lgbench.training.trainer import Progress

_LEAST_SECONDS = 2.0
"""A run that ends sooner was finished before: it says nothing of how long others take."""


class Whole:
    """How far all runs of an experiment are, and how long the rest takes about.

    Args:
        total: How many runs there are.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self._worked = 0
        self._begun = self._last = time.monotonic()

    def count(self) -> None:
        """Take in that a run has ended."""
        now = time.monotonic()
        if now - self._last < _LEAST_SECONDS and not self._worked:
            self._begun = now  # what was there already took no time
        else:
            self._worked += 1
        self._last = now
        self.done += 1

    @property
    def left(self) -> str:
        """How long the rest takes, in words; empty where that is not known yet."""
        from lgbench.util.text import duration

        if not self._worked or self.done == self.total:
            return ""
        return f"about {duration((self._last - self._begun) / self._worked * (self.total - self.done))} left in all"

    def line(self, name: str) -> str:
        """Which run is at work and how long the rest takes: for the line below a bar."""
        return "; ".join(filter(None, (f"[{self.done + 1}/{self.total}] {name}", self.left)))


class LiveMonitor(Monitor):
    """Shows what `lgbench train` and `lgbench eval` show, with the run's name.

    Args:
        name: The run in messages.
        whole: How far all runs are.
    """

    def __init__(self, name: str, *, whole: Whole) -> None:
        super().__init__(name)
        self._whole = whole
        self._training: Callable[[Progress], None] | None = None
        self._evaluating: Callable[[Evaluating], None] | None = None
        self._shown = ExitStack()

    def training(self, plan: RunSpec, progress: Progress, tell: Tell) -> None:
        """Take in a report of training."""
        from lgbench.cli.train import Display

        if self._training is None:
            name = f"[{self._whole.done + 1}/{self._whole.total}] {self.name}, "
            below = self._whole.line(self.name)
            display = Display(plan, quiet=False, tell=lambda point: tell(plan, point), name=name, below=below)
            self._shown.callback(display.close)
            self._training = display.show
        self._training(progress)

    def evaluating(self, progress: Evaluating) -> None:
        """Take in a report of the evaluation."""
        from lgbench.cli._progress import live

        if self._evaluating is None:
            self._shown.close()  # one bar at a time
            self._evaluating = self._shown.enter_context(live(below=self._whole.line(self.name)))
        self._evaluating(progress)

    def close(self) -> None:
        """Clear the bar."""
        self._shown.close()


def monitor_of(name: str, *, whole: Whole, quiet: bool) -> Monitor:
    """What shows a run of this process: a bar where stderr is a terminal, else lines."""
    from lgbench.cli._console import PlainConsole

    if not quiet and PlainConsole(err=True).is_terminal:
        return LiveMonitor(name, whole=whole)
    return Monitor(name, quiet=quiet)
