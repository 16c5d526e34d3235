"""All checks of a model, one after the other."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example
from lgbench.doctor.contract import honours_the_contract
from lgbench.doctor.diagnosis import diagnose, mistake_of
from lgbench.doctor.findings import TIME_LIMIT, Clock, Finding, State
from lgbench.doctor.speed import measure_speed
from lgbench.evaluation.asking import tokens_of, usage
from lgbench.evaluation.planning import make_plan
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.models.safe_call import prepare
from lgbench.results.reply import Reply
from lgbench.util.errors import LgbenchError, ModelError

_FEW_RECORDED = 16


def examine(model: Model, *, suite: Suite, tasks: Sequence[str] = (), seconds: float = TIME_LIMIT) -> Iterator[Finding]:
    """Check a loaded model, a finding at a time. Stops early where going on would make no sense.

    Args:
        model: The model.
        suite: The suite whose prompts are asked.
        tasks: Those to ask; empty for all of the suite.
        seconds: A check that would probably end later than so many seconds from now is not tried, and says so.

    Raises:
        UnknownNameError: The suite has no such task.
    """
    plan = make_plan(suite, tasks=tasks)
    names = list(dict.fromkeys(cell.task for cell in plan.cells))
    if isinstance(model.predictor, RecordedReplies):
        try:
            model.predictor.check_ids(suite)
        except LgbenchError as error:
            yield Finding("known ids", "problem", str(error), "Leave these lines out, or name their suite.")
        yield _coverage(model.predictor, suite, names)
        yield from _diagnosed(_recorded(model.predictor, suite, names))
        return
    clock = Clock(seconds)
    replied: list[tuple[Example, Reply]] = []
    try:
        prepare(model.predictor, suite, names)
        yield Finding("accepts the tasks", "ok", f"{len(names)} of {suite.name}")
        yield from honours_the_contract(model.predictor, suite, names, clock, replied)
        yield from measure_speed(model.predictor, suite, names, clock)
    except LgbenchError as error:
        shown = error.user_traceback if isinstance(error, ModelError) else ""
        yield Finding("works", "problem", str(error), shown.strip() or "Mend this and run the doctor again.")
    if (used := usage(model, tokens_of(model))) is not None:
        yield Finding("used by the doctor", "ok", str(used))
    yield from _diagnosed(replied)


def _diagnosed(replied: Iterable[tuple[Example, Reply]]) -> Iterator[Finding]:
    """What is systematically wrong with replies to short prompts, with an example of each mistake."""
    examples = list(replied)
    for diagnosis in diagnose(examples):
        example, reply = next(each for each in examples if mistake_of(each[1], each[0].target) is diagnosis.mistake)
        shown = f"{example.prompt!r} got {reply.text[:80]!r}, wanted {example.target!r}"
        advice = "Only a reply that equals the target is right; nothing is stripped."
        yield Finding("diagnosis", "warning", f"{diagnosis}: {shown}", advice)


def _recorded(replies: RecordedReplies, suite: Suite, tasks: Sequence[str]) -> Iterator[tuple[Example, Reply]]:
    """A few examples of each task's shortest length that have recorded replies, with them."""
    for task in tasks:
        examples = checked_cell(suite, Cell(task, suite.grid(task)[0]))[:_FEW_RECORDED]
        with contextlib.suppress(LgbenchError):  # what is missing was reported
            yield from zip(examples, replies.lookup([example.id for example in examples]), strict=True)


def _coverage(replies: RecordedReplies, suite: Suite, tasks: Sequence[str]) -> Finding:
    cells = [cell for cell in suite.cells() if cell.task in tasks]
    complete = 0
    first_gap = ""
    for cell in cells:
        try:
            replies.lookup([example.id for example in checked_cell(suite, cell)])
            complete += 1
        except LgbenchError as error:
            first_gap = first_gap or str(error)
    state: State = "ok" if complete == len(cells) else "warning" if complete else "problem"
    return Finding("replies recorded", state, f"{complete} of {len(cells)} cells are complete", first_gap)
