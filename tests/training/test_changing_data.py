"""Hooks that change the mixture and add examples, and data sources of a user's own: checked, recorded, resumed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

pytest.importorskip("torch")

from torch import Tensor

from lgbench.data.cells import draw_cell
from lgbench.data.mixtures import Part, PoolPart
from lgbench.data.task import Example
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.batching import Batch, Passing, mixture_batches
from lgbench.training.changes import MixtureChange, PoolChange
from lgbench.training.examples import RunData
from lgbench.training.hooks import Hook
from lgbench.training.pools import GivenExample
from lgbench.training.record import read_training_record
from lgbench.training.state import read_state
from lgbench.training.trainer import Training, train
from lgbench.util.errors import LgbenchError, ModelError
from tests.selection import night
from tests.tiny_training import MINI, tiny_plan
from tests.training.test_hooks import assert_same_weights

PLAN = tiny_plan("steps=23", "batch=8")
PASSING = Passing(size=8, chunks=2)
HALF, QUARTER = Fraction(1, 2), Fraction(1, 4)
SHORT = (Part("capitalize_reverse", 4, HALF), Part("reverse", 4, HALF))
MIXED = (Part("capitalize_reverse", 4, QUARTER), PoolPart("mine", HALF), Part("reverse", 4, QUARTER))
# Longer than every cell of the suite, so that none is held out.
OWN = [("reverse", f"{letter * 24}=", f"{letter * 24}") for letter in "abcdefgh"]


class Changing(Hook):
    """Goes through lists and pools at set steps, and remembers only how often it was called."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.calls = 0
        self._stop_at = stop_at

    def step(self, training: Training, loss: Tensor) -> None:
        self.calls += 1
        if training.step in (4, 17):
            training.set_mixture(SHORT)
        if training.step == 7:
            training.add_examples("mine", OWN[:5])
            training.set_mixture(MIXED)
        if training.step == 12:
            training.add_examples("mine", [Example("capitalize", 24, 0, "b" * 24 + "=", "B" * 24), *OWN[5:]])
        if training.step == 20:
            training.set_mixture(training.plan.mixture.parts)
        if training.step == self._stop_at:
            training.stop("asked to")

    def state(self) -> dict[str, int]:
        return {"calls": self.calls}

    def load_state(self, state: dict[str, int]) -> None:
        self.calls = state["calls"]


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("changing") / "whole"
    train(PLAN, folder, hooks=[Changing()])
    return folder


@pytest.mark.parametrize("stops", [(7, 9), (8, 13, 15), *night([(2,), (4,), (12,), (18, 20, 22)])])
def test_a_run_whose_data_changes_is_resumed_to_the_same_weights(
    whole: Path, tmp_path: Path, stops: tuple[int, ...]
) -> None:
    """Also where it was interrupted between two points, on the step of a change, and more than once."""
    for stop in stops:
        assert train(PLAN, tmp_path, hooks=[Changing(stop)], resume=True).steps_done == stop
    hook = Changing()
    record, expected = train(PLAN, tmp_path, hooks=[hook], resume=True), read_training_record(whole)
    assert record.curve == expected.curve
    assert (record.tokens, record.target_tokens, record.changes) == (
        expected.tokens,
        expected.target_tokens,
        expected.changes,
    )
    assert hook.calls == 23
    assert_same_weights(whole, tmp_path)


def test_a_changed_run_is_of_no_arm_and_says_what_changed(whole: Path, tmp_path: Path) -> None:
    record = read_training_record(whole)
    assert record.plan.is_of_its_arm
    assert not record.is_of_its_arm
    mixtures = [each for each in record.changes if isinstance(each, MixtureChange)]
    pools = [each for each in record.changes if isinstance(each, PoolChange)]
    assert [(each.step, each.mixed) for each in mixtures[:2]] == [(4, SHORT), (7, MIXED)]
    assert [each.step for each in mixtures] == [4, 7, 17, 20]
    assert [(each.step, each.pool, each.examples) for each in pools] == [(7, "mine", 5), (12, "mine", 4)]
    assert json.loads((whole / "checkpoint" / "checkpoint.json").read_text("utf-8"))["arm"] == "open"
    plain = train(PLAN, tmp_path)
    assert plain.is_of_its_arm
    saved = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert not {"changes", "source"} & saved.keys(), "records of other runs stay as they always were"
    assert json.loads((tmp_path / "checkpoint" / "checkpoint.json").read_text("utf-8"))["arm"] == "transfer"


def texts(batch: Batch) -> list[str]:
    """Each row of a batch."""
    return [
        "".join(PUBLISHED.tokens[number] for number in row.tolist() if number).removesuffix("<end>")
        for chunk in batch.chunks
        for row in chunk.inputs
    ]


