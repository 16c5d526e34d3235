"""What goes wrong in finished runs, from their stored replies alone: no model is needed.

Every reply is read once. Counts are integers, so they can be added over lengths, seeds and runs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from lgbench.analysis.kinds import (
    ENDINGS,
    KINDS,
    WITH_CARRIES,
    columns,
    ending_of,
    first_error,
    reads_in_order,
    symbols,
)
from lgbench.analysis.records import AnalysisRecord, Strict
from lgbench.data.cells import evaluated
from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.data.task import Example
from lgbench.evaluation.rescoring import cell_examples, rescore_result
from lgbench.results.reply import Reply
from lgbench.results.schema import Count, Draft, Name, Result, Seed, Sha256, Text
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.errors import LgbenchError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

Positive = Annotated[int, Field(ge=1)]


class Chain(Strict):
    """Digits of sums and differences, by the length of the carry chain that reaches them.

    Attributes:
        length: 0 without an incoming carry, 1 if the position before makes it, and so on.
        reached: Number of these digits up to which the reply is right.
        wrong: Number of wrong digits among them.
    """

    length: Count
    reached: Positive
    wrong: Count


class TargetLength(Strict):
    """Replies by the length of their target.

    Attributes:
        symbols: Characters of the target, or nodes.
        total: Replies.
        correct: Right ones.
    """

    symbols: Positive
    total: Positive
    correct: Count


class CellErrors(Strict):
    """What goes wrong in one cell of one run.

    Attributes:
        task: The task.
        length: The length.
        trained_length: The greatest length of the task in training; null for arm `open` and where the arm lacks it.
        total: Replies.
        correct: Right ones.
        endings: Wrong ones by how they end.
        kinds: Wrong ones by what their first wrong symbol is.
        off_by_one: Wrong ones whose first wrong symbol is a digit next to the right one.
        behind_repeat: Wrong ones whose first wrong symbol follows a symbol that occurs more than once in the text
            that the task reads; null where it reads none.
        first_wrong: Wrong ones by the position of the first wrong symbol.
        targets: All by the length of their target.
        chains: Digits by carry chain; empty for tasks without carries.
    """

    task: Name
    length: Positive
    trained_length: Positive | None
    total: Positive
    correct: Count
    endings: dict[Name, Positive]
    kinds: dict[Name, Positive]
    off_by_one: Count
    behind_repeat: Count | None
    first_wrong: dict[str, Positive]
    targets: tuple[TargetLength, ...]
    chains: tuple[Chain, ...]


class RunErrors(Strict):
    """What goes wrong in one run.

    Attributes:
        run: Its folder.
        model: What was evaluated.
        group: The group that it was trained on; null for arm `open`.
        arm: How it was trained.
        seed: The training seed.
        replies_sha256: The digest of all its replies, which the counts follow from.
        cells: By task order, then length.
    """

    run: Text
    model: Text
    group: Name | None
    arm: Name
    seed: Seed | None
    replies_sha256: Sha256
    cells: tuple[CellErrors, ...]


class ErrorsRecord(AnalysisRecord):
    """The content of `errors.json`: what goes wrong in runs of one suite."""

    analysis: Literal["errors"] = "errors"
    runs: tuple[RunErrors, ...] = Field(min_length=1)

    def frame(self) -> pd.DataFrame:
        """A row for each cell of each run, with a column for each ending and each kind."""
        return _frame(self, _cell_rows)

    def chains(self) -> pd.DataFrame:
        """A row for each carry chain of each cell of each run."""
        return _frame(self, lambda cell: [{"chain": each.length, **_counts(each)} for each in cell.chains])

    def targets(self) -> pd.DataFrame:
        """A row for each length of targets in each cell of each run."""
        return _frame(self, lambda cell: [{"symbols": each.symbols, **_counts(each)} for each in cell.targets])


def _counts(each: Strict) -> dict[str, int]:
    return {name: value for name, value in each.model_dump().items() if name not in ("length", "symbols")}


def _cell_rows(cell: CellErrors) -> list[dict[str, Any]]:
    row: dict[str, Any] = {"correct": cell.correct, "total": cell.total}
    row |= {name: cell.endings.get(name, 0) for name in ENDINGS}
    row |= {name: cell.kinds.get(name, 0) for name in KINDS}
    return [row | {"off_by_one_digit": cell.off_by_one, "behind_repeat": cell.behind_repeat}]


def _frame(record: ErrorsRecord, rows: Any) -> pd.DataFrame:
    import pandas as pd

    suite = load_suite(record.suite, record.draft)
    return pd.DataFrame(
        {
            "run": run.run,
            "group": run.group,
            "arm": run.arm,
            "seed": run.seed,
            "task": cell.task,
            "length": cell.length,
            "zone": suite.zone_group(cell.task, run.group).zone(cell.length),
            **row,
        }
        for run in record.runs
        for cell in run.cells
        for row in rows(cell)
    )


class Asked(NamedTuple):
    """The cells to analyze; an empty field chooses all."""

    tasks: Sequence[str] = ()
    lengths: Sequence[int] = ()

    def takes(self, cell: Cell) -> bool:
        """Whether a cell is one of them."""
        return (not self.tasks or cell.task in self.tasks) and (not self.lengths or cell.length in self.lengths)


def analyze_errors(
    runs: Mapping[Path, Result],
    *,
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
    report: CountReport = no_report,
) -> ErrorsRecord:
    """Analyze what goes wrong in finished runs. Each is re-scored first.

    Args:
        runs: Results of one suite by the folders that they were read from, at least one.
        tasks: Names of tasks; all if empty.
        lengths: Lengths; all if empty.
        report: Called with the numbers of re-scored runs and of all runs.

    Raises:
        LgbenchError: They are of several suites, hold none of these cells, or their counts do not follow from their
            replies.
    """
    suites = {(result.suite, result.draft) for result in runs.values()}
    if len(suites) != 1:
        names = ", ".join(sorted({name for name, _ in suites}))
        raise LgbenchError(f"Errors are analyzed in runs of one suite, and these are of {names}. Name fewer folders.")
    asked = Asked(tasks, lengths)
    check_evaluated(list(runs.values()), asked)
    name, draft = suites.pop()
    found = [run_errors(result, folder, asked) for folder, result in counted(list(runs.items()), report)]
    return ErrorsRecord(suite=name, draft=draft and Draft(**draft.model_dump()), runs=tuple(filter(_has_cells, found)))


def _has_cells(run: RunErrors) -> bool:
    return bool(run.cells)


def check_evaluated(results: Sequence[Result], asked: Asked) -> None:
    """Refuse tasks and lengths that no result contains.

    Raises:
        LgbenchError: There is one.
    """
    cells = [Cell(cell.task, cell.length) for result in results for cell in result.cells]
    for task in asked.tasks:
        if task not in (known := list(dict.fromkeys(cell.task for cell in cells))):
            raise UnknownNameError("task of these runs", task, known)
    found = sorted({cell.length for cell in cells if not asked.tasks or cell.task in asked.tasks})
    for length in asked.lengths:
        if length not in found:
            raise LgbenchError(f"Nothing of length {length} was evaluated, but {', '.join(map(str, found))}.")


def run_errors(result: Result, folder: Path, asked: Asked) -> RunErrors:
    """What goes wrong in one run.

    Raises:
        LgbenchError: Its counts do not follow from its replies.
    """
    rescored, replies = rescore_result(result, folder)
    suite = load_suite(result.suite, result.draft)
    cells = [Cell(cell.task, cell.length) for cell in rescored.result.cells]
    return RunErrors(
        run=str(folder),
        model=result.system.model,
        group=result.group,
        arm=result.arm,
        seed=result.seed,
        replies_sha256=result.replies_sha256,
        cells=tuple(_cell_errors(suite, cell, result, replies) for cell in cells if asked.takes(cell)),
    )


def _trained_length(suite: Suite, result: Result, task: str) -> int | None:
    if result.group is None or result.arm == OPEN_ARM:
        return None
    parts = suite.group(result.group).mixture(result.arm).parts
    return max((part.max_length for part in parts if part.task == task), default=None)


def _cell_errors(suite: Suite, cell: Cell, result: Result, replies: Mapping[str, Reply]) -> CellErrors:
    task = suite.task(cell.task)
    asked = evaluated(suite, cell, cell_examples(suite, cell), result.limit)
    pairs = [(each, replies.get(each.id, Reply(each.target)).text) for each in asked]
    wrong = [(each, reply) for each, reply in pairs if reply != each.target]
    firsts = [first_error(task, each.prompt, each.target, reply) for each, reply in wrong]
    return CellErrors(
        task=cell.task,
        length=cell.length,
        trained_length=_trained_length(suite, result, cell.task),
        total=len(pairs),
        correct=len(pairs) - len(wrong),
        endings=_ordered(ENDINGS, (ending_of(reply, each.target) for each, reply in wrong)),
        kinds=_ordered(KINDS, (first.kind for first in firsts)),
        off_by_one=sum(first.off_by_one for first in firsts),
        behind_repeat=sum(bool(first.behind_repeat) for first in firsts) if reads_in_order(cell.task) else None,
        first_wrong={str(at): count for at, count in sorted(Counter(each.position for each in firsts).items())},
        targets=_by_target_length(pairs),
        chains=_chains(pairs) if cell.task in WITH_CARRIES else (),
    )


def _ordered(order: Iterable[str], found: Iterable[str]) -> dict[str, int]:
    counts = Counter(found)
    return {name: counts[name] for name in order if counts[name]}


def _by_target_length(pairs: Sequence[tuple[Example, str]]) -> tuple[TargetLength, ...]:
    right: defaultdict[int, list[bool]] = defaultdict(list)
    for each, reply in pairs:
        right[len(symbols(each.target))].append(reply == each.target)
    return tuple(
        TargetLength(symbols=length, total=len(flags), correct=sum(flags)) for length, flags in sorted(right.items())
    )


def _chains(pairs: Iterable[tuple[Example, str]]) -> tuple[Chain, ...]:
    reached, wrong = Counter[int](), Counter[int]()
    for each, reply in pairs:
        for chain, right in _digits(each, reply):
            reached[chain] += 1
            wrong[chain] += not right
    return tuple(Chain(length=chain, reached=reached[chain], wrong=wrong[chain]) for chain in sorted(reached))


def _digits(example: Example, reply: str) -> Iterator[tuple[int, bool]]:
    """The carry chain of each digit of a reply up to its first wrong one, and whether the digit is right."""
    for column, wanted, got in zip(columns(example.prompt), example.target, reply, strict=False):
        yield column.chain, wanted == got
        if wanted != got:
            return
