"""Draft suites: what opens, what is refused and with which sentence, and what becomes of their results."""

from __future__ import annotations

import json
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lgbench.data import suites
from lgbench.data.cells import cell_digest, draw_cell
from lgbench.data.drafts import open_suite
from lgbench.data.groups import ARMS, Arm, Group
from lgbench.data.mixtures import Mixture, Part
from lgbench.data.stream import TrainingData
from lgbench.data.suites import DraftSource, Suite, load_suite
from lgbench.data.task import Domain, Lengths, Stream, Task
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import rescore
from lgbench.models.loading import load_model
from lgbench.results.schema import Result
from lgbench.submissions.eligibility import ineligible
from lgbench.util.errors import LgbenchError, ModelError
from lgbench.util.records import InvalidFileError, read_record

LETTERS = "αβγδεζηθικλμ"
GREEK = Domain(name="greek", alphabet=LETTERS + "=", lengths=Lengths(4, 6, (2, 4, 6, 8)))
FILE = f"""
from lgbench.data.groups import Group
from lgbench.data.suites import Suite
from lgbench.data.task import Domain, Lengths, Task

LETTERS = {LETTERS!r}
GREEK = Domain(name="greek", alphabet=LETTERS + "=", lengths=Lengths(4, 6, (2, 4, 6, 8)))


def draw(stream, length, count):
    picks = stream.below(len(LETTERS), count * length).reshape(count, length).tolist()
    return ["".join(LETTERS[pick] for pick in row) + "=" for row in picks]


def task(name, solve):
    return Task(name=name, version=1, domain=GREEK, definition="Do.", example="αβ=", sample=draw, solve=solve)


turn = task("turn", lambda text: text[-2::-1])
tasks = (turn, task("same", lambda text: text[:-1]), task("one", lambda text: text[0]))
suite = Suite(
    name="greek-v0",
    groups=(Group.in_domain(GREEK, name="turn-same", main="turn", auxiliaries=("same",), control="one"),),
    examples_per_cell=16,
    own_tasks=tasks,
)
not_a_suite = 3
"""


def draw(stream: Stream, length: int, count: int) -> list[str]:
    picks = stream.below(len(LETTERS), count * length).reshape(count, length).tolist()
    return ["".join(LETTERS[pick] for pick in row) + "=" for row in picks]


def copy(prompt: str) -> str:
    return prompt[:-1]


def first(prompt: str) -> str:
    return prompt[0]


def turn(prompt: str) -> str:
    return prompt[-2::-1]


TURN = Task(name="turn", version=1, domain=GREEK, definition="Turn.", example="αβ=", sample=draw, solve=turn)
OTHERS = (replace(TURN, name="same", solve=copy), replace(TURN, name="one", solve=first))
GROUP = Group.in_domain(GREEK, name="turn-same", main="turn", auxiliaries=("same",), control="one")
MADE = Suite(name="made-v0", groups=(GROUP,), examples_per_cell=16, own_tasks=(TURN, *OTHERS))


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "_opened", {})


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(FILE, encoding="utf-8")
    return "mine.py:suite"


def with_task(**changes: Any) -> Suite:
    return replace(MADE, own_tasks=(replace(TURN, **changes), *OTHERS))


def with_group(**changes: Any) -> Suite:
    return replace(MADE, groups=(replace(GROUP, **changes),))


def test_a_file_opens_once_and_is_found_by_name(file: str) -> None:
    suite = open_suite(file)
    assert suite.draft is not None
    assert suite.draft.reference == file
    assert open_suite(file) is open_suite("greek-v0") is load_suite("greek-v0") is suite
    assert [task.name for task in suite.tasks] == ["turn", "same", "one"]
    assert open_suite("mini-v1") is load_suite("mini-v1")


def test_a_file_that_changed_takes_the_place_of_what_was_open(file: str) -> None:
    before = open_suite(file)
    Path("mine.py").write_text(FILE.replace("examples_per_cell=16", "examples_per_cell=8"), encoding="utf-8")
    assert open_suite(file).examples_per_cell == 8
    assert load_suite("greek-v0") != before


