"""`lgbench doctor` on models that break the contract, each in one way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from lgbench.cli import main
from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.doctor.examining import examine
from lgbench.models.builtin import Echo, Oracle
from lgbench.models.contract import CappedReply, Predictor, StreamingPredictor, Tokens
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.models.recorded import RecordedReplies
from lgbench.results.schema import SystemInfo
from tests.loopback import Serve, right_answer

MINI = load_suite("mini-v1")


def findings(predictor: Predictor | RecordedReplies, *tasks: str) -> dict[str, tuple[str, str]]:
    """The state and the detail of each check, with time for all of them."""
    model = Model(predictor, SystemInfo(model="x", kind="object"))
    return {each.check: (each.state, each.detail) for each in examine(model, suite=MINI, tasks=tasks, seconds=1e6)}


class Changed:
    """The oracle, whose prompts and replies a rule changes."""

    def __init__(self, rule: Callable[[list[str], list[str]], Sequence[object]]) -> None:
        self.calls = 0
        self._rule = rule

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        self.calls += 1
        return self._rule(list(prompts), Oracle().predict(prompts, task))  # type: ignore[return-value]


def bad_checks(found: dict[str, tuple[str, str]]) -> set[str]:
    return {check for check, (state, _) in found.items() if state != "ok"}


@pytest.mark.slow
def test_a_sound_model_passes() -> None:
    found = findings(Echo())
    assert bad_checks(found) == set()
    assert {"time for mini-v1", "time for standard-v1", "batch size 1", "batch size 256"} <= found.keys()
    longest = max(len(example.prompt) for cell in MINI.cells() for example in checked_cell(MINI, cell))
    assert f"{longest} characters" in found["the longest prompt"][1]


def test_replies_in_another_order() -> None:
    found = findings(Changed(lambda prompts, replies: sorted(replies)), "reverse")
    assert found["in the order of the prompts"][0] == "problem"


def test_prompts_that_change_the_replies_around_them_are_not_a_matter_of_order() -> None:
    def beside(prompts: list[str], replies: Sequence[str]) -> Sequence[str]:
        return [reply + before[0] for reply, before in zip(replies, ["-", *prompts], strict=False)]

    state, detail = findings(Changed(beside), "reverse")["in the order of the prompts"]
    assert state == "warning"
    assert detail.endswith("not their order, but the prompts around them change them")


def test_replies_that_change_on_a_repeat() -> None:
    model = Changed(lambda prompts, replies: [reply + str(model.calls) for reply in replies])
    found = findings(model, "reverse")
    assert found["the same on a repeat"][0] == "problem"
    compared = {"in the order of the prompts", "the same one by one", "the same among longer prompts"}
    assert {check for check, (state, _) in found.items() if state == "untried"} == compared
    assert found["the longest prompt"][0] == "ok"


def test_a_task_that_the_model_does_not_know() -> None:
    class Lookup:
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            return ["x" * {"reverse": 1, "string_copy": 2}[task] for _ in prompts]

    state, detail = findings(Lookup(), "reverse", "capitalize", "string_copy", "mqar")["every other task"]
    assert state == "problem"
    assert detail.startswith("fails on capitalize, mqar: ")
    assert "KeyError" in detail


def test_replies_that_depend_on_the_batch_size() -> None:
    found = findings(Changed(lambda prompts, replies: [f"{len(prompts)}" for _ in prompts]), "reverse")
    assert found["the same on a repeat"][0] == "ok"
    assert found["the same one by one"][0] == "warning"


def test_replies_that_depend_on_the_longest_prompt_beside_them() -> None:
    found = findings(Changed(lambda prompts, replies: [f"{max(map(len, prompts))}" for _ in prompts]), "reverse")
    always = {"the same among longer prompts", "in the order of the prompts"}  # the six are of one length
    assert bad_checks(found) == always | (bad_checks(found) & {"no prompts, no replies"})


def test_a_model_that_takes_one_length_at_a_time_is_only_warned() -> None:
    def of_one_length(prompts: list[str], replies: Sequence[str]) -> Sequence[str]:
        if len({len(prompt) for prompt in prompts}) > 1:
            raise ValueError("expected sequence of length 4")
        return replies

    found = findings(Changed(of_one_length), "reverse")
    assert bad_checks(found) == {"the same among longer prompts"}
    state, detail = found["the same among longer prompts"]
    assert state == "warning"
    assert detail.startswith("a call with prompts of two lengths failed: The model's predict, given 12 reverse prompts")
    assert detail.endswith("raised ValueError: expected sequence of length 4")


@pytest.mark.parametrize("kind", ["tiny", "hf", "api"])
def test_any_kind_of_model_can_be_examined(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("openai" if kind == "api" else "torch")
    if kind == "api":
        serve: Serve = request.getfixturevalue("serve")
        model, _ = serve(lambda number, body: right_answer(body), concurrency="8")
    elif kind == "tiny":
        model = load_model("tiny:transfer")
    else:
        pytest.importorskip("transformers")
        pytest.importorskip("accelerate")
        from benchmarks.llama import make_llama

        model = load_model(f"hf:{make_llama(tmp_path, end_weight=4.0)}")
    found = {each.check: each for each in examine(model, suite=MINI, tasks=["reverse"], seconds=1e6)}
    assert {"one reply for each prompt", "the same one by one", "batch size 256", "time for mini-v1"} <= found.keys()
    assert {each.check for each in found.values() if each.state in ("problem", "untried")} == set()
    if kind == "api":
        assert {each.state for each in found.values()} == {"ok"}
        assert re.match("[0-9,]+ tokens read", found["used by the doctor"].detail)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda prompts, replies: replies[:-1], "returned 5 replies"),
        (lambda prompts, replies: [None] * len(prompts), "returned NoneType as reply 1"),
        (lambda prompts, replies: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_what_breaks_the_contract_ends_the_examination(
    rule: Callable[[list[str], list[str]], Sequence[object]], message: str
) -> None:
    found = findings(Changed(rule), "reverse")
    state, detail = found["works"]
    assert state == "problem"
    assert message in detail
    assert "batch size 1" not in found


def test_a_reply_that_never_ends_is_told() -> None:
    found = findings(Changed(lambda prompts, replies: [CappedReply("a") for _ in prompts]), "reverse")
    assert found["the longest prompt"][0] == "warning"


def test_a_reply_that_would_be_cut_is_told() -> None:
    found = findings(Changed(lambda prompts, replies: ["a" * 4097 for _ in prompts]), "reverse")
    assert found["a reply"][0] == "warning"
    assert "cut after 4096 characters" in found["a reply"][1]


def test_a_reply_to_the_longest_prompt_that_would_be_cut_is_told() -> None:
    found = findings(Changed(lambda prompts, replies: ["a" * 200 * len(prompt) for prompt in prompts]), "reverse")
    assert found["a reply"][0] == "ok"
    assert found["the longest prompt"][0] == "warning"


def test_without_time_only_what_is_always_asked_is_tried() -> None:
    model = Changed(lambda prompts, replies: replies)
    system = SystemInfo(model="x", kind="object")
    found = {
        each.check: each
        for each in examine(Model(model, system), suite=MINI, tasks=["reverse", "capitalize"], seconds=0)
    }
    untried = {check for check, finding in found.items() if finding.state == "untried"}
    assert untried == {
        "the same on a repeat", "in the order of the prompts", "the same one by one",
        "the same among longer prompts", "every other task", "the longest prompt", "batch size 4",
    }  # fmt: skip
    assert all("--time-limit" in found[check].advice for check in untried - {"batch size 4"})
    assert model.calls == 3  # the first prompts, none, and one for the speed
    assert "time for mini-v1" in found


def test_a_model_is_given_no_more_prompts_than_it_takes() -> None:
    def few(prompts: list[str], replies: Sequence[str]) -> Sequence[str]:
        assert len(prompts) <= 4
        return replies

    model = Changed(few)
    model.batch_size = 4  # type: ignore[attr-defined]
    found = findings(model, "reverse")
    assert bad_checks(found) == set()
    assert "batch size 16" not in found


def at_most_64(prompts: list[str], replies: Sequence[str]) -> Sequence[str]:
    assert len(prompts) <= 64, "out of memory"
    return replies


def test_a_batch_that_the_model_asks_for_may_not_fail() -> None:
    model = Changed(at_most_64)
    model.batch_size = 256  # type: ignore[attr-defined]
    state, detail = findings(model, "reverse")["works"]
    assert state == "problem"
    assert "out of memory" in detail


def test_a_batch_larger_than_eval_gives_may_fail() -> None:
    found = findings(Changed(at_most_64), "reverse")
    assert found["batch size 256"][0] == "warning"
    assert "out of memory" in found["batch size 256"][1]
    assert bad_checks(found) == {"batch size 256"}
    assert "time for mini-v1" in found


def test_replies_that_read_the_same_backwards_are_in_order() -> None:
    prompts = [example.prompt for example in checked_cell(MINI, Cell("reverse", 4))[:6]]

    def palindrome(asked: list[str], replies: Sequence[str]) -> Sequence[str]:
        return ["yes" if prompt in (prompts[0], prompts[-1]) else "no" for prompt in asked]

    assert bad_checks(findings(Changed(palindrome), "reverse")) == set()


def test_tokens_and_their_cost_are_told() -> None:
    class Counting(StreamingPredictor):
        prices = (1.0, 2.0)

        def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
            self.tokens = Tokens(0, 0)

        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            self.tokens = Tokens(self.tokens.prompt + 100_000, self.tokens.completion + 10)
            return Oracle().predict(prompts, task)

        def stream(self, prompts: Sequence[str], task: str) -> Iterator[dict[int, str]]:
            raise NotImplementedError

    found = findings(Counting(), "reverse")
    detail = found["used by the doctor"][1]
    assert re.fullmatch(r"1,[78]00,000 tokens read, 1[78]0 written, cost 1\.[78]003", detail)


def test_an_empty_call_that_fails_is_only_a_warning() -> None:
    found = findings(Changed(lambda prompts, replies: [replies[0], *replies[1:]]), "reverse")
    assert bad_checks(found) == {"no prompts, no replies"}


def test_recorded_replies_are_checked_for_gaps(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    ids = [example.id for example in checked_cell(MINI, Cell("reverse", 2))]
    path.write_text("".join(json.dumps({"id": each, "reply": "a"}) + "\n" for each in ids), encoding="utf-8")
    assert findings(RecordedReplies(path), "reverse") == {"replies recorded": ("warning", "1 of 10 cells are complete")}


@pytest.mark.slow
def test_the_command_ends_with_a_verdict(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text(
        "class Broken:\n    def predict(self, prompts, task):\n        return 'a'\n", encoding="utf-8"
    )
    for model, status in ((f"{tmp_path / 'broken.py'}:Broken", 1), ("oracle", 0)):
        monkeypatch.setattr("sys.argv", ["lgbench", "doctor", model, "--task", "mqar", "--time-limit", "1000000"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == status
        shown = capsys.readouterr().out
        assert ("PROBLEM" in shown, "The model honours the contract." in shown) == (status == 1, status == 0)
