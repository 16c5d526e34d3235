"""Every task against its definition: worked examples, invariants, and answers found by another route."""

import hashlib
import random
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lgbench.data.cells import draw_cell
from lgbench.data.suites import SUITES, Cell, Suite, load_suite
from lgbench.data.task import Stream, Task, Walk
from lgbench.data.task_checks import check_task
from lgbench.data.tasks import TASKS, get_task
from lgbench.evaluation.grading import CellGrader, as_reply
from lgbench.results.schema import MAX_REPLY_CHARS
from lgbench.util.errors import UnknownNameError
from tests import oracles, routes
from tests.prompts import Drawn, drawn_prompts

MAZE = "[2]:[3][1][10],[1]:[2],[3]:[2],[10]:[2]?[1]>[10]="
# The worked examples of the definition: 1347 and 8956 (256 for cot_multiply), "hEllO" and a maze of four nodes.
WORKED_EXAMPLES = (
    ("reverse_add", "7431+6598=", "30301"),
    ("no_carry", "7431+6598=", "39290"),
    ("carry_only", "7431+6598=", "01111"),
    ("reverse_subtract", "6598-7431=", "90670"),
    ("copy_first_op", "7431+6598=", "7431"),
    ("cot_multiply", "7431*652=", "2808+05376+004962=238443"),
    ("string_copy", "hEllO=", "hEllO"),
    ("reverse", "hEllO=", "OllEh"),
    ("capitalize", "hEllO=", "HeLLo"),
    ("capitalize_reverse", "hEllO=", "oLLeH"),
    ("mqar", "hEkqOwZ=kq", "OwZ"),
    ("repeat_first", "hEllO=", "hhhhh"),
    ("shortest_path", MAZE, "[1][2][10]"),
    ("dfs_trace", MAZE, "[1][2][3][2][10]"),
    ("node_list", MAZE, "[2][1][3][10]"),
)
# Answers at the edges of the definition, worked out by hand.
EDGE_CASES = (
    ("reverse_add", "0+0=", "00"),
    ("reverse_add", "999+1=", "0001"),
    ("reverse_add", "1+999=", "0001"),
    ("no_carry", "999+1=", "0990"),
    ("no_carry", "5+59=", "090"),
    ("carry_only", "999+1=", "0111"),
    ("carry_only", "919+191=", "0111"),
    ("carry_only", "0+0=", "00"),
    ("reverse_subtract", "0001-1=", "99900"),
    ("reverse_subtract", "7431-7431=", "00000"),
    ("copy_first_op", "7431+1=", "7431"),
    ("cot_multiply", "0*001=", "0+00+000=00"),
    ("cot_multiply", "7*201=", "41+00+007=417"),
    ("cot_multiply", "01*001=", "0+00+0001=0001"),
    ("mqar", "ab=a", "b"),
    ("mqar", "aaab=aaa", "b"),
    ("mqar", "abaB=b", "aB"),
    ("dfs_trace", "[1]:[2],[2]:[1]?[2]>[1]=", "[2][1]"),
    ("dfs_trace", "[2]:[10][1][3],[1]:[2],[3]:[2],[10]:[18][2],[18]:[10]?[1]>[3]=", "[1][2][10][18][10][2][3]"),
    ("shortest_path", "[2]:[10][1][3],[1]:[2],[3]:[2],[10]:[18][2],[18]:[10]?[1]>[3]=", "[1][2][3]"),
)
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
redrawn_task = pytest.mark.parametrize("task", routes.REDRAWN, ids=lambda task: task.name)


def suites_with(task: Task) -> list[Suite]:
    """The suites that have a task, the oldest first, of which `mini-v1` is the first."""
    return [suite for suite in SUITES if task in suite.tasks]


@pytest.mark.parametrize(("task", "prompt", "target"), WORKED_EXAMPLES + EDGE_CASES)
def test_worked_examples(task: str, prompt: str, target: str) -> None:
    assert get_task(task).solve(prompt) == target
    assert routes.answer(task, prompt) == target


def test_every_task_has_an_oracle_and_a_worked_example() -> None:
    assert sorted(oracles.TASKS) == sorted(example[0] for example in WORKED_EXAMPLES)
    assert all(routes.answer(task.name, task.example) == task.solve(task.example) for task in TASKS)


def test_an_unknown_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"'reverse_ad' is not a task\. Did you mean 'reverse_add'\?"):
        get_task("reverse_ad")


@every_task
def test_the_instruction_is_one_paragraph_with_a_right_example(task: Task) -> None:
    assert "\n" not in task.instruction
    answer = routes.answer(task.name, task.example)
    assert task.instruction == f"{task.definition} Example: {task.example} gives {answer}."


