"""The examples of cells: committed hashes, distinct prompts, separate splits."""

import hashlib
import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from lgbench.data import cells
from lgbench.data.cells import (
    DEV_EXAMPLES,
    SHOTS_EXAMPLES,
    FixedSplit,
    cell_digest,
    checked_cell,
    committed_digest,
    derive_lock,
    draw_cell,
    draw_prompts,
    limited_indices,
    lock_path,
    lock_text,
)
from lgbench.data.suites import SUITES, Cell, Suite, load_suite
from lgbench.data.task import Stream, Task
from lgbench.data.tasks import TASKS, get_task
from lgbench.util.errors import LgbenchError
from tests import redraw, routes
from tests.philox import philox_words

MINI, STANDARD = load_suite("mini-v1"), load_suite("standard-v1")
every_suite = pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
redrawn_task = pytest.mark.parametrize("task", routes.REDRAWN, ids=lambda task: task.name)


def redrawn_digest(suite: Suite, task: str, length: int) -> str:
    """The hash of a test cell as the definition words it, without a line of the package."""
    prompts = redraw.draw_cell(suite.name, "test", task, length, count=suite.examples_per_cell)
    pairs = ([prompt, routes.answer(task, prompt)] for prompt in prompts)
    lines = (json.dumps(pair, ensure_ascii=True, separators=(",", ":")) + "\n" for pair in pairs)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def first_suite(task: Task) -> Suite:
    """The first suite that has a task, for those of today `mini-v1`."""
    return next(suite for suite in SUITES if task in suite.tasks)


@redrawn_task
@pytest.mark.slow
def test_the_committed_hashes_of_a_suite_are_those_of_the_redrawn_cells(task: Task) -> None:
    suite = first_suite(task)
    for length in suite.grid(task.name):
        assert committed_digest(suite, Cell(task.name, length)) == redrawn_digest(suite, task.name, length)


@every_task
@pytest.mark.slow
def test_a_third_of_the_committed_hashes_of_standard_derive(task: Task) -> None:
    for length in STANDARD.grid(task.name)[::3]:
        drawn = cell_digest(draw_cell(STANDARD, task.name, length))
        assert committed_digest(STANDARD, Cell(task.name, length)) == drawn


# One task of each sampler.
@pytest.mark.parametrize("task", ["no_carry", "reverse_subtract", "cot_multiply", "capitalize", "mqar", "dfs_trace"])
@pytest.mark.slow
def test_the_committed_hash_of_the_longest_standard_cell_is_that_of_the_redrawn_cell(task: str) -> None:
    longest = STANDARD.grid(task)[-1]
    assert committed_digest(STANDARD, Cell(task, longest)) == redrawn_digest(STANDARD, task, longest)


@redrawn_task
def test_dev_and_shots_are_as_redrawn(task: Task) -> None:
    suite = first_suite(task)
    length = suite.grid(task.name)[0]
    test = redraw.draw_cell(suite.name, "test", task.name, length, count=suite.examples_per_cell)
    splits: tuple[FixedSplit, ...] = ("dev", "shots")
    for split, count in zip(splits, (64, 16), strict=True):
        drawn = [example.prompt for example in draw_cell(suite, task.name, length, split=split)]
        assert drawn == redraw.draw_cell(suite.name, split, task.name, length, count=count, held_out=test)


def test_the_lock_of_mini_derives_to_the_byte() -> None:
    assert lock_path(MINI).read_text("ascii") == lock_text(derive_lock(MINI))


@every_suite
def test_every_cell_has_a_hash_and_every_hash_a_cell(suite: Suite) -> None:
    lock = json.loads(lock_path(suite).read_text("ascii"))
    assert list(lock) == [f"{task}@1/{length}" for task, length in suite.cells()]
    assert len(set(lock.values())) == len(lock)


