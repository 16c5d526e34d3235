"""The checks of the contract: count, type, order, repetition, batches, the empty list, the longest prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example
from lgbench.doctor.findings import Clock, Finding, State
from lgbench.evaluation.grading import as_reply
from lgbench.models.contract import CappedReply, Predictor
from lgbench.models.safe_call import ask, own_batch_size
from lgbench.results.reply import Reply
from lgbench.results.schema import MAX_REPLY_CHARS
from lgbench.util.errors import ModelError
from lgbench.util.text import duration

_FEW = 6
_OF_EVERY_TASK = 2
_BATCHES = (
    "Mask padding, use float32, pad nothing, or set batch_size = 1: results that depend on the batch are hard to "
    "reproduce."
)


class _Seen(NamedTuple):
    """What a check saw: a finding without its name."""

    state: State
    detail: str
    advice: str = ""


class _Check(NamedTuple):
    """A check, about how many seconds it takes, and how to look."""

    name: str
    seconds: float
    look: Callable[[], _Seen]


class _Asked(NamedTuple):
    """A few short examples, and what the model replied when it was asked first."""

    predictor: Predictor
    task: str
    examples: Sequence[Example]
    replies: list[str]

    @property
    def prompts(self) -> list[str]:
        return [example.prompt for example in self.examples]


def honours_the_contract(
    predictor: Predictor, suite: Suite, tasks: Sequence[str], clock: Clock, replied: list[tuple[Example, Reply]]
) -> Iterator[Finding]:
    """Check a model on a few prompts of the first task, then of every task, and on the longest prompt of all.

    Args:
        predictor: The model.
        suite: The suite whose prompts are asked.
        tasks: Those that may be asked.
        clock: Checks for which it has no time are not tried.
        replied: To which short examples are added, each with the reply to it.

    Raises:
        ModelError: The model raised, or did not return one string for each prompt.
    """
    task = tasks[0]
    examples = checked_cell(suite, Cell(task, suite.grid(task)[1]))[:_FEW]
    begun = time.perf_counter()
    replies = _ask(predictor, [example.prompt for example in examples], task)
    once = time.perf_counter() - begun
    replied += zip(examples, map(as_reply, replies), strict=True)
    asked = _Asked(predictor, task, examples, replies)
    yield Finding("one reply for each prompt", "ok", f"{len(replies)} strings for {len(examples)} {task} prompts")
    yield Finding("a reply", *_shown(asked))
    yield Finding("no prompts, no replies", *_empty(predictor, task))
    repeated, once = _repeated(asked, clock, once)
    yield Finding("the same on a repeat", *repeated)
    for check in _comparisons(asked, suite, once):
        if repeated.state == "problem":
            yield Finding(check.name, "untried", "replies that change on a repeat tell nothing of it")
        else:
            yield _tried(check, clock)
    for check in _others(asked, suite, tasks, once, replied):
        yield _tried(check, clock)


def _tried(check: _Check, clock: Clock) -> Finding:
    return Finding(check.name, *(check.look() if clock.has(check.seconds) else _untried(check.seconds)))


def _repeated(asked: _Asked, clock: Clock, once: float) -> tuple[_Seen, float]:
    """Whether the same prompts get the same replies, and how long that took: the first call may have warmed up."""
    if not clock.has(once):
        return _untried(once), once
    begun = time.perf_counter()
    again = _ask(asked.predictor, asked.prompts, asked.task)
    took = time.perf_counter() - begun
    return _same(asked.replies, again, "Decode greedily, or fix the seed of each reply."), took


def _comparisons(asked: _Asked, suite: Suite, once: float) -> list[_Check]:
    """The first prompts asked again in other ways."""
    longer = checked_cell(suite, Cell(asked.task, suite.grid(asked.task)[3]))[:_FEW]
    times_longer = max(len(example.prompt) for example in longer) / max(map(len, asked.prompts))
    return [
        _Check("in the order of the prompts", once, lambda: _order(asked)),
        _Check("the same one by one", _FEW * once, lambda: _alone(asked)),
        _Check("the same among longer prompts", 2 * once * times_longer, lambda: _among_longer(asked, longer)),
    ]


def _others(
    asked: _Asked, suite: Suite, tasks: Sequence[str], once: float, replied: list[tuple[Example, Reply]]
) -> list[_Check]:
    """Other prompts than the first."""
    predictor, longest = asked.predictor, _longest(suite, tasks)
    times_longer = len(longest.prompt) / max(map(len, asked.prompts))
    every = _Check("every other task", len(tasks) * once, lambda: _every_task(predictor, suite, tasks[1:], replied))
    last = _Check("the longest prompt", once * times_longer, lambda: _longest_prompt(predictor, longest))
    return [every, last] if len(tasks) > 1 else [last]


def _ask(predictor: Predictor, prompts: Sequence[str], task: str) -> list[str]:
    """Replies to a few prompts, no more at once than the model says that it takes."""
    size = own_batch_size(predictor) or len(prompts)
    return [
        reply for start in range(0, len(prompts), size) for reply in ask(predictor, prompts[start : start + size], task)
    ]


def _untried(seconds: float) -> _Seen:
    detail = f"it would take about {duration(seconds)}" if seconds >= 1 else "there is no time left"
    return _Seen("untried", detail, "Give the doctor more time with --time-limit SECONDS.")


def _shown(asked: _Asked) -> _Seen:
    right = [reply == example.target for reply, example in zip(asked.replies, asked.examples, strict=True)]
    at = right.index(False) if False in right else 0
    example, reply = asked.examples[at], asked.replies[at]
    detail = f"{example.prompt!r} got {reply[:80]!r}, wanted {example.target!r}; {sum(right)} of {len(right)} are right"
    return _not_too_long(detail, asked.replies)


def _not_too_long(detail: str, replies: Sequence[str]) -> _Seen:
    if max(map(len, replies)) > MAX_REPLY_CHARS:
        advice = "Does the model know when to stop? Return what it wrote until then, and no prompt."
        return _Seen("warning", f"{detail}; a reply is cut after {MAX_REPLY_CHARS} characters", advice)
    return _Seen("ok", detail)


def _same(wanted: Sequence[str], got: Sequence[str], advice: str, *, otherwise: State = "problem") -> _Seen:
    changed = [(before, after) for before, after in zip(wanted, got, strict=True) if before != after]
    if not changed:
        return _Seen("ok", f"{len(wanted)} of {len(wanted)} replies are equal")
    before, after = changed[0]
    detail = f"{len(changed)} of {len(wanted)} replies changed, as from {before[:40]!r} to {after[:40]!r}"
    return _Seen(otherwise, detail, advice)


def _order(asked: _Asked) -> _Seen:
    first = asked.replies
    if len(set(first)) == 1:
        detail = f"every reply is {first[0][:40]!r}, so that their order cannot be seen"
        return _Seen("warning", detail, "Does the model read its prompts?")
    advice = "Return the replies in the order of the prompts."
    backwards = _ask(asked.predictor, asked.prompts[::-1], asked.task)
    if backwards == first != first[::-1]:
        return _Seen("problem", "reversing the prompts changed nothing", advice)
    if sorted(backwards) != sorted(first):  # an order can only be wrong where the replies are the same
        seen = _same(first, backwards[::-1], _BATCHES, otherwise="warning")
        return seen._replace(detail=f"{seen.detail}: not their order, but the prompts around them change them")
    return _same(first, backwards[::-1], advice)


def _alone(asked: _Asked) -> _Seen:
    alone = [ask(asked.predictor, [prompt], asked.task)[0] for prompt in asked.prompts]
    return _same(asked.replies, alone, _BATCHES, otherwise="warning")


def _among_longer(asked: _Asked, longer: Sequence[Example]) -> _Seen:
    mixed = [text for prompt, other in zip(asked.prompts, longer, strict=True) for text in (prompt, other.prompt)]
    try:
        got = _ask(asked.predictor, mixed, asked.task)[::2]
    except ModelError as error:  # it may: `lgbench eval` gives prompts of one length together
        advice = "No call of lgbench eval mixes lengths, so that no result depends on it."
        return _Seen("warning", f"a call with prompts of two lengths failed: {error}", advice)
    return _same(asked.replies, got, _BATCHES, otherwise="warning")


def _empty(predictor: Predictor, task: str) -> _Seen:
    try:
        ask(predictor, [], task)
    except ModelError as error:
        return _Seen("warning", str(error), "Return [] for []; lgbench never asks it.")
    return _Seen("ok", "[] for []")


def _every_task(
    predictor: Predictor, suite: Suite, tasks: Sequence[str], replied: list[tuple[Example, Reply]]
) -> _Seen:
    """A model that looks its tasks up may lack one of them, which a run would find hours later."""
    failed: dict[str, ModelError] = {}
    for task in tasks:
        examples = checked_cell(suite, Cell(task, suite.grid(task)[0]))[:_OF_EVERY_TASK]
        try:
            replies = _ask(predictor, [example.prompt for example in examples], task)
            replied += zip(examples, map(as_reply, replies), strict=True)
        except ModelError as error:
            failed[task] = error
    if failed:
        first = next(iter(failed.values()))
        detail = f"fails on {', '.join(failed)}: {first}"
        return _Seen("problem", detail, first.user_traceback.strip() or "Answer every task, if only with ''.")
    return _Seen("ok", f"{len(tasks)} answered, with {_OF_EVERY_TASK} prompts each")


def _longest(suite: Suite, tasks: Sequence[str]) -> Example:
    """The example with the longest prompt of the suite among these tasks."""
    cells = [Cell(task, suite.grid(task)[-1]) for task in tasks]
    examples = (example for cell in cells for example in checked_cell(suite, cell))
    return max(examples, key=lambda each: len(each.prompt))


def _longest_prompt(predictor: Predictor, longest: Example) -> _Seen:
    begun = time.perf_counter()
    (reply,) = ask(predictor, [longest.prompt], longest.task)
    seconds = time.perf_counter() - begun
    detail = f"{len(longest.prompt)} characters of {longest.task}: {len(reply)} back in {seconds:.2f} s"
    if isinstance(reply, CappedReply):
        advice = "Does the model write its end token? Is its context long enough for the prompt and a reply?"
        return _Seen("warning", f"{detail}, ended by the cap", advice)
    return _not_too_long(detail, [reply])