def test_the_instructions_stay_as_the_protocol_fixes_them() -> None:
    names = sorted({cell.task for cell in load_suite("mini-v1").cells()})
    texts = "\n".join(get_task(name).instruction for name in names)
    assert hashlib.sha256(texts.encode()).hexdigest() == (
        "7018c5b7ccba825b3d385be9ed6bf8e97bdc00c02bb359b5f07efd53005219ba"
    )


@every_task
@pytest.mark.parametrize("split", ["test", "train"])
def test_prompts_are_legal_and_answered_alike_by_another_route(task: Task, split: str) -> None:
    for length in (*range(task.min_length, 21), 33, 64):
        prompts = task.sampler(split)(Stream("test_tasks", task.name, split, length), length, 50)
        assert len(prompts) == 50
        for prompt in prompts:
            assert not routes.complaints(task.name, prompt, length=length, split=split), prompt
            assert task.solve(prompt) == routes.answer(task.name, prompt), prompt


@every_task
def test_every_cell_of_a_suite_is_legal_and_answered_alike_by_another_route(task: Task) -> None:
    suite = suites_with(task)[0]
    for length in suite.grid(task.name):
        for index, example in enumerate(draw_cell(suite, task.name, length)):
            assert example.id == f"{task.name}-{length}-{index}"
            assert not routes.complaints(task.name, example.prompt, length=length, split="test"), example.prompt
            assert example.target == routes.answer(task.name, example.prompt), example.prompt


@redrawn_task
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_drawn_prompts_are_answered_alike_by_another_route(task: Task, data: st.DataObject) -> None:
    prompt, length, split = data.draw(drawn_prompts(task.name))
    assert not routes.complaints(task.name, prompt, length=length, split=split)
    assert task.solve(prompt) == routes.answer(task.name, prompt)


@every_task
def test_sampling_depends_on_the_stream_alone_and_leaves_the_global_generators_alone(task: Task) -> None:
    def draw_after_seeding(seed: int, *, sampling: bool) -> tuple[list[list[str]], float, float]:
        random.seed(seed)
        np.random.seed(seed)
        splits = ("test", "train") if sampling else ()
        prompts = [task.sampler(split)(Stream("same", split), 8, 20) for split in splits]
        return prompts, random.random(), float(np.random.random())

    prompts, *after = draw_after_seeding(1, sampling=True)
    assert draw_after_seeding(1, sampling=False)[1:] == tuple(after)
    assert draw_after_seeding(2, sampling=True)[0] == prompts
    assert task.sample(Stream("another"), 8, 20) != prompts[0]


@redrawn_task
def test_the_least_length_is_the_least_for_which_a_prompt_exists(task: Task) -> None:
    assert task.min_length == (2 if task.name in ("mqar", *oracles.MAZES) else 1)


@every_task
def test_a_published_task_passes_the_checks_of_a_draft(task: Task) -> None:
    for suite in suites_with(task):
        check_task(suite, task)


@every_task
def test_prompts_and_targets_are_plain_text_within_the_caps(task: Task) -> None:
    suite = max(suites_with(task), key=lambda suite: suite.grid(task.name)[-1])
    for example in draw_cell(suite, task.name, suite.grid(task.name)[-1]):
        assert re.fullmatch("[!-~]+", example.prompt + example.target)
        # Even with one token a character, the generation cap 4 * len(prompt) + 32 lets the whole target through.
        assert len(example.target) < min(4 * len(example.prompt) + 32, MAX_REPLY_CHARS)


@every_task
def test_every_target_is_right_and_nothing_else_is(task: Task) -> None:
    for example in draw_cell(suites_with(task)[0], task.name, 8)[:32]:
        target = example.target
        wrong = {"", target[:-1], target[1:], target + target[-1], f" {target}", f"{target} ", f"{target}\n"}
        wrong |= {target[::-1], target.swapcase(), example.prompt} - {target}
        oracle, others = CellGrader(task), CellGrader(task)
        assert oracle.add(example, as_reply(target))
        assert not any(others.add(example, as_reply(reply)) for reply in wrong)
        assert (oracle.counts().correct, oracle.counts().total) == (1, 1)
        assert (others.counts().correct, others.counts().total) == (0, len(wrong))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(drawn_prompts("reverse_add"))
def test_the_parts_of_an_addition_make_the_sum(drawn: Drawn) -> None:
    prompt, _, _ = drawn
    total, digits, carries = (get_task(name).solve(prompt) for name in ("reverse_add", "no_carry", "carry_only"))
    assert total == "".join(str((int(digit) + int(carry)) % 10) for digit, carry in zip(digits, carries, strict=True))
    a, b = (int(operand[::-1]) for operand in oracles.operands(prompt))
    assert int(total[::-1]) == a + b


