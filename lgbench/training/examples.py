"""The examples of a run, step by step: of its plan, of what its hooks changed, or of a user's own source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import count, islice
from typing import Protocol

from torch import Tensor

from lgbench.data.mixtures import Part, Parts, PoolPart, check_shares
from lgbench.data.stream import by_share, list_key
from lgbench.data.suites import Suite
from lgbench.data.task import Example, Stream
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.batching import Batch, Passing, make_batch, mixture_batches, stream_rows
from lgbench.training.changes import DataChange, MixtureChange, PoolChange, PooledPart, Triple, triples_sha256
from lgbench.training.hooks import RowSource
from lgbench.training.pools import GivenExample, Pools
from lgbench.training.rows import Row, encode_row
from lgbench.training.spec import MOST_LENGTH, RunSpec, TrainedPart
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code

_List = tuple[Part | PoolPart, ...]


class Source(Protocol):
    """Where the examples of a run come from instead of its plan, as given to `train(..., source=...)`."""

    def batch(self, step: int) -> Sequence[GivenExample]:
        """The examples of one step, exactly `settings.batch` of them.

        They must depend on the step's number alone, so that a run that was interrupted ends in the same weights.

        Args:
            step: The step's number, from 0.
        """


def source_name(source: Source | None) -> str | None:
    """What a record calls a data source of the user's.

    Raises:
        LgbenchError: It is none.
    """
    if source is None:
        return None
    if not callable(getattr(source, "batch", None)):
        raise LgbenchError(f"{source!r:.100} is not a source of examples: it has no method batch(step).")
    return type(source).__qualname__


class RunData:
    """The batches of a run. They depend on the plan, the step and the changes so far, and on nothing else.

    Args:
        plan: The run's.
        passing: How batches are made.
        source: The user's own source of examples; None for the plan's mixture.
        changes: Those that were made before the run was interrupted.
        pools: What was in the pools then, as `Pools.state` gave it.

    Attributes:
        source: The user's own source, if there is one.
        changes: What hooks changed so far, in order.
        pools: The examples that hooks added.
    """

    def __init__(
        self,
        plan: RunSpec,
        passing: Passing,
        *,
        source: Source | RowSource | None = None,
        changes: Iterable[DataChange] = (),
        pools: Tensor | None = None,
    ) -> None:
        self._plan, self._passing = plan, passing
        self._suite = plan.loaded_suite
        self.source = source
        self.changes = tuple(changes)
        self.pools = Pools(self._suite, plan.suite_group, filled_by=self.changes, saved=pools)
        self._batches: Iterator[Batch] | None = None
        self._undrawn = 0  # the first step whose batch has not been drawn

    @property
    def is_changed(self) -> bool:
        """Whether the run trains on something else than its plan says."""
        return self.source is not None or bool(self._mixtures)

    @property
    def _mixtures(self) -> list[MixtureChange]:
        return [each for each in self.changes if isinstance(each, MixtureChange)]

    def batch(self, step: int) -> Batch:
        """The batch of step number `step`, from 0. Each call is for the step after that of the call before.

        Raises:
            LgbenchError: The user's source gave what cannot be trained on.
            ModelError: It raised.
        """
        if self._batches is None:
            self._batches = self._from(step)
        self._undrawn = step + 1
        return next(self._batches)

    def set_parts(self, parts: Iterable[Part | PoolPart], step: int) -> int | None:
        """Train on another list from step number `step` on, or the one after it if that has its batch already.

        Returns:
            The first step that trains on it; None if it is no other list, or that step will not come.

        Raises:
            LgbenchError: A task is not of the group, a pool is empty, or the shares do not add up.
        """
        self._refuse_with_source()
        wanted = tuple(parts)
        self._check_parts(wanted)
        step = max(step, self._undrawn)
        if step == self._plan.settings.steps or wanted == self.parts(step):
            return None
        recorded = tuple(
            PooledPart(pool=part.pool, share=part.share)
            if isinstance(part, PoolPart)
            else TrainedPart(
                task=part.task,
                task_version=self._suite.task(part.task).version,
                max_length=part.max_length,
                share=part.share,
            )
            for part in wanted
        )
        self.changes = (*self.changes, MixtureChange(step=step, parts=recorded))
        self._batches = None
        return step

    def add(self, pool: str, examples: Iterable[GivenExample], step: int) -> int:
        """Add examples to a pool; gives how many.

        Raises:
            LgbenchError: One is not an example of the group's tasks, or has a prompt of the test or dev cells.
        """
        self._refuse_with_source()
        if added := self.pools.add(pool, examples):
            change = PoolChange(step=step, pool=pool, examples=len(added), sha256=triples_sha256(added))
            self.changes = (*self.changes, change)
        return len(added)

    def parts(self, step: int) -> _List:
        """The list that step number `step` trains on; none with a source of the user's."""
        if self._mixtures:
            return self._mixtures[-1].mixed
        spans = self._plan.mixture.spans(self._plan.settings.steps)
        return next((span.parts for span in spans if span.first <= step < span.end), ())

    def _from(self, step: int) -> Iterator[Batch]:
        if isinstance(self.source, RowSource):
            return (self._made(self.source.rows(number)) for number in count(step))
        if self.source is not None:
            return self._of_source(self.source, step)
        if self._mixtures:
            return self._of_list(self.parts(step), step)
        steps = self._plan.settings.steps
        return mixture_batches(self._suite, self._plan.mixture, steps=steps, start=step, **self._passing)

    def _of_source(self, source: Source, step: int) -> Iterator[Batch]:
        size = self._passing["size"]
        for number in count(step):
            with user_code(f"The source, asked for the examples of step {number},"):
                given = list(islice(source.batch(number), size + 1))
            if len(given) != size:
                many = f"more than {size}" if len(given) > size else len(given)
                raise LgbenchError(
                    f"The source gave {many} examples for step {number}. Give {size}, the setting batch."
                )
            yield self._made([self._row(each) for each in self.pools.checked(given, "The source")])

    def _of_list(self, parts: _List, step: int) -> Iterator[Batch]:
        """The batches of a list from step number `step` on, behind the examples of its tasks that were taken before."""
        tasks, size = _of_tasks(parts), self._passing["size"]
        start, workers = self._taken(tasks, step), self._passing.get("workers", 0)
        stream = stream_rows(self._suite, tasks, start=start, workers=workers) if tasks else iter(())
        if tasks == parts:
            while True:
                yield self._made(list(islice(stream, size)))
        for number in count(step):
            words, picked = _picked(self._suite, parts, number, size)
            yield self._made(
                [
                    self._row(self.pools.draw(part.pool, words)) if isinstance(part, PoolPart) else next(stream)
                    for part in picked
                ]
            )

    def _row(self, each: Triple) -> Row:
        return encode_row(suite_vocabulary(self._suite), Example(each.task, 0, 0, each.prompt, each.target))

    def _made(self, rows: list[Row]) -> Batch:
        passing = self._passing
        multiple, pinned = passing.get("multiple", 1), passing.get("pinned", False)
        return make_batch(rows, passing["chunks"], multiple=multiple, pinned=pinned)

    def _taken(self, tasks: Parts, step: int) -> int:
        """How many examples of a list's stream were trained on before step number `step`."""
        size, taken = self._passing["size"], 0
        for parts, first, end in self._history(step):
            if _of_tasks(parts) != tasks:
                continue
            if parts == tasks:
                taken += (end - first) * size
                continue
            for number in range(first, end):
                taken += sum(isinstance(part, Part) for part in _picked(self._suite, parts, number, size)[1])
        return taken

    def _history(self, step: int) -> Iterator[tuple[_List, int, int]]:
        """The lists that the steps before `step` trained on, each with its first step and one more than its last."""
        ends = [*(each.step for each in self._mixtures), step]
        for span in self._plan.mixture.spans(self._plan.settings.steps):
            if span.first < ends[0]:
                yield span.parts, span.first, min(span.end, ends[0])
        for change, end in zip(self._mixtures, ends[1:], strict=True):
            yield change.mixed, change.step, end

    def _check_parts(self, parts: _List) -> None:
        for part in parts:
            if not isinstance(part, Part | PoolPart):
                raise LgbenchError(f"{part!r:.100} is not a part of a mixture. Give a Part or a PoolPart.")
        names = [part.pool if isinstance(part, PoolPart) else part.task for part in parts]
        kinds = list(zip(map(type, parts), names, strict=True))
        if len(set(kinds)) < len(kinds):
            raise LgbenchError(f"The mixture repeats a task or a pool: {', '.join(names)}. Name each once.")
        check_shares([part.share for part in parts], of=", ".join(names) or "an empty list")
        for part in parts:
            if isinstance(part, PoolPart):
                self.pools.check_filled(part.pool)
                continue
            self.pools.check_task(part.task, "The mixture")
            self._suite.task(part.task).check_length(part.max_length)
            if part.max_length > MOST_LENGTH:
                raise LgbenchError(f"Length {part.max_length} is more than the {MOST_LENGTH} that a run may train on.")

    def _refuse_with_source(self) -> None:
        if self.source is not None:
            raise LgbenchError("The run's examples come from a source of its own: a hook cannot change them.")


def _of_tasks(parts: _List) -> Parts:
    """The tasks of a list, with shares that add up to 1 without its pools."""
    tasks = [part for part in parts if isinstance(part, Part)]
    whole = sum(part.share for part in tasks)
    return tuple(part._replace(share=Fraction(part.share) / whole) for part in tasks)


def _picked(suite: Suite, parts: _List, step: int, size: int) -> tuple[Stream, list[Part | PoolPart]]:
    """Which part of a list with pools each example of a step is of, and the stream whose next words choose in pools."""
    stream = Stream("lgbench", suite.name, "train", list_key(suite, parts), "step", step)
    repeated = by_share(parts)
    return stream, [repeated[pick] for pick in stream.below(len(repeated), size).tolist()]
