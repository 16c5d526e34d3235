"""Finds values that no evaluation can have written, in the fields of a result that re-scoring does not check."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from lgbench.data.suites import Cell, load_suite
from lgbench.evaluation.loop import INVARIANCE_EXAMPLES, shortest_and_longest
from lgbench.results.schema import OWN_KINDS, Result
from lgbench.submissions.visible_text import check_visible
from lgbench.util.errors import LgbenchError
from lgbench.util.records import Problem

_FIRST_DAY = datetime(2025, 1, 1, tzinfo=UTC)
"""Before it there was no lgbench."""
_AHEAD = timedelta(days=1)
"""The most that a clock may be fast."""
_ROUNDING = 0.0005 * 1.001  # of the duration in seconds and of the rate, which have three digits after the point
_SHORTEST = 1e-6  # seconds; replies that are looked up take longer
_COUNT_NO_TOKENS = frozenset({"builtin", "replay", "checkpoint", "hf"})
"""Kinds of models that are ours and count no tokens."""


def implausible(result: Result) -> Iterator[Problem]:
    """The impossible values of a result, regardless of its counts."""
    now = datetime.now(UTC)
    if not _FIRST_DAY <= result.started <= now + _AHEAD:
        message = f"is {result.started:%Y-%m-%d}: a run began after {_FIRST_DAY:%Y-%m-%d}, and not in the future."
        yield Problem("started", message)
    kind, model = result.system.kind, result.system.model
    if kind not in OWN_KINDS and not model.startswith(f"{kind}:"):
        yield Problem("system.model", f"is {model!r}, but a model of kind {kind!r} is named {kind}:...")
    yield from _wrong_speed(result)
    yield from _wrong_invariance(result)
    yield from _wrong_usage(result)
    yield from _hidden_text(result)


def _wrong_speed(result: Result) -> Iterator[Problem]:
    """A rate that is not the replies over the duration, given that both are rounded."""
    total = sum(cell.counts.total for cell in result.cells)
    slowest = total / (result.duration + _ROUNDING) - _ROUNDING
    fastest = total / max(result.duration - _ROUNDING, _SHORTEST) + _ROUNDING
    if not slowest <= result.replies_per_second <= fastest:
        message = f"is {result.replies_per_second}, but {total:,} replies took {result.duration} seconds."
        yield Problem("duration" if result.duration == 0 else "replies_per_second", message)


def _wrong_invariance(result: Result) -> Iterator[Problem]:
    if (given := result.batch_invariance) is None:
        return
    if result.system.kind == "replay":
        yield Problem("batch_invariance", "is given, but recorded replies cannot be asked again.")
        return
    try:
        most = load_suite(result.suite, result.draft).examples_per_cell
    except LgbenchError:  # it is for re-scoring to report
        return
    probed = shortest_and_longest([Cell(cell.task, cell.length) for cell in result.cells])
    expected = len(probed) * min(INVARIANCE_EXAMPLES, most, result.limit or most)
    if given.checked != expected:
        message = f"is {given.checked}, but of these cells {expected} examples are asked again."
        yield Problem("batch_invariance.checked", message)


def _wrong_usage(result: Result) -> Iterator[Problem]:
    if (usage := result.usage) is None:
        return
    if result.system.kind in _COUNT_NO_TOKENS:
        yield Problem("usage", f"is given, but a model of kind {result.system.kind!r} counts no tokens.")
    elif usage.prompt_tokens == usage.completion_tokens == 0:  # either alone is a server's to say
        yield Problem("usage", "counts no token at all, for replies that were paid: without counts it is null.")


def _hidden_text(result: Result) -> Iterator[Problem]:
    system, environment = result.system, result.environment
    texts = {"system.model": system.model, "environment.platform": environment.platform}
    texts |= {f"environment.{name}": getattr(environment, name) for name in ("device", "lgbench", "python", "numpy")}
    texts |= {f"environment.packages.{name}": f"{name} {version}" for name, version in environment.packages.items()}
    texts |= {f"system.options.{name}": f"{name} {value}" for name, value in system.options.items()}
    texts["environment.git_commit"] = environment.git_commit or ""
    texts["system.prompt.template"] = (system.prompt and system.prompt.template) or ""
    for field, text in texts.items():
        try:
            check_visible(text, allowed="\n\t")
        except ValueError as error:
            yield Problem(field, f"{error}.")