def test_modules_and_entry_points_open_too(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("a_package_of_mine.py").write_text(FILE, encoding="utf-8")
    assert open_suite("a_package_of_mine:suite").draft == DraftSource(
        "a_package_of_mine:suite",
        open_suite("a_package_of_mine:suite").draft.sha256,  # type: ignore[union-attr]
    )

    class Point:
        name, value = "theirs", "a_package_of_mine:suite"

        def load(self) -> Suite:
            return MADE

    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [Point()] if group == "lgbench.suites" else [])
    assert open_suite("theirs").name == "made-v0"
    with pytest.raises(LgbenchError, match=r"'thiers' is not a suite.*Did you mean 'theirs'"):
        open_suite("thiers")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("none.py:suite", "There is no file 'none.py'"),
        ("mine.py", "needs an attribute, as in my_task.py:suite. Suites there: suite"),
        ("mine.py:siute", "has no attribute 'siute'. Suites there: suite"),
        ("mine.py:not_a_suite", "is of type int. It must be an lgbench.Suite"),
        ("no_such_module:suite", "there is no module 'no_such_module'"),
        ("mini-v9", "'mini-v9' is not a suite.*Valid: mini-v1, standard-v1"),
    ],
)
def test_what_is_no_suite_is_refused(reference: str, message: str, file: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        open_suite(reference)


class _Forgetful:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prompt: str) -> str:
        self.calls += 1
        return prompt[:-1] if self.calls < 30 else prompt[0]


def _fails(prompt: str) -> str:
    raise ZeroDivisionError("no")


def _global(stream: Stream, length: int, count: int) -> list[str]:
    return ["".join(random.choice(LETTERS) for _ in range(length)) + "=" for _ in range(count)]


def _global_numpy(stream: Stream, length: int, count: int) -> list[str]:
    np.random.seed(0)
    return draw(stream, length, count)