ILLEGAL = (
    ("reverse_add", "7431+650=", 4, "train"),  # a leading zero
    ("reverse_add", "7431+65=", 4, "test"),  # operands of different lengths
    ("reverse_add", "743+659=", 4, "train"),  # no operand of this length
    ("reverse_add", "7431-6598=", 4, "test"),
    ("copy_first_op", "65+7431=", 4, "train"),  # the second is longer
    ("reverse_subtract", "7431-6598=", 4, "test"),  # the first is less
    ("cot_multiply", "7431*52=", 4, "train"),  # two digits
    ("string_copy", "hEllO", 5, "test"),
    ("string_copy", "hEllO=", 4, "test"),
    ("string_copy", "hEl1O=", 5, "test"),
    ("mqar", "hEkqOkq=kq", 7, "test"),  # the query occurs twice
    ("mqar", "aaab=aa", 4, "test"),  # it occurs twice, overlapping itself
    ("mqar", "hEkqOwZ=wZ", 7, "test"),  # it ends the string
    ("mqar", "hEkqOwZ=EkqO", 7, "test"),  # it is too long
    ("node_list", MAZE, 5, "test"),
    ("node_list", "[2]:[1],[1]:[2],[1]:[2]?[1]>[2]=", 3, "test"),  # an entry twice
    ("node_list", "[2]:[4],[4]:[2]?[2]>[4]=", 2, "test"),  # no neighbours on the grid
    ("node_list", "[8]:[9],[9]:[8]?[8]>[9]=", 2, "test"),  # neighbours by number, at opposite ends of two rows
    ("node_list", "[2]:[1][3],[1]:[2],[3]:[1]?[1]>[2]=", 3, "test"),  # an edge at one end only
    ("node_list", "[1]:[2],[2]:[1]?[1]>[1]=", 2, "test"),  # START is GOAL
    ("node_list", "[1]:[2],[2]:[1]?[1]>[3]=", 2, "test"),  # GOAL is no node
    ("node_list", "[1]:[2],[2]:[1],[4]:[5],[5]:[4]?[1]>[2]=", 4, "test"),  # two parts
    ("node_list", "[1]:[2][9],[2]:[1][10],[9]:[1][10],[10]:[2][9]?[1]>[2]=", 4, "test"),  # a cycle
    ("node_list", "[64]:[65],[65]:[64]?[64]>[65]=", 2, "test"),  # off the grid
)


@pytest.mark.parametrize(("task", "prompt", "length", "split"), ILLEGAL)
def test_the_check_for_legal_prompts_can_fail(task: str, prompt: str, length: int, split: str) -> None:
    assert routes.complaints(task, prompt, length=length, split=split)


def test_the_oracles_are_independent_of_the_package() -> None:
    assert "import lgbench" not in Path(oracles.__file__).read_text("utf-8").replace("from lgbench", "import lgbench")


WALKS = (
    ("[1][2][10]", True, True),
    ("[1][2][3][2][10]", True, True),
    ("[1][2][3]", True, False),
    ("[1]", True, False),
    ("[10]", False, True),
    ("[2][10]", False, True),  # does not begin at START
    ("[1][10]", False, True),  # no edge
    ("[1][1][2][10]", False, True),
    ("[1][2][11]", False, False),  # no node of the maze
    ("", False, False),
    ("[1][2][10] ", False, False),
    (" [1][2][10]", False, False),
    ("[1][2][10]\n", False, False),
    ("[1][2][10", False, False),
    ("1,2,10", False, False),
    ("[1][2][][10]", False, False),
    ("[01][2][10]", False, True),
    ("[1][2][1\u0660]", False, False),  # an Arabic digit
)


@pytest.mark.parametrize(("reply", "valid_moves", "right_endpoint"), WALKS)
def test_walks_are_diagnosed(reply: str, valid_moves: bool, right_endpoint: bool) -> None:
    for name in ("shortest_path", "dfs_trace"):
        walk = get_task(name).walk
        assert walk
        assert walk(MAZE, reply) == Walk(valid_moves=valid_moves, right_endpoint=right_endpoint)


@every_task
def test_path_tasks_alone_diagnose_walks_and_find_no_fault_in_targets(task: Task) -> None:
    assert (task.walk is not None) == (task.name in ("shortest_path", "dfs_trace"))
    if task.walk:
        suite = suites_with(task)[0]
        for cell in (Cell(task.name, length) for length in suite.grid(task.name)):
            for example in draw_cell(suite, *cell):
                assert task.walk(example.prompt, example.target) == Walk(valid_moves=True, right_endpoint=True)
