"""The training stream: the same blocks however they are asked for, the right mixture, and no test prompt in it.

After a deliberate change of what is drawn, `python -m tests.regenerate` writes the golden hashes anew.
"""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from lgbench.data.cells import draw_cell
from lgbench.data.groups import TRAINED_ARMS
from lgbench.data.mixtures import Parts
from lgbench.data.stream import BLOCK_EXAMPLES, TrainingData, training_stream
from lgbench.data.suites import SUITES, load_suite
from lgbench.data.task import Example
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.processes import drawn_ahead
from tests import oracles, redraw, routes
from tests.chi_square import LEAST_P, p_value, uniform

MINI = load_suite("mini-v1")
GOLDEN = Path(__file__).parents[1] / "training_blocks.json"
# A group's stream is held in the first suite that has it.
SUITE_OF = {group.name: suite for suite in reversed(SUITES) for group in suite.groups}
GROUP_ARMS = [(group, arm) for group in SUITE_OF for arm in TRAINED_ARMS]


def arm_of(group: str, arm: str) -> Parts:
    return SUITE_OF[group].group(group).mixture(arm).parts


@cache
def block(group: str, arm: str, number: int = 0) -> list[Example]:
    return TrainingData(SUITE_OF[group], arm_of(group, arm)).block(number)


def digest(examples: list[Example]) -> str:
    return hashlib.sha256(json.dumps(examples).encode()).hexdigest()


def golden_hashes() -> dict[str, str]:
    """What GOLDEN should hold, which `tests.regenerate` writes."""
    return {f"{group}/{arm}": digest(block(group, arm)) for group, arm in GROUP_ARMS}


@pytest.mark.parametrize(("group", "arm"), GROUP_ARMS)
@pytest.mark.slow
def test_the_first_block_of_every_arm_is_the_golden_one(group: str, arm: str) -> None:
    assert digest(block(group, arm)) == json.loads(GOLDEN.read_text("utf-8"))[f"{group}/{arm}"]


@pytest.mark.parametrize(("group", "arm"), GROUP_ARMS)
@pytest.mark.slow
def test_training_examples_are_legal_of_the_arm_and_answered_alike_by_another_route(group: str, arm: str) -> None:
    greatest = {part.task: part.max_length for part in arm_of(group, arm)}
    examples = block(group, arm)
    assert [example.index for example in examples] == list(range(BLOCK_EXAMPLES))
    for task, length, _, prompt, target in examples[::4]:
        assert length <= greatest[task]
        assert not routes.complaints(task, prompt, length=length, split="train"), prompt
        assert target == routes.answer(task, prompt), prompt


@cache
def redrawn_cell(split: str, task: str, length: int) -> frozenset[str]:
    if length not in MINI.grid(task):
        return frozenset()
    count, held_out = (256, frozenset[str]()) if split == "test" else (64, redrawn_cell("test", task, length))
    return frozenset(redraw.draw_cell("mini-v1", split, task, length, count=count, held_out=held_out))


def redrawn_held_out(task: str, length: int) -> frozenset[str]:
    return redrawn_cell("test", task, length) | redrawn_cell("dev", task, length)


@pytest.mark.parametrize(
    ("group", "arm", "text", "parts"),
    [
        ("capitalize-reverse", "main_only", "capitalize_reverse@1:8:1", [("capitalize_reverse", 1, 8)]),
        ("add-subtract", "direct", "reverse_add@1:16:1", [("reverse_add", 1, 16)]),
        (
            "add-carry",
            "control",
            "reverse_add@1:8:1/3,copy_first_op@1:16:2/3",
            [("reverse_add", 1, 8), ("copy_first_op", 1, 16), ("copy_first_op", 1, 16)],
        ),
        (
            "copy-mqar",
            "transfer",
            "string_copy@1:8:1/2,mqar@1:16:1/2",
            [("string_copy", 1, 8), ("mqar", 2, 16)],
        ),
    ],
)
@pytest.mark.slow
def test_blocks_are_as_redrawn_from_their_keys(
    group: str, arm: str, text: str, parts: list[tuple[str, int, int]]
) -> None:
    redrawn = redraw.draw_block("mini-v1", text, parts, 7, redrawn_held_out)
    assert [(each.task, each.length, each.prompt) for each in block(group, arm, 7)] == redrawn


def test_the_stream_is_its_blocks_from_any_start() -> None:
    both = block("copy-mqar", "transfer", 0) + block("copy-mqar", "transfer", 1)
    for start in (0, 1, BLOCK_EXAMPLES - 1, BLOCK_EXAMPLES, BLOCK_EXAMPLES + 1):
        stream = training_stream("mini-v1", "copy-mqar", "transfer", start=start)
        assert list(itertools.islice(stream, 5000)) == both[start : start + 5000]


def test_a_block_does_not_depend_on_blocks_drawn_before() -> None:
    data = TrainingData(MINI, arm_of("add-carry", "transfer"))
    forwards = [data.block(number) for number in (0, 1, 2)]
    assert [data.block(number) for number in (2, 1, 0)][::-1] == forwards
    assert forwards[0] == block("add-carry", "transfer")


def vanish(number: int) -> int:
    os._exit(1)


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told() -> None:
    with pytest.raises(LgbenchError, match="this stopped, with workers=0"):
        next(drawn_ahead(vanish, first=0, workers=1))


def interrupted(number: int) -> int:
    os.kill(os.getpid(), signal.SIGINT)
    return number


@pytest.mark.slow
def test_ctrl_c_is_not_for_the_workers() -> None:
    """It reaches every process of a terminal, and the one that trains has the word."""
    blocks = drawn_ahead(interrupted, first=3, workers=1)
    assert [next(blocks), next(blocks)] == [3, 4]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.slow
