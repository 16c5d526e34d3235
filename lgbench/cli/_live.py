"""A run of an experiment at work in a terminal: a bar, and a line for each point of its curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lgbench.experiments.monitor import Monitor, Tell

if TYPE_CHECKING:
    from lgbench.training.spec import RunSpec
    from lgbench.training.trainer import Progress


class LiveMonitor(Monitor):
    """Shows what `lgbench train` shows, with the run's name.

    Args:
        name: The run in messages.
        place: Which of how many runs it is, as in "2/12".
    """

    def __init__(self, name: str, *, place: str) -> None:
        super().__init__(name)
        self._place = place
        self._show: Callable[[Progress], None] = lambda progress: None
        self._close: Callable[[], None] = lambda: None

    def training(self, plan: RunSpec, progress: Progress, tell: Tell) -> None:
        """Take in a report of training."""
        from lgbench.cli.train import Display

        if not self._has_moved:
            self._has_moved = True
            display = Display(
                plan, quiet=False, tell=lambda point: tell(plan, point), name=f"[{self._place}] {self.name}, "
            )
            self._show, self._close = display.show, display.close
        self._show(progress)

    def close(self) -> None:
        """Clear the bar."""
        self._close()


def monitor_of(name: str, *, place: str, quiet: bool) -> Monitor:
    """What shows a run of this process: a bar where stderr is a terminal, else lines."""
    from lgbench.cli._console import PlainConsole

    if not quiet and PlainConsole(err=True).is_terminal:
        return LiveMonitor(name, place=place)
    return Monitor(name, quiet=quiet)