def test_a_list_goes_on_behind_its_own_examples() -> None:
    data = RunData(PLAN, PASSING)
    arm = list(mixture_batches(MINI, PLAN.mixture, steps=23, size=8, chunks=2))
    for step in range(4):
        assert texts(data.batch(step)) == texts(arm[step])
    assert data.set_parts(SHORT, 4)
    short = [texts(data.batch(step)) for step in range(4, 9)]
    assert all(
        len(row) < 40 and ("<reverse>" in row or "<capitalize_reverse>" in row) for rows in short for row in rows
    )
    assert data.set_parts(PLAN.mixture.parts, 9)
    assert [texts(data.batch(step)) for step in (9, 10)] == [texts(batch) for batch in arm[4:6]]
    again = RunData(PLAN, PASSING, changes=data.changes)
    assert texts(again.batch(10)) == texts(arm[5])
    assert data.set_parts(PLAN.mixture.parts, 11) is None, "nothing changes"
    assert data.set_parts(SHORT, 23) is None, "no step comes after the last"


def test_a_change_before_a_step_whose_batch_is_drawn_counts_from_the_next_one() -> None:
    """As a hook's `before_step` makes it: no example of the new list is passed over."""
    late, alone = (RunData(PLAN, PASSING) for _ in range(2))
    late.batch(0)
    assert late.set_parts(SHORT, 0) == 1
    assert [(each.step, each.mixed) for each in late.changes if isinstance(each, MixtureChange)] == [(1, SHORT)]
    alone.set_parts(SHORT, 0)
    assert texts(late.batch(1)) == texts(alone.batch(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_pool_is_drawn_by_its_share(workers: int) -> None:
    data = RunData(tiny_plan("steps=400", "batch=8"), Passing(size=8, chunks=1, workers=workers))
    data.add("mine", OWN, 0)
    data.set_parts(MIXED, 0)
    rows = [row for step in range(300) for row in texts(data.batch(step))]
    own = Counter(row for row in rows if any(f"{prompt}" in row for _, prompt, _ in OWN))
    assert 0.45 < sum(own.values()) / len(rows) < 0.55
    assert len(own) == len(OWN)
    assert max(own.values()) < 1.5 * min(own.values())
    tasks = Counter(row.split(">")[1] for row in rows if row not in own)
    assert 0.4 < tasks["<capitalize_reverse"] / sum(tasks.values()) < 0.6
    equal_parts = [part._replace(share=HALF) for part in MIXED if isinstance(part, Part)]
    alone = RunData(PLAN, Passing(size=8, chunks=1))
    alone.set_parts(equal_parts, 0)
    expected = [row for step in range(3) for row in texts(alone.batch(step))]
    assert [row for row in rows if row not in own][: len(expected)] == expected, "the tasks' own stream, in its order"


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([Part("mqar", 8, HALF), Part("reverse", 8, HALF)], r"'mqar' is not a task of capitalize-reverse\. Valid:"),
        ([Part("reverse", 8, HALF)], "add up to 1/2"),
        ([Part("reverse", 8, 0.5), Part("capitalize", 8, 0.5)], "0.5. It must be a fraction"),  # type: ignore[arg-type]
        ([Part("reverse", 8, HALF), Part("reverse", 4, HALF)], "repeats a task or a pool: reverse, reverse"),
        ([Part("reverse", 0, Fraction(1))], "no prompts of length 0"),
        ([Part("reverse", 10**6, Fraction(1))], "more than the 10000"),
        ([PoolPart("yours", Fraction(1))], r"The pool 'yours' has no examples\. Add some first"),
        ([], "an empty list"),
        (["reverse"], "is not a part of a mixture"),
    ],
)
def test_what_is_no_mixture_of_the_group_is_refused(parts: list[Part], message: str, tmp_path: Path) -> None:
    class Setting(Hook):
        def step(self, training: Training, loss: Tensor) -> None:
            training.set_mixture(parts)

    with pytest.raises(LgbenchError, match=message):
        train(PLAN, tmp_path, hooks=[Setting()])


