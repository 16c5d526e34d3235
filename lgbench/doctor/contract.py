"""The checks of the contract: count, type, order, repetition, batches, the empty list, the longest prompt."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from lgbench.cells import checked_cell
from lgbench.doctor.findings import Clock, Finding, State, duration
from lgbench.errors import ModelError
from lgbench.models.contract import CappedReply, Predictor, ask, own_batch_size
from lgbench.results import MAX_REPLY_CHARS
from lgbench.suites import Cell, Suite
from lgbench.task import Example

_FEW = 6
_OF_EVERY_TASK = 2
_BATCHES = "Mask padding, use float32, or pad nothing: results that depend on the batch are hard to reproduce."


def honours_the_contract(predictor: Predictor, suite: Suite, tasks: Sequence[str], clock: Clock) -> Iterator[Finding]:
    """Check a model on a few prompts of the first task, then of every task, and on the longest prompt of all.

    Args:
        predictor: The model.
        suite: The suite whose prompts are asked.
        tasks: Those that may be asked.
        clock: Checks for which it has no time are not tried.

    Raises:
        ModelError: The model raised, or did not return one string for each prompt.
    """
    task = tasks[0]
    short, longer = (checked_cell(suite, Cell(task, suite.grid(task)[place]))[:_FEW] for place in (1, 3))
    prompts = [example.prompt for example in short]
    begun = time.perf_counter()
    first = _ask(predictor, prompts, task)
    once = time.perf_counter() - begun
    yield Finding("one reply for each prompt", "ok", f"{len(first)} strings for {len(prompts)} {task} prompts")
    yield _shown(short, first)
    yield _empty(predictor, task)
    repeated, once = _repeated(predictor, task, prompts, first, clock, once)
    yield repeated

    longest = _longest(suite, tasks)
    characters = max(map(len, prompts))
    comparing: list[tuple[str, float, Callable[[str], Finding]]] = [
        ("in the order of the prompts", once, lambda check: _order(check, predictor, task, prompts, first)),
        ("the same one by one", _FEW * once, lambda check: _alone(check, predictor, task, prompts, first)),
        (
            "the same among longer prompts",
            2 * once * max(len(example.prompt) for example in longer) / characters,
            lambda check: _among_longer(check, predictor, task, prompts, longer, first),
        ),
    ]
    others: list[tuple[str, float, Callable[[str], Finding]]] = [
        ("every other task", len(tasks) * once, lambda check: _every_task(check, predictor, suite, tasks[1:])),
        (
            "the longest prompt",
            once * len(longest.prompt) / characters,
            lambda check: _longest_prompt(check, predictor, longest),
        ),
    ]
    if len(tasks) == 1:
        others = others[1:]
    if repeated.state == "problem":
        for name, _, _ in comparing:
            yield Finding(name, "untried", "replies that change on a repeat tell nothing of it")
        comparing = []
    for name, seconds, check in comparing + others:
        yield check(name) if clock.has(seconds) else _untried(name, seconds)


def _repeated(
    predictor: Predictor, task: str, prompts: Sequence[str], first: Sequence[str], clock: Clock, once: float
) -> tuple[Finding, float]:
    """Whether the same prompts get the same replies, and how long that took: the first call may have warmed up."""
    check = "the same on a repeat"
    if not clock.has(once):
        return _untried(check, once), once
    begun = time.perf_counter()
    again = _ask(predictor, prompts, task)
    took = time.perf_counter() - begun
    return _same(check, first, again, "Decode greedily, or fix the seed of each reply."), took


def _ask(predictor: Predictor, prompts: Sequence[str], task: str) -> list[str]:
    """Replies to a few prompts, no more at once than the model says that it takes."""
    size = own_batch_size(predictor) or len(prompts)
    return [
        reply for start in range(0, len(prompts), size) for reply in ask(predictor, prompts[start : start + size], task)
    ]


def _untried(check: str, seconds: float) -> Finding:
    detail = f"it would take about {duration(seconds)}" if seconds >= 1 else "there is no time left"
    return Finding(check, "untried", detail, "Give the doctor more time with --time-limit SECONDS.")


def _shown(examples: Sequence[Example], replies: Sequence[str]) -> Finding:
    right = sum(reply == example.target for reply, example in zip(replies, examples, strict=True))
    detail = f"{examples[0].prompt!r} got {replies[0][:80]!r}; {right} of {len(replies)} are right"
    return _not_too_long("a reply", detail, replies)


def _not_too_long(check: str, detail: str, replies: Sequence[str]) -> Finding:
    if max(map(len, replies)) > MAX_REPLY_CHARS:
        advice = "Does the model know when to stop? Return what it wrote until then, and no prompt."
        return Finding(check, "warning", f"{detail}; a reply is cut after {MAX_REPLY_CHARS} characters", advice)
    return Finding(check, "ok", detail)


def _same(
    check: str, wanted: Sequence[str], got: Sequence[str], advice: str, *, otherwise: State = "problem"
) -> Finding:
    changed = [(before, after) for before, after in zip(wanted, got, strict=True) if before != after]
    if not changed:
        return Finding(check, "ok", f"{len(wanted)} of {len(wanted)} replies are equal")
    before, after = changed[0]
    detail = f"{len(changed)} of {len(wanted)} replies changed, as from {before[:40]!r} to {after[:40]!r}"
    return Finding(check, otherwise, detail, advice)


def _order(check: str, predictor: Predictor, task: str, prompts: list[str], first: list[str]) -> Finding:
    if len(set(first)) == 1:
        detail = f"every reply is {first[0][:40]!r}, so that their order cannot be seen"
        return Finding(check, "warning", detail, "Does the model read its prompts?")
    advice = "Return the replies in the order of the prompts."
    backwards = _ask(predictor, prompts[::-1], task)
    if backwards == first:
        return Finding(check, "problem", "reversing the prompts changed nothing", advice)
    return _same(check, first, backwards[::-1], advice)


def _alone(check: str, predictor: Predictor, task: str, prompts: list[str], first: list[str]) -> Finding:
    alone = [ask(predictor, [prompt], task)[0] for prompt in prompts]
    return _same(check, first, alone, _BATCHES, otherwise="warning")


def _among_longer(
    check: str, predictor: Predictor, task: str, prompts: list[str], longer: Sequence[Example], first: list[str]
) -> Finding:
    mixed = [text for prompt, other in zip(prompts, longer, strict=True) for text in (prompt, other.prompt)]
    try:
        got = _ask(predictor, mixed, task)[::2]
    except ModelError as error:  # it may, by the contract: prompts of one call have one length
        advice = "No call of lgbench mixes lengths, so that no result depends on it."
        return Finding(check, "warning", f"a call with prompts of two lengths failed: {error}", advice)
    return _same(check, first, got, _BATCHES, otherwise="warning")


def _empty(predictor: Predictor, task: str) -> Finding:
    check = "no prompts, no replies"
    try:
        ask(predictor, [], task)
    except ModelError as error:
        return Finding(check, "warning", str(error), "Return [] for []; lgbench never asks it.")
    return Finding(check, "ok", "[] for []")


def _every_task(check: str, predictor: Predictor, suite: Suite, tasks: Sequence[str]) -> Finding:
    """A model that looks its tasks up may lack one of them, which a run would find hours later."""
    failed: dict[str, ModelError] = {}
    for task in tasks:
        examples = checked_cell(suite, Cell(task, suite.grid(task)[0]))[:_OF_EVERY_TASK]
        try:
            _ask(predictor, [example.prompt for example in examples], task)
        except ModelError as error:
            failed[task] = error
    if failed:
        first = next(iter(failed.values()))
        detail = f"fails on {', '.join(failed)}: {first}"
        return Finding(check, "problem", detail, first.user_traceback.strip() or "Answer every task, if only with ''.")
    return Finding(check, "ok", f"{len(tasks)} answered, with {_OF_EVERY_TASK} prompts each")


def _longest(suite: Suite, tasks: Sequence[str]) -> Example:
    """The example with the longest prompt of the suite among these tasks."""
    cells = [Cell(task, suite.grid(task)[-1]) for task in tasks]
    examples = (example for cell in cells for example in checked_cell(suite, cell))
    return max(examples, key=lambda each: len(each.prompt))


def _longest_prompt(check: str, predictor: Predictor, longest: Example) -> Finding:
    begun = time.perf_counter()
    (reply,) = ask(predictor, [longest.prompt], longest.task)
    seconds = time.perf_counter() - begun
    detail = f"{len(longest.prompt)} characters of {longest.task}: {len(reply)} back in {seconds:.2f} s"
    if isinstance(reply, CappedReply):
        advice = "Does the model write its end token? Is its context long enough for the prompt and a reply?"
        return Finding(check, "warning", f"{detail}, ended by the cap", advice)
    return _not_too_long(check, detail, [reply])
