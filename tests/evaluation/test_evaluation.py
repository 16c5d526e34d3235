"""What an evaluation counts, keeps and refuses, from Python."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.data.tasks import get_task
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.loop import Progress
from lgbench.evaluation.rescoring import rescore
from lgbench.evaluation.stored import read_stored_replies
from lgbench.models.builtin import Echo, Oracle, Random
from lgbench.models.contract import CappedReply
from lgbench.results.schema import Result
from lgbench.util.errors import LgbenchError, ModelError, UnknownNameError


class Scripted:
    """A model that replies with what a function makes of the target."""

    def __init__(self, reply: Callable[[str], object]) -> None:
        self.reply = reply
        self.calls: list[int] = []

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        self.calls.append(len(prompts))
        return [self.reply(get_task(task).solve(prompt)) for prompt in prompts]  # type: ignore[misc]


def of_reverse(predictor: object, **options: object) -> Result:
    """Evaluate `reverse` at length 4 only."""
    return evaluate(predictor, tasks=["reverse"], lengths=[4], **options)  # type: ignore[arg-type]


def test_oracle_is_right_everywhere() -> None:
    result = evaluate(Oracle(), limit=3)
    assert len(result.cells) == 133
    for cell in result.cells:
        counts = cell.counts
        assert (counts.correct, counts.total) == (3, 3)
        assert counts.chars_correct == counts.chars_total > 0
        assert counts.first_wrong == ()
        if cell.task in ("shortest_path", "dfs_trace"):
            assert (counts.valid_moves, counts.right_endpoint) == (3, 3)
        else:
            assert (counts.valid_moves, counts.right_endpoint) == (None, None)
    assert result.batch_invariance is not None
    assert (result.batch_invariance.checked, result.batch_invariance.changed) == (15 * 2 * 3, 0)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda target: target, {"correct": 256, "chars_correct": 1024, "chars_total": 1024}),
        (
            lambda target: target + "x",
            {"starts_with_target": 256, "early": 0, "chars_correct": 1024, "chars_total": 1280},
        ),
        (lambda target: target + "\n", {"correct": 0, "starts_with_target": 256, "empty": 0, "early": 0}),
        (lambda target: " " + target, {"correct": 0, "starts_with_target": 0}),
        (lambda target: target[:3], {"correct": 0, "empty": 0, "early": 256, "chars_correct": 768}),
        (lambda target: target[1:], {"correct": 0, "empty": 0, "early": 0}),
        (lambda target: "", {"empty": 256, "early": 0, "starts_with_target": 0, "chars_total": 1024}),
        (lambda target: "?" + target[1:], {"chars_correct": 768, "chars_total": 1024}),
        (lambda target: "\ud800" * 4, {"correct": 0, "chars_correct": 0}),
        (lambda target: "\ude00\ud83d\ude00\ud83d", {"chars_correct": 0, "chars_total": 256 * 4}),
        (lambda target: "\ud83d\ude00" * 10, {"chars_total": 256 * 10}),
        (lambda target: "\ud83d\ude00" * 4096, {"cut": 0, "chars_total": 256 * 4096}),
        (lambda target: target + "y" * 2**20, {"starts_with_target": 256, "cut": 256, "chars_total": 256 * 4096}),
        (lambda target: CappedReply(target), {"correct": 256, "capped": 256}),
    ],
)
def test_counts_of_one_kind_of_reply(reply: Callable[[str], str], expected: dict[str, int], tmp_path: Path) -> None:
    result = of_reverse(Scripted(reply), output=tmp_path / "run")
    counts = result.cells[0].counts.model_dump()
    assert {name: counts[name] for name in expected} == expected
    assert rescore(tmp_path / "run").result == result


@pytest.mark.parametrize(
    ("reply", "position"),
    [
        (lambda target: "?" + target[1:], 0),
        (lambda target: target[:2] + "?" + target[3:], 2),
        (lambda target: target[:3], 3),
        (lambda target: target + "x", 4),
    ],
)
def test_first_wrong_position(reply: Callable[[str], str], position: int) -> None:
    counts = of_reverse(Scripted(reply)).cells[0].counts
    assert [(each.position, each.count) for each in counts.first_wrong] == [(position, 256)]


def test_digest_is_the_documented_one() -> None:
    assert len(evaluate(Echo(), tasks="reverse", lengths=4).cells) == 1
    result = evaluate(Echo(), tasks=["reverse", "mqar"], lengths=[2, 4])
    suite = load_suite("mini-v1")
    lines = []
    for task in ("reverse", "mqar"):
        for length in (2, 4):
            for example in draw_cell(suite, task, length):
                reply = example.prompt.split("=")[0]
                lines.append(json.dumps([f"{task}-{length}-{example.index}", reply], separators=(",", ":")) + "\n")
    assert result.replies_sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_only_wrong_or_flagged_replies_are_stored(tmp_path: Path) -> None:
    rng = random.Random(0)
    result = of_reverse(Scripted(lambda target: target if rng.random() < 0.5 else "no"), output=tmp_path / "run")
    stored = read_stored_replies(tmp_path / "run" / "replies.jsonl.gz")
    assert len(stored) == 256 - result.cells[0].counts.correct
    assert {reply.text for reply in stored.values()} == {"no"}
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["replies.jsonl.gz", "result.json"]


def test_files_of_the_same_replies_are_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        of_reverse(Echo(), output=tmp_path / name)
    packed = [(tmp_path / name / "replies.jsonl.gz").read_bytes() for name in "ab"]
    assert packed[0] == packed[1]


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_batch_size_changes_no_count(batch_size: int) -> None:
    model = Scripted(lambda target: target)
    result = of_reverse(model, batch_size=batch_size)
    assert result.replies_sha256 == of_reverse(Oracle()).replies_sha256
    in_run = model.calls[:-16]  # the last 16 are the batch-invariance check
    assert sum(in_run) == 256
    assert max(in_run) == min(batch_size, 256)


def test_batch_dependence_is_counted() -> None:
    class Dependent:
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            return ["alone" if len(prompts) == 1 else "together"] * len(prompts)

    check = of_reverse(Dependent()).batch_invariance
    assert check is not None
    assert (check.checked, check.changed) == (16, 16)


def test_progress_adds_up() -> None:
    seen: list[Progress] = []
    evaluate(Oracle(), tasks=["reverse"], lengths=[2, 4], batch_size=100, on_progress=seen.append)
    assert [(each.cell_number, each.cell_done) for each in seen] == [
        (1, 0), (1, 100), (1, 200), (1, 256), (2, 0), (2, 100), (2, 200), (2, 256),
    ]  # fmt: skip
    assert (seen[-1].done, seen[-1].total, seen[-1].correct) == (512, 512, 512)


def test_a_model_says_its_batch_size_device_and_parameters() -> None:
    class Described(Oracle):
        batch_size = 10
        device = "abacus"

        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            assert len(prompts) in (10, 6, 1)
            return super().predict(prompts, task)

    assert of_reverse(Described()).environment.device == "abacus"


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (None, "predict returned NoneType"),
        ("text", "predict returned a single str"),
        (b"bytes", "predict returned a single bytes"),
        (3, "predict returned int"),
        ([], "predict returned 0 replies"),
        (["a"] * 63, "predict returned 63 replies"),
        (["a"] * 65, "predict returned more than 64 replies"),
        (["a"] * 63 + [None], "predict returned NoneType as reply 64"),
        ([1] + ["a"] * 63, "predict returned int as reply 1"),
    ],
)
def test_a_broken_contract_is_told(reply: object, sentence: str) -> None:
    class Broken:
        def predict(self, prompts: Sequence[str], task: str) -> object:
            return reply

    with pytest.raises(ModelError, match=sentence) as caught:
        of_reverse(Broken())
    assert "64 reverse prompts" in str(caught.value)


def test_an_iterator_of_replies_will_do() -> None:
    class Lazy:
        def predict(self, prompts: Sequence[str], task: str) -> object:
            return (get_task(task).solve(prompt) for prompt in prompts)

    assert of_reverse(Lazy()).cells[0].counts.correct == 256


def test_an_error_in_predict_shows_the_users_frames_only() -> None:
    class Failing:
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            return self.helper()

        def helper(self) -> list[str]:
            raise RuntimeError("out of order")

    with pytest.raises(ModelError, match="raised RuntimeError") as caught:
        of_reverse(Failing())
    shown = caught.value.user_traceback
    assert "in helper" in shown
    assert "out of order" in shown
    assert "contract.py" not in shown


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"suite": "mini-v0"}, "Did you mean 'mini-v"),
        ({"arm": "transfr"}, "Did you mean 'transfer'"),
        ({"group": "add-cary"}, "Did you mean 'add-carry'"),
        ({"tasks": ["revers"]}, "Did you mean 'reverse'"),
        ({"lengths": [3]}, "No chosen task has a cell at length 3. Valid: 2, 4"),
        ({"arm": "transfer"}, "name exactly one with --group"),
        ({"arm": "control", "group": ["add-carry", "copy-mqar"]}, "name exactly one with --group"),
        ({"arm": "main_only", "group": "add-carry", "tasks": ["no_carry"]}, "not evaluated under arm 'main_only'"),
        ({"limit": 0}, "Give 1 or more"),
        ({"seed": -1}, "out of range"),
        ({"batch_size": 0}, "Give 1 or more"),
        ({"batch_size": "8"}, "Batch size '8' is out of range"),
        ({"resume": True}, "needs output: the folder of the run to resume"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(LgbenchError, match=sentence):
        evaluate(Oracle(), **options)  # type: ignore[arg-type]


def test_unknown_names_are_their_own_error() -> None:
    with pytest.raises(UnknownNameError):
        evaluate(Oracle(), suite="none")


def test_a_limit_of_a_whole_cell_is_no_limit() -> None:
    assert of_reverse(Oracle(), limit=256).limit is None
    assert of_reverse(Oracle(), limit=255).limit == 255


def test_limited_examples_are_not_the_first() -> None:
    asked: list[str] = []

    class Listening(Oracle):
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            asked.extend(prompts)
            return super().predict(prompts, task)

    of_reverse(Listening(), limit=5)
    prompts = [example.prompt for example in draw_cell(load_suite("mini-v1"), "reverse", 4)]
    positions = [prompts.index(prompt) for prompt in asked[:5]]
    assert positions == sorted(positions)
    assert positions != [0, 1, 2, 3, 4]


def test_random_sees_the_prompt_only() -> None:
    prompts = ["7431+6598=", "hEllO=", "[1]:[2],[2]:[1]?[1]>[2]="]
    first, second, third = Random().predict(prompts, "reverse_add")
    assert [first, second, third] == Random().predict(prompts, "dfs_trace")
    assert first.isdigit()
    assert second.isalpha()
    assert set(third) <= set("[]0123456789")
    assert Random().predict(prompts[::-1], "x") == [third, second, first]


@pytest.mark.parametrize(
    ("prompt", "reply"),
    [
        ("74+65=", "74"),
        ("74-65=", "74"),
        ("74*652=", "74"),
        ("ab=", "ab"),
        ("[1]:[2],[2]:[1]?[1]>[2]=", "[1]:[2],[2]:[1]"),
    ],
)
def test_echo_repeats_the_first_part(prompt: str, reply: str) -> None:
    assert Echo().predict([prompt], "any") == [reply]


def test_attributes_of_other_meaning_are_left_alone() -> None:
    class Busy(Oracle):
        batch_size = "large"

        def prepare(self) -> None:
            raise AssertionError

        def stream(self) -> None:
            raise AssertionError

        def parameters(self) -> list[int]:
            return []

        tokens = None
        prices = "high"

    result = of_reverse(Busy())
    assert result.cells[0].counts.correct == 256
    assert result.usage is None


@pytest.mark.parametrize("given", [Oracle, "oracle"])
def test_a_class_or_a_name_is_no_model(given: object) -> None:
    with pytest.raises(LgbenchError, match=r"^evaluate takes (a model, not a name|an object with predict)"):
        of_reverse(given)


def test_a_model_may_change_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    class Wanderer(Oracle):
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            monkeypatch.chdir("/")
            return super().predict(prompts, task)

    of_reverse(Wanderer(), output="run")
    assert (tmp_path / "run" / "result.json").exists()


def test_a_device_that_is_no_text_spoils_nothing() -> None:
    class Odd(Oracle):
        device = "cuda\ud800" + "x" * 5000

    assert of_reverse(Odd()).environment.device.startswith("cuda?xxx")


@pytest.mark.parametrize("error", [GeneratorExit, BaseException, SystemExit])
def test_whatever_predict_raises_is_told(error: type[BaseException]) -> None:
    class Failing:
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            raise error

    with pytest.raises(ModelError, match=f"raised {error.__name__}"):
        of_reverse(Failing())