def held_out_prompt() -> str:
    return draw_cell(MINI, "reverse", 4)[0].prompt


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ("mqar", "ab=", "ba"), "'mqar' is not a task of capitalize-reverse"),
        (lambda: ("reverse", "ab="), "three texts"),
        (lambda: ("reverse", "ab=", 3), "three texts"),
        (lambda: "abc", "three texts"),
        (lambda: ("reverse", "é=", "é"), "cannot read 'é'"),
        (lambda: ("reverse", held_out_prompt(), "x"), r"is in a test or dev cell\. Leave out"),
    ],
)
def test_what_is_no_example_is_refused(make: Callable[[], GivenExample], message: str) -> None:
    data = RunData(PLAN, PASSING)
    with pytest.raises(LgbenchError, match=message):
        data.add("mine", [OWN[0], make()], 0)
    assert not data.changes
    with pytest.raises(LgbenchError, match="no examples"):
        data.set_parts([PoolPart("mine", Fraction(1))], 0)
    with pytest.raises(LgbenchError, match="not a name of a pool"):
        data.add("", OWN, 0)


def test_pools_that_were_damaged_are_refused(tmp_path: Path) -> None:
    train(PLAN, tmp_path, hooks=[Changing(9)])
    state = read_state(tmp_path)
    assert state is not None
    pools = state.tensors["pools"]
    for damaged in (None, pools[:-3], pools[:0]):
        with pytest.raises(LgbenchError, match="does not hold the examples that a hook added"):
            RunData(PLAN, PASSING, changes=state.record.changes, pools=damaged)
    data = RunData(PLAN, PASSING, changes=state.record.changes, pools=pools)
    assert data.pools.state() is not None


class Letters:
    """A source of a user's own: the same word over and over, another one each step."""

    def __init__(self, size: int = 8) -> None:
        self._size = size

    def batch(self, step: int) -> Sequence[tuple[str, str, str]]:
        word = "abcdefghijklmnopqrstuvw"[step] * 24
        return [("reverse", f"{word}=", word)] * self._size


def test_a_source_of_ones_own(tmp_path: Path) -> None:
    whole = train(PLAN, tmp_path / "whole", source=Letters())
    assert whole.source == "Letters"
    assert not whole.is_of_its_arm
    assert json.loads((tmp_path / "whole" / "checkpoint" / "checkpoint.json").read_text("utf-8"))["arm"] == "open"
    pieces = tmp_path / "pieces"
    train(PLAN, pieces, source=Letters(), hooks=[Changing(3)])
    shutil.copytree(pieces, tmp_path / "other")
    with pytest.raises(LgbenchError, match="its examples are those of Letters there and of its plan here"):
        train(PLAN, tmp_path / "other", resume=True, hooks=[Changing()])


def test_a_run_with_a_source_is_resumed_to_the_same_weights(tmp_path: Path) -> None:
    class Stopping(Hook):
        def step(self, training: Training, loss: Tensor) -> None:
            if training.step == 13:
                training.stop("asked to")

    whole = train(PLAN, tmp_path / "whole", source=Letters())
    train(PLAN, tmp_path / "pieces", source=Letters(), hooks=[Stopping()])
    record = train(PLAN, tmp_path / "pieces", source=Letters(), resume=True)
    assert record.curve == whole.curve
    assert_same_weights(tmp_path / "pieces", tmp_path / "whole")
    assert train(PLAN, tmp_path / "pieces", source=Letters(), resume=True) == record
    with pytest.raises(LgbenchError, match="its examples are those of Letters there"):
        train(PLAN, tmp_path / "pieces", resume=True)


class Failing(Letters):
    def batch(self, step: int) -> Sequence[tuple[str, str, str]]:
        if step == 6:
            raise ValueError("no more")
        return super().batch(step)


class Endless(Letters):
    def batch(self, step: int) -> Iterable[tuple[str, str, str]]:  # type: ignore[override]
        return (each for _ in iter(int, 1) for each in super(Endless, self).batch(step))


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (Failing(), ModelError, "The source, asked for the examples of step 6, raised ValueError: no more"),
        (Letters(7), LgbenchError, "gave 7 examples for step 0. Give 8"),
        (Endless(), LgbenchError, "gave more than 8 examples"),
        (object(), LgbenchError, "is not a source of examples"),
    ],
)
def test_a_source_that_fails(source: Letters, error: type[LgbenchError], message: str, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        train(PLAN, tmp_path, source=source)


def test_a_hook_cannot_change_a_source(tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match="come from a source of its own: a hook cannot change them"):
        train(PLAN, tmp_path, source=Letters(), hooks=[Changing()])


def test_held_out_prompts_are_those_of_every_cell(tmp_path: Path) -> None:
    seen: list[frozenset[str]] = []

    class Asking(Hook):
        def start(self, training: Training) -> None:
            seen.append(training.held_out("reverse"))
            training.stop("asked")

    train(PLAN, tmp_path, hooks=[Asking()])
    for length in MINI.grid("reverse"):
        for split in ("test", "dev"):
            assert {each.prompt for each in islice(draw_cell(MINI, "reverse", length, split=split), 5)} <= seen[0]