@every_suite
@every_task
def test_prompts_of_a_split_are_distinct_and_no_other_split_shares_one_with_test(suite: Suite, task: Task) -> None:
    splits: tuple[tuple[FixedSplit, int], ...] = (("dev", DEV_EXAMPLES), ("shots", SHOTS_EXAMPLES))
    for length in suite.grid(task.name)[:2]:
        test = {example.prompt for example in draw_cell(suite, task.name, length)}
        assert len(test) == suite.examples_per_cell
        for split, size in splits:
            examples = draw_cell(suite, task.name, length, split=split)
            prompts = {example.prompt for example in examples}
            assert len(prompts) == len(examples) == size
            assert prompts.isdisjoint(test)
            for example in examples:
                assert not routes.complaints(task.name, example.prompt, length=length, split=split)
                assert example.target == routes.answer(task.name, example.prompt)


def test_a_small_space_is_drawn_without_repetition_or_held_out_prompts() -> None:
    # Of the 100 subtractions of one digit 55 are ordered; a shots cell of 16 leaves 39 others.
    shots = {example.prompt for example in draw_cell(MINI, "reverse_subtract", 1, split="shots")}
    task, stream = get_task("reverse_subtract"), Stream("test_cells")
    rest = draw_prompts(stream, task, 1, 39, split="test", held_out=frozenset(shots), distinct=True)
    assert len({*rest, *shots}) == 55


def test_a_space_that_is_too_small_is_said_to_be() -> None:
    with pytest.raises(LgbenchError, match=r"reverse_subtract has too few prompts of length 1 to draw 64"):
        draw_cell(MINI, "reverse_subtract", 1, split="dev")
    with pytest.raises(LgbenchError, match=r"mqar has no prompts of length 1; its shortest have 2"):
        draw_cell(MINI, "mqar", 1)


def test_cells_of_different_keys_share_no_prompt() -> None:
    """A key that forgets a part would give two cells the same prompts."""
    tasks = ("string_copy", "reverse", "capitalize", "capitalize_reverse", "repeat_first")
    drawn = [
        example.prompt
        for suite in SUITES
        for task in tasks
        for split in ("test", "dev", "shots")
        for example in draw_cell(suite, task, 20, split=split)
    ]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("limit", [1, 10, 255, 256, 1000])
def test_a_limit_keeps_the_first_of_a_keyed_permutation(limit: int) -> None:
    words = list(itertools.islice(philox_words("lgbench/mini-v1/limit/dfs_trace/1/12"), 256))
    permutation = sorted(range(256), key=lambda index: words[index])
    assert limited_indices(MINI, Cell("dfs_trace", 12), limit) == sorted(permutation[:limit])


def test_a_tampered_lock_is_found_and_the_cell_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = Cell("mqar", 6)
    lock = {"mqar@1/6": "0" + committed_digest(MINI, cell)[1:]}
    assert lock["mqar@1/6"] != committed_digest(MINI, cell)
    assert checked_cell(MINI, cell) == draw_cell(MINI, "mqar", 6)
    monkeypatch.setattr(cells, "_lock", lambda path: lock)
    with pytest.raises(LgbenchError, match=r"mqar at length 6 in mini-v1 .*task version 1, NumPy [\d.]+: \w{12}"):
        checked_cell(MINI, cell)
    with pytest.raises(LgbenchError, match=r"mqar at length 8 in mini-v1 .* committed: none"):
        checked_cell(MINI, Cell("mqar", 8))


def test_a_suite_without_a_lock_says_how_to_make_one() -> None:
    new = replace(MINI, name="mini-v9")
    assert committed_digest(new, Cell("mqar", 6)) == "none"
    with pytest.raises(LgbenchError, match=r"mqar at length 6 in mini-v9 .* run `lgbench suites lock`"):
        checked_cell(new, Cell("mqar", 6))


@pytest.mark.parametrize(
    "change",
    [
        {"solve": lambda prompt: "a"},
        {"sample": lambda stream, length, count: get_task("reverse").sample(stream, length, count + 1)[1:]},
        {"version": 2},
    ],
    ids=["solve", "sample", "version"],
)
def test_a_changed_task_is_found(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace(get_task("reverse"), **change)
    monkeypatch.setattr(Suite, "task", lambda suite, name: changed)
    with pytest.raises(LgbenchError, match="reverse at length 8 in mini-v1 are not the published ones"):
        checked_cell(MINI, Cell("reverse", 8))