def _unseeded(stream: Stream, length: int, count: int) -> list[str]:
    picks = np.random.default_rng().integers(len(LETTERS), size=(count, length))
    return ["".join(LETTERS[pick] for pick in row) + "=" for row in picks.tolist()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample": lambda stream, length, count: draw(Stream("x", length), length, count)}, "turn repeats itself"),
        ({"sample": lambda stream, length, count: draw(stream, 5, count)}, "turn ignores its length"),
        ({"sample": _global}, "uses a global random generator"),
        ({"sample": _global_numpy}, "uses a global random generator"),
        ({"sample": _unseeded}, "gave other prompts when it drew from the same stream again"),
        ({"sample": lambda stream, length, count: draw(stream, length, count - 1)}, "returned 63"),
        ({"sample": lambda stream, length, count: 3}, "returned 3. It must return a list of texts"),
        ({"sample": lambda stream, length, count: [b"x"] * count}, "must return a list of texts"),
        ({"sample": lambda stream, length, count: 1 // 0}, "The sampler of turn.* raised ZeroDivisionError"),
        ({"train_sample": _global}, "uses a global random generator"),
        (
            {"sample": lambda stream, length, count: [f"{text[0]}{text[-2] * (length - 1)}=" if length > 2 else "αβ="
                                                      for text in draw(stream, length, count)]},
            "turn has too few prompts of length 2 to draw 16.* Begin the grid with a greater length",
        ),
        ({"solve": _fails}, "solve of turn, given 'αβ=', raised ZeroDivisionError: no"),
        ({"solve": _Forgetful()}, "solve of turn is not a function of the prompt"),
        ({"solve": lambda prompt: None}, "solve of turn returned None"),
        ({"solve": lambda prompt: prompt[:-1] + "!"}, "A target of turn, .* has '!', which is not in the alphabet"),
        ({"example": "ab="}, "A prompt of turn, 'ab=', has 'a', which is not in the alphabet"),
        ({"second_route": copy}, "solve of turn answers 'αβ=' with 'βα', but its second_route with 'αβ'"),
        ({"name": "reverse"}, "A task of the name 'reverse' is published"),
        ({"name": "Turn-1"}, "'Turn-1' is not a name for a task. Use lower-case letters, digits and underscores"),
        ({"version": 0}, "version=0 of turn"),
        ({"domain": "greek"}, "is no lgbench.data.task.Domain"),
        ({"domain": replace(GREEK, alphabet="ββ=")}, "repeats a character"),
        ({"domain": replace(GREEK, tokens=("<x>",))}, "'<x>' is not a token"),
        ({"min_length": 4}, "turn has no prompts of length 2; its shortest have 4"),
    ],
)  # fmt: skip
def test_an_unsound_task_is_refused_with_a_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        open_suite(with_task(**change))
    assert not suites.opened_suites()


def test_errors_of_the_users_code_come_with_its_frames() -> None:
    with pytest.raises(ModelError) as caught:
        open_suite(with_task(solve=_fails))
    assert 'raise ZeroDivisionError("no")' in caught.value.user_traceback


def _arm(mixture: Callable[[Group], Any], **changes: Any) -> dict[str, Any]:
    return {"arms": (*ARMS, replace(Arm(name="mine", mixture=mixture, summary="x"), **changes))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "A b"}, "'A b' is not a name for a group"),
        ({"auxiliaries": "same"}, "auxiliaries of the group 'turn-same' are 'same'. Write a tuple"),
        ({"auxiliaries": ()}, "Write a tuple with at least 1"),
        ({"auxiliaries": ("turn",)}, "must differ: turn, turn, one"),
        ({"control": "tow"}, "'tow' is not a task"),
        ({"grid": range(2, 9)}, "lengths in the grid of the group 'turn-same' are range"),
        ({"grid": (2,)}, "with at least 2"),
        ({"grid": (4, 2)}, "must ascend"),
        ({"grid": (5, 6)}, "must begin at main_length=4 or below"),
        ({"grid": (0, 2)}, "must be numbers from 1"),
        ({"main_length": 6}, "main_length=6 .* must be below aux_length=6"),
        (_arm(lambda group: 3), "returned int, not a Mixture"),
        (_arm(lambda group: 1 // 0), "The function of arm 'mine'.* raised ZeroDivisionError"),
        (_arm(lambda group: Mixture((Part("reverse", 4, Fraction(1)),))), "An arm trains tasks of its group"),
        (_arm(lambda group: group.mixture("transfer"), name="transfer"), "have one name"),
        (_arm(lambda group: group.mixture("transfer"), name="open"), "Choose another name"),
        (_arm(lambda group: group.mixture("transfer"), baseline="nothing"), "which is not an arm of turn-same"),
    ],
)
def test_an_unsound_group_is_refused_with_a_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        open_suite(with_group(**change))


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (replace(MADE, name="mini-v1"), "'mini-v1' is published"),
        (replace(MADE, name="../x"), "not a name for a suite"),
        (replace(MADE, examples_per_cell=0), "must be 1 to 100,000"),
        (replace(MADE, groups=[GROUP]), "Write a tuple"),  # type: ignore[arg-type]
        (replace(MADE, groups=(GROUP, GROUP)), "two groups of one name"),
        (replace(MADE, own_tasks=(TURN, TURN, *OTHERS)), "A task of the name 'turn' is"),
    ],
)
def test_an_unsound_suite_is_refused_with_a_sentence(suite: Suite, message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        open_suite(suite)


@pytest.mark.slow
def test_two_drafts_cannot_have_one_name(file: str) -> None:
    open_suite(file)
    Path("other.py").write_text(FILE, encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"'greek-v0' is open already \(mine.py:suite\)"):
        open_suite("other.py:suite")


def test_a_suite_that_python_made_is_evaluated_and_marked(tmp_path: Path) -> None:
    result = evaluate(load_model("oracle"), suite=MADE, output=tmp_path)
    assert all(cell.counts.correct == cell.counts.total == 16 for cell in result.cells)
    assert result.draft is not None
    assert result.draft.reference is None
    digests = [cell_digest(draw_cell(load_suite("made-v0"), cell.task, cell.length)) for cell in result.cells]
    assert [cell.sha256 for cell in result.cells] == digests
    assert read_record(tmp_path / "result.json", Result) == result == rescore(tmp_path).result
    assert [problem.field for problem in ineligible(result)] == ["suite"]
    assert [problem.field for problem in ineligible(result.model_copy(update={"draft": None}))] == ["suite"]


@pytest.mark.slow
def test_a_result_is_refused_until_its_draft_is_named(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(load_model("oracle"), suite=open_suite(file), arm="transfer", group="turn-same", output="run")
    monkeypatch.setattr(suites, "_opened", {})
    with pytest.raises(
        InvalidFileError, match=r"of the draft suite 'greek-v0' \(mine.py:suite\). Name it: --suite mine"
    ):
        rescore("run")
    open_suite(file)
    assert rescore("run").result.suite == "greek-v0"


@pytest.mark.slow
def test_a_draft_that_changed_no_longer_fits_its_results(file: str) -> None:
    evaluate(load_model("oracle"), suite=open_suite(file), output="run")
    Path("mine.py").write_text(FILE.replace("text[-2::-1]", "text[:-1]"), encoding="utf-8")
    open_suite(file)
    with pytest.raises(InvalidFileError, match="is not the hash of turn at length 2 in greek-v0"):
        rescore("run")
    with pytest.raises(LgbenchError, match="holds another finished run"):
        evaluate(load_model("oracle"), suite="greek-v0", output="run", resume=True)


def test_a_published_result_has_the_bytes_that_it_always_had(tmp_path: Path) -> None:
    evaluate(load_model("echo"), tasks="reverse", lengths=4, limit=2, output=tmp_path)
    assert "draft" not in json.loads((tmp_path / "result.json").read_text("utf-8"))


def test_an_unknown_arm_of_a_published_suite_is_refused(tmp_path: Path) -> None:
    evaluate(load_model("echo"), tasks="reverse", lengths=4, limit=2, output=tmp_path)
    text = (tmp_path / "result.json").read_text("utf-8").replace('"arm": "open"', '"arm": "mine"')
    (tmp_path / "result.json").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidFileError, match=r"'mine' is not an arm\. Valid: main_only"):
        read_record(tmp_path / "result.json", Result)


OTHER_PROCESS = """
import pickle, sys
from lgbench.data.suites import opened_suites
suite = pickle.loads(sys.stdin.buffer.read())
assert opened_suites() == (suite,) and suite.draft.reference, suite
print(suite.name, suite.task("turn").solve("αβγ="))
"""


def in_another_process(suite: Suite) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-X", "utf8", "-c", OTHER_PROCESS]
    return subprocess.run(command, input=pickle.dumps(suite), capture_output=True, check=False)


@pytest.mark.slow
def test_another_process_opens_the_same_file(file: str) -> None:
    suite = open_suite(file)
    done = in_another_process(suite)
    assert done.stdout.decode("utf-8").strip() == "greek-v0 γβα", done.stderr
    Path("mine.py").write_text(FILE + "\n", encoding="utf-8")
    assert b"The file of the draft suite mine.py:suite has changed since" in in_another_process(suite).stderr


def test_a_suite_that_python_made_travels_if_its_functions_do() -> None:
    suite = open_suite(MADE)
    assert pickle.loads(pickle.dumps(suite)) == suite
    lambdas = open_suite(
        replace(MADE, name="made-v1", own_tasks=(replace(TURN, solve=lambda text: text[-2::-1]), *OTHERS))
    )
    with pytest.raises(LgbenchError, match=r"cannot be sent to another process.*Put it into a file"):
        pickle.dumps(lambdas)


def test_the_training_stream_of_a_draft_holds_out_its_cells(file: str) -> None:
    suite = open_suite(file)
    parts = suite.group("turn-same").mixture("transfer").parts
    block = TrainingData(suite, parts).block(0)
    held_out = {example.prompt for split in ("test", "dev") for example in draw_cell(suite, "turn", 2, split=split)}
    drawn = {example.prompt for example in block if (example.task, example.length) == ("turn", 2)}
    assert len(drawn) > 20
    assert not drawn & held_out
    assert {example.task: example.length for example in block}.keys() == {"turn", "same"}


def test_the_random_model_writes_in_the_alphabet_of_the_prompt() -> None:
    replies = load_model("random").predictor.predict(["αβγα="] * 2, "turn")  # type: ignore[union-attr]
    assert replies[0] == replies[1]
    assert re.fullmatch("[αβγ]+", replies[0])
