"""A bar for what takes long: in a notebook, and on stderr in a terminal; nowhere else unless it is asked for."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from lgbench.experiments.monitor import Monitor, Tell
from lgbench.util.counting import CountReport

if TYPE_CHECKING:
    from lgbench.evaluation.loop import Progress as Evaluating
    from lgbench.experiments.base import Run
    from lgbench.training.spec import RunSpec
    from lgbench.training.trainer import Progress as Training


def is_shown(progress: bool | None) -> bool:
    """Whether to show a bar: as the caller says, or else in a notebook and in a terminal."""
    if progress is not None:
        return progress
    return _in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process. IPython is not imported for it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


@contextlib.contextmanager
def bar(progress: bool | None, *, total: int | None, unit: str) -> Iterator[Any]:
    """A bar of tqdm, which draws itself as its surroundings can: as a widget where ipywidgets is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ipywidgets is missing: the bar is then of text
        from tqdm.auto import tqdm

    with tqdm(total=total, unit=f" {unit}", disable=not is_shown(progress), leave=False, dynamic_ncols=True) as shown:
        yield shown
        shown.refresh()  # the last moves may have come too fast to be drawn


@contextlib.contextmanager
def count_bar(progress: bool | None, *, unit: str) -> Iterator[CountReport]:
    """What shows how many things are done, and of how many."""
    with bar(progress, total=None, unit=unit) as shown:

        def report(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        yield report


@contextlib.contextmanager
def evaluation_bar(progress: bool | None, *, again: bool) -> Iterator[Callable[[Evaluating], None]]:
    """What shows an evaluation: replies, the cell at work, and how many are right.

    Args:
        progress: As the caller says.
        again: Whether some prompts are asked again in the end.
    """
    if not is_shown(progress):
        yield lambda moved: None
        return
    with bar(progress, total=None, unit="replies") as shown:

        def show(moved: Evaluating) -> None:
            shown.total = moved.total
            at_end = again and moved.done == moved.total
            what = "asking some again, one by one" if at_end else f"{moved.cell.task} {moved.cell.length}"
            shown.set_description(what, refresh=at_end)
            if moved.done:
                shown.set_postfix_str(f"{100 * moved.correct / moved.done:.1f} % right", refresh=False)
            shown.update(moved.done - shown.n)

        yield show


@contextlib.contextmanager
def training_bar(progress: bool | None, *, steps: int) -> Iterator[Callable[[Training], None]]:
    """What shows a training run: steps and the loss."""
    with bar(progress, total=steps, unit="steps") as shown:

        def show(moved: Training) -> None:
            if not moved.news:
                shown.set_postfix_str(f"loss {moved.loss:.3f}", refresh=False)
                shown.update(moved.step - shown.n)

        yield show


class BarMonitor(Monitor):
    """Shows the runs of an experiment on one bar, which counts the steps of all of them.

    Args:
        run: The run.
        shown: The bar.
        before: The steps of the runs before it.
    """

    def __init__(self, run: Run, shown: Any, *, before: int) -> None:
        super().__init__(run.name, quiet=True)
        self._shown, self._before, self._steps = shown, before, run.plan.settings.steps
        shown.set_description(run.name)

    def training(self, plan: RunSpec, progress: Training, tell: Tell) -> None:
        """Take in a report of training."""
        self._shown.set_postfix_str(f"loss {progress.loss:.3f}", refresh=False)
        self._shown.update(self._before + progress.step - self._shown.n)

    def evaluating(self, progress: Evaluating) -> None:
        """Take in a report of the evaluation: the bar counts steps, so it is said beside it."""
        share = 100 * progress.done / progress.total
        self._shown.set_description(f"{self.name}, evaluation {share:.0f} %")

    def close(self) -> None:
        """Count what the run did not have to do as done."""
        self._shown.update(self._before + self._steps - self._shown.n)
