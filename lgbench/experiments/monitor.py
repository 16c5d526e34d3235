"""What a run at work reports, shown as lines on stderr. A command in a terminal shows more: `lgbench.cli._live`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lgbench.util.text import duration, plain_lines

if TYPE_CHECKING:
    from lgbench.evaluation.loop import Progress as Evaluating
    from lgbench.training.record import CurvePoint
    from lgbench.training.spec import RunSpec
    from lgbench.training.trainer import Progress

SECONDS_BETWEEN_LINES = 30.0
Tell = Callable[["RunSpec", "CurvePoint"], str]
"""How right the model of a plan is at a point of its curve, in words."""


class Monitor:
    """Takes in what a run reports: here a line for each point of its curve, and one as soon as it moves.

    Args:
        name: The run in messages.
        quiet: Show nothing.
    """

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self.name, self.quiet = name, quiet
        self._has_moved = False
        self._last_line: float | None = None

    def say(self, sentence: str) -> None:
        """Show a sentence about the run."""
        if not self.quiet:
            self.print(f"{self.name}: {sentence}")

    def training(self, plan: RunSpec, progress: Progress, tell: Tell) -> None:
        """Take in a report of training.

        Args:
            plan: What is trained.
            progress: The report.
            tell: For the line of a point.
        """
        settings = plan.settings
        if progress.news:
            self.say(f"step {progress.step}/{settings.steps}: {progress.news}")
            return
        if self.quiet or (progress.point is None and self._has_moved):
            return
        self._has_moved = True
        left = duration((settings.steps - progress.step) * settings.batch / progress.examples_per_second)
        news = f"about {left} to go" if progress.point is None else tell(plan, progress.point)
        self.print(f"{self.name}, step {progress.step}/{settings.steps}: {progress.pace}; {news}")

    def evaluating(self, progress: Evaluating) -> None:
        """Take in a report of the evaluation: here a line when it begins, and one every half minute."""
        now = time.monotonic()
        if self.quiet or (self._last_line is not None and now - self._last_line < SECONDS_BETWEEN_LINES):
            return
        if self._last_line is not None:
            done = f"{progress.done:,} of {progress.total:,} replies"
            self.say(f"evaluating, {done}, {100 * progress.correct / max(progress.done, 1):.1f} % right")
        else:
            self.say(f"evaluating {progress.total:,} prompts ...")
        self._last_line = now

    def print(self, line: str) -> None:
        """Print a line."""
        print(plain_lines(line), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Called when the run has ended."""