def test_workers_change_nothing(workers: int) -> None:
    start, count = BLOCK_EXAMPLES - 10, 2 * BLOCK_EXAMPLES
    alone, together = (
        list(itertools.islice(training_stream(MINI, "copy-mqar", "main_only", start=start, workers=number), count))
        for number in (0, workers)
    )
    assert together == alone


def test_main_only_of_two_groups_with_the_same_list_is_one_stream() -> None:
    assert block("add-carry", "main_only") == block("add-subtract", "main_only")
    assert block("add-carry", "direct") == block("add-subtract", "direct")
    assert block("add-carry", "main_only") != block("add-multiply", "main_only")


def test_no_two_blocks_arms_or_suites_share_long_prompts() -> None:
    """A key that forgets the number, the arm or the suite."""
    standard = load_suite("standard-v1")
    blocks = [block("capitalize-reverse", arm, number) for arm in ("transfer", "direct") for number in (0, 1)]
    blocks.append(TrainingData(standard, standard.group("capitalize-reverse").mixture("transfer").parts).block(0))
    prompts = [example.prompt for each in blocks for example in each if example.length >= 8]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize(
    ("group", "arm", "shares"),
    [
        ("add-carry", "transfer", {"reverse_add": 1 / 3, "no_carry": 1 / 3, "carry_only": 1 / 3}),
        ("add-carry", "control", {"reverse_add": 1 / 3, "copy_first_op": 2 / 3}),
        ("capitalize-reverse", "control", {"capitalize_reverse": 1 / 3, "repeat_first": 2 / 3}),
        ("copy-mqar", "transfer", {"string_copy": 1 / 2, "mqar": 1 / 2}),
        ("maze-path", "control", {"shortest_path": 1 / 2, "node_list": 1 / 2}),
        ("maze-trace", "main_only", {"dfs_trace": 1.0}),
    ],
)
def test_tasks_are_drawn_by_share_and_lengths_uniformly(group: str, arm: str, shares: dict[str, float]) -> None:
    greatest = {part.task: part.max_length for part in arm_of(group, arm)}
    cells: dict[tuple[str, int], float] = {}
    for task, share in shares.items():
        lengths = range(2 if task in ("mqar", *oracles.MAZES) else 1, greatest[task] + 1)
        cells |= {(task, length): share / len(lengths) for length in lengths}
    examples = block(group, arm)
    assert p_value(((example.task, example.length) for example in examples), cells) > LEAST_P
    # Position in the block says nothing about the cell.
    if len(shares) > 1:
        follows = Counter(before.task == after.task for before, after in itertools.pairwise(examples))
        assert follows[True] / follows.total() == pytest.approx(sum(share**2 for share in shares.values()), abs=0.03)


def held_out(task: str, length: int) -> set[str]:
    splits = (draw_cell(MINI, task, length), draw_cell(MINI, task, length, split="dev"))
    return {example.prompt for split in splits for example in split}


def test_test_and_dev_prompts_are_left_out_even_where_most_draws_collide() -> None:
    """At length 2 there are 2 704 strings, 320 of them held out; about a thousand are drawn here."""
    excluded = held_out("string_copy", 2)
    assert len(excluded) == 256 + 64
    drawn = [example.prompt for example in block("copy-mqar", "main_only") if example.length == 2]
    assert len(drawn) > 900
    assert excluded.isdisjoint(drawn)


def test_what_is_not_held_out_stays_uniform() -> None:
    excluded = held_out("string_copy", 2)
    blocks = [block("copy-mqar", "main_only", number) for number in range(15)]
    drawn = [example.prompt for each in blocks for example in each if example.length == 2]
    pairs = (f"{first}{second}=" for first, second in itertools.product(redraw.LETTERS, repeat=2))
    assert p_value(drawn, uniform(prompt for prompt in pairs if prompt not in excluded)) > LEAST_P


@pytest.mark.parametrize(
    ("group", "arm"), [("add-carry", "transfer"), ("add-multiply", "direct"), ("copy-mqar", "transfer")]
)
def test_no_training_prompt_stands_in_a_test_or_dev_cell(group: str, arm: str) -> None:
    prompts: dict[tuple[str, int], set[str]] = {}
    for example in itertools.chain(block(group, arm, 0), block(group, arm, 1)):
        prompts.setdefault((example.task, example.length), set()).add(example.prompt)
    for (task, length), drawn in prompts.items():
        if length in MINI.grid(task):
            assert drawn.isdisjoint(held_out(task, length))


def test_lengths_without_a_cell_hold_nothing_out() -> None:
    drawn = {example.prompt for example in block("copy-mqar", "main_only") if example.length == 1}
    assert drawn == {f"{letter}=" for letter in redraw.LETTERS}


@pytest.mark.parametrize(("module", "expected"), [("rows", False), ("batching", True)])
def test_a_process_that_draws_rows_ahead_is_spared_torch(module: str, expected: bool) -> None:
    pytest.importorskip("torch")
    code = f"import sys, lgbench.training.{module}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == str(expected)


def test_wrong_names_are_refused_at_once() -> None:
    with pytest.raises(UnknownNameError, match="'mini' is not a suite"):
        training_stream("mini", "add-carry", "transfer")
    with pytest.raises(UnknownNameError, match="'add' is not a group"):
        training_stream("mini-v1", "add", "transfer")
    with pytest.raises(UnknownNameError, match="'open' is not a trained arm"):
        training_stream("mini-v1", "add-carry", "open")
    for numbers in ({"start": -1}, {"workers": -1}):
        with pytest.raises(LgbenchError, match="must both be 0 or more"):
            training_stream("mini-v1", "add-carry", "transfer", **numbers)
