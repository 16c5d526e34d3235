"""A run at work: cells opened one after another, replies graded and stored as they come, progress told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from lgbench.data.suites import Cell
from lgbench.data.task import Example
from lgbench.evaluation.asking import Answers, answers, examples_ahead, usage
from lgbench.evaluation.folder import RunFolder
from lgbench.evaluation.grading import OpenCell, as_reply
from lgbench.evaluation.planning import Plan
from lgbench.evaluation.stored import RepliesDigest
from lgbench.models.contract import PipelinedPredictor, Predictor, SharedPredictor, StreamingPredictor
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.models.safe_call import ask_each_alone
from lgbench.results.reply import Reply
from lgbench.results.schema import BatchInvariance, CellResult, Usage
from lgbench.util.errors import LgbenchError

INVARIANCE_EXAMPLES = 16
OnCell = Callable[[Cell, Sequence[tuple[Example, Reply]]], None]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where an evaluation stands, told when a cell begins and after every batch. Counts are of examples.

    Attributes:
        cell: The cell at work.
        cell_number: Its number in the run, from 1.
        cell_count: The number of cells in the run.
        cell_done: Replies to this cell so far.
        cell_total: Examples of this cell.
        cell_correct: Right ones among those replies.
        done: Replies in the whole run so far.
        total: Examples in the whole run.
        correct: Right ones among those replies.
        resumed: Replies taken over from earlier pieces of the run.
        usage: Tokens and cost so far, where the model counts them.
    """

    cell: Cell
    cell_number: int
    cell_count: int
    cell_done: int
    cell_total: int
    cell_correct: int
    done: int
    total: int
    correct: int
    resumed: int
    usage: Usage | None = None


class Running:
    """The moving parts of a run: the cells at work, and the replies that the batch-invariance check asks again.

    Args:
        model: The model.
        plan: The cells to evaluate.
        run: The folder that keeps the replies.
        batch_size: Prompts in one call of `predict`; None leaves it to the model.
        on_progress: Called when a cell begins and after every batch.
        on_cell: Called with every cell once all its replies are there, in the plan's order.

    Attributes:
        digest: Of all replies so far, in the plan's order.
    """

    def __init__(
        self,
        model: Model,
        plan: Plan,
        run: RunFolder,
        *,
        batch_size: int | None,
        on_progress: Callable[[Progress], None] | None,
        on_cell: OnCell | None = None,
    ) -> None:
        self.digest = RepliesDigest()
        self._model = model
        self._plan = plan
        self._run = run
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._on_cell = on_cell
        self._open: dict[Cell, OpenCell] = {}  # in the plan's order; the model may reply to the second before the first
        self._results: list[CellResult] = []
        self._done = 0
        self._correct = 0
        self._to_ask_again: dict[Cell, list[tuple[Example, Reply]]] = {}
        self._probed = shortest_and_longest(plan.cells)

    def run_cells(self) -> tuple[CellResult, ...]:
        """Evaluate every cell: take over the replies that exist, ask for the others, then digest and store by index."""
        arriving = answers(self._model, self._opened(), batch_size=self._batch_size)
        try:
            for answered in arriving:
                self._run.append(answered)
                for example, reply in answered.replies:
                    self._open[Cell(example.task, example.length)].add(example, reply)
                self._report()
                self._close_complete()
        except BaseException:
            self._keep_the_rest(arriving)
            raise
        self._close_complete()
        return tuple(self._results)

    def _keep_the_rest(self, arriving: Iterator[Answers]) -> None:
        """Keep the replies under way when a run stops at work on others: they may have been paid for."""
        if isinstance(self._model.predictor, PipelinedPredictor):
            self._model.predictor.wind_down()
            with contextlib.suppress(LgbenchError):  # what stopped the run first is told
                for answered in arriving:
                    self._run.append(answered)

    def _opened(self) -> Iterator[list[Example]]:
        """Open one cell after another, and give its examples that no earlier piece of the run has replies to."""
        for number, examples in enumerate(examples_ahead(self._plan)):
            self._close_complete()
            cell = self._plan.cells[number]
            self._open[cell] = opened = OpenCell(
                number, cell, self._plan.suite.task(cell.task), examples, self._run.earlier(examples)
            )
            if len(self._open) == 1:
                self._report()
            yield opened.missing

    def _close_complete(self) -> None:
        while self._open and (oldest := next(iter(self._open.values()))).complete:
            self._close(oldest)
            del self._open[oldest.cell]
            if self._open:
                self._report()

    def _close(self, done: OpenCell) -> None:
        replied = [(example, done.replies[example.id]) for example in done.examples]
        for example, reply in replied:
            self.digest.add(example.id, reply.text)
            self._run.store(example, reply, right=done.right[example.id])
        if done.cell in self._probed:
            self._to_ask_again[done.cell] = replied[:INVARIANCE_EXAMPLES]
        if self._on_cell is not None:
            self._on_cell(done.cell, replied)
        self._done += len(done.right)
        self._correct += done.correct
        self._results.append(
            CellResult(
                task=done.cell.task,
                task_version=self._plan.suite.task(done.cell.task).version,
                length=done.cell.length,
                sha256=self._plan.cell_digests[done.number],
                counts=done.counts(),
            )
        )

    def _report(self) -> None:
        """Tell of the oldest cell at work, and of the run."""
        if self._on_progress is None:
            return
        oldest = next(iter(self._open.values()))
        self._on_progress(
            Progress(
                cell=oldest.cell,
                cell_number=oldest.number + 1,
                cell_count=len(self._plan.cells),
                cell_done=len(oldest.right),
                cell_total=len(oldest.examples),
                cell_correct=oldest.correct,
                done=self._done + sum(len(each.right) for each in self._open.values()),
                total=len(oldest.examples) * len(self._plan.cells),
                correct=self._correct + sum(each.correct for each in self._open.values()),
                resumed=self._run.resumed,
                usage=usage(self._model, self._run.spent.tokens),
            )
        )

    def check_batch_invariance(self) -> BatchInvariance | None:
        """Ask the first 16 examples of each task's shortest and longest cell again, one by one."""
        predictor = self._model.predictor
        if not asks_again(predictor):
            return None
        checked = changed = 0
        for cell, replies in self._to_ask_again.items():
            again = ask_each_alone(predictor, [example.prompt for example, _ in replies], cell.task)
            checked += len(replies)
            changed += sum(as_reply(new).text != old.text for new, (_, old) in zip(again, replies, strict=True))
        return BatchInvariance(checked=checked, changed=changed)


def asks_again(predictor: Predictor | RecordedReplies) -> TypeGuard[Predictor]:
    """Whether some prompts are asked again one by one, as batches could have changed their replies."""
    if isinstance(predictor, StreamingPredictor | SharedPredictor):
        return predictor.one_by_one
    return not isinstance(predictor, RecordedReplies)


def shortest_and_longest(cells: Sequence[Cell]) -> frozenset[Cell]:
    """The cells whose first examples are asked again: each task's shortest and longest."""
    lengths: dict[str, list[int]] = {}
    for cell in cells:
        lengths.setdefault(cell.task, []).append(cell.length)
    return frozenset(Cell(task, pick(each)) for task, each in lengths.items() for pick in (min, max))
