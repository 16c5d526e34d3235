"""Simple systematic mistakes: each is named where a model makes it, and none where it does not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, load_suite
from lgbench.data.task import Example
from lgbench.doctor.diagnosis import MISTAKES, diagnose, examine_result, mistake_of
from lgbench.doctor.examining import examine
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.folder import RESULT_FILE
from lgbench.models.builtin import Oracle, Random
from lgbench.models.contract import CappedReply
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.results.reply import Reply
from lgbench.results.schema import Result, SystemInfo
from lgbench.util.records import read_record
from tests.selection import night
from tests.shell import Shell

ROOT = Path(__file__).parents[2]
MINI = load_suite("mini-v1")
COMMITTED = sorted(
    path.parent
    for tree in ("submissions", "lgbench/checkpoints/results")
    for path in ROOT.joinpath(tree).rglob(RESULT_FILE)
)


class Changed:
    """The oracle up to a length of prompts, with its answers changed."""

    def __init__(self, change: Callable[[str], str], longest: int = 10**6) -> None:
        self._change = change
        self._longest = longest

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        answers = Oracle().predict(prompts, task)
        pairs = zip(prompts, answers, strict=True)
        return [self._change(answer if len(prompt) <= self._longest else "?") for prompt, answer in pairs]


def as_number(digits: str) -> str:
    """Most significant digit first, without padding."""
    return digits[::-1].lstrip("0") or "0"


def each_as_number(text: str) -> str:
    return re.sub("[0-9]+", lambda digits: as_number(digits[0]), text)


def nodes_backwards(path: str) -> str:
    return "".join(re.findall(r"\[\d+\]", path)[::-1])


WAYS: list[tuple[str, str, Callable[[str], str]]] = [
    ("reverse_add", "white_space", lambda answer: answer + "\n"),
    ("mqar", "white_space", lambda answer: " " + answer),
    ("dfs_trace", "white_space", lambda answer: answer + "\r\n"),
    ("reverse_add", "quotes", lambda answer: f"'{answer}'"),
    ("reverse", "quotes", lambda answer: f"```\n{answer}\n```"),
    ("capitalize", "quotes", lambda answer: f"\N{LEFT DOUBLE QUOTATION MARK}{answer}\N{RIGHT DOUBLE QUOTATION MARK}\n"),
    ("reverse_add", "spread_out", " ".join),
    ("reverse", "spread_out", ", ".join),
    ("shortest_path", "spread_out", lambda answer: answer.replace("][", "] [")),
    ("no_carry", "zeros", lambda answer: answer.rstrip("0")),
    ("reverse_subtract", "zeros", lambda answer: answer.rstrip("0") + "\n"),
    ("cot_multiply", "zeros", lambda answer: answer.replace("+0", "+")),
    ("reverse_add", "backwards", as_number),
    ("reverse_add", "backwards", lambda answer: answer[::-1]),
    ("cot_multiply", "backwards", each_as_number),
    ("string_copy", "backwards", lambda answer: answer[::-1]),
    ("dfs_trace", "backwards", nodes_backwards),
    ("reverse", "case", str.lower),
    ("capitalize", "case", str.swapcase),
    ("reverse_add", "empty", lambda answer: ""),
    ("string_copy", "early", lambda answer: answer[:-1]),
    ("reverse_add", "beginning", lambda answer: answer[1:] or "?"),
    ("shortest_path", "beginning", lambda answer: answer[1:]),
    ("reverse_add", "late", lambda answer: answer + "=1"),
    ("reverse", "late", lambda answer: answer + "<|end|>"),
    ("reverse_add", "surrounded", lambda answer: f"<answer>{answer}</answer>"),
    ("shortest_path", "surrounded", lambda answer: f"The path is: {answer}."),
    ("mqar", "surrounded", lambda answer: f"Answer: **{answer}**"),
    ("reverse_add", "signs", lambda answer: str(list(answer))),
    ("reverse", "signs", "-".join),
    ("shortest_path", "signs", lambda answer: answer.replace("][", "]->[")),
    ("dfs_trace", "signs", lambda answer: " ".join(re.findall("[0-9]+", answer))),
    ("reverse_add", "capped", lambda answer: CappedReply("Let me think")),
]


@pytest.mark.parametrize(("task", "name", "change"), WAYS)
def test_a_mistake_that_a_model_always_makes_is_found(
    task: str, name: str, change: Callable[[str], str], tmp_path: Path
) -> None:
    result = evaluate(Changed(change), tasks=task, limit=16, output=tmp_path / "run")
    (found,) = examine_result(result, tmp_path / "run").diagnoses
    assert (found.mistake.name, found.tasks) == (name, (task,))
    assert 2 * found.made > found.wrong > 0


def test_every_mistake_is_tried() -> None:
    assert {name for _, name, _ in WAYS} == {mistake.name for mistake in MISTAKES}


def test_a_model_that_can_do_short_prompts_only_is_diagnosed_by_them(tmp_path: Path) -> None:
    result = evaluate(Changed(lambda answer: answer + "\n", longest=6), tasks="reverse_add", output=tmp_path / "run")
    (found,) = examine_result(result, tmp_path / "run").diagnoses
    assert str(found) == (
        "256 of 1,024 wrong replies to short prompts of reverse_add are right but for white space at an end"
    )


def test_a_model_that_stops_early_on_long_prompts_is_not_diagnosed(tmp_path: Path) -> None:
    """That is how models trained on short inputs fail."""
    model = Changed(lambda answer: answer[:8])
    result = evaluate(model, tasks="reverse", output=tmp_path / "run")
    assert sum(cell.counts.early or 0 for cell in result.cells) == 6 * 256
    assert examine_result(result, tmp_path / "run").diagnoses == []
    alone = evaluate(model, tasks="reverse", lengths=[12, 14], output=tmp_path / "alone")
    assert [each.mistake.name for each in examine_result(alone, tmp_path / "alone").diagnoses] == ["early"]


@pytest.mark.slow
def test_a_model_that_does_not_know_the_answers_is_not_diagnosed(tmp_path: Path) -> None:
    result = evaluate(Random(), output=tmp_path / "run")
    assert examine_result(result, tmp_path / "run").diagnoses == []


@pytest.mark.parametrize(
    "folder",
    [
        *(each for each in COMMITTED if each.name.endswith("seed0")),
        *night(each for each in COMMITTED if not each.name.endswith("seed0")),
    ],
    ids=lambda folder: f"{folder.parent.name}/{folder.name}",
)
@pytest.mark.slow
def test_no_trained_model_is_diagnosed(folder: Path) -> None:
    assert examine_result(read_record(folder / RESULT_FILE, Result), folder).diagnoses == []


def test_a_model_that_guesses_the_order_of_two_letters_is_not_diagnosed() -> None:
    """One without positions does: half of its answers of two letters are right, and all others are right backwards."""
    words = ["".join(word) for word in itertools.permutations("abcd", 2)]
    pairs = [(Example("reverse", 2, at, f"{word}=", word[::-1]), Reply(word)) for at, word in enumerate(words)]
    assert diagnose(pairs) == []
    assert mistake_of(Reply("abc"), "cba") is not None


def test_a_few_replies_or_a_minority_are_not_enough() -> None:
    def asked(*replies: str) -> list[tuple[Example, Reply]]:
        return [(Example("reverse", 2, at, "ab=", "ba"), Reply(text)) for at, text in enumerate(replies)]

    assert [each.made for each in diagnose(asked(*["ba\n"] * 4))] == [4]
    assert diagnose(asked(*["ba\n"] * 3)) == []
    assert [each.made for each in diagnose(asked(*["ba\n"] * 5, *["??"] * 5))] == [5]
    assert diagnose(asked(*["ba\n"] * 5, *["??"] * 6)) == []
    assert [each.made for each in diagnose(asked(*["ba\n"] * 5, *["ba"] * 45))] == [5]
    assert diagnose(asked(*["ba\n"] * 5, *["ba"] * 46)) == []


def test_right_and_otherwise_wrong_replies_make_no_mistake() -> None:
    assert mistake_of(Reply("30301"), "30301") is None
    for text in ("30302", "130301", "3030", "a30301b"):
        assert mistake_of(Reply(text), "30301") in (None, MISTAKES[7]), text
    assert mistake_of(Reply("[2][1][10][3]"), "[1][10]") is None


@given(st.text("01aB[]=, \n", max_size=6), st.text("01aB[]=, \n", min_size=1, max_size=4))
def test_two_mistakes_are_what_their_plain_definitions_say(around: str, target: str) -> None:
    """Written as patterns, which cost too much to search every reply with."""
    part = r"[0-9A-Za-z\[\]]" if "[" in target else "[0-9A-Za-z]"
    held = re.compile(f"(?<!{part}){re.escape(target)}(?!{part})")
    made_by = {mistake.name: mistake.made_by for mistake in MISTAKES}
    for at in range(len(around) + 1):
        text = around[:at] + target + around[at:]
        assert made_by["surrounded"](Reply(text), target) == (held.search(text) is not None)
        if text != target:
            assert made_by["spread_out"](Reply(text), target) == (re.sub(r"[\s,]+", "", text) == target)


def write_model(path: Path, change: str) -> str:
    """A model that changes the answer to a prompt of a task, by an expression of the three."""
    path.write_text(
        "import os\n\nfrom lgbench.models.builtin import Oracle\n\n\n"
        "class Model:\n    def predict(self, prompts, task):\n"
        "        answers = Oracle().predict(prompts, task)\n"
        f"        return [{change} for prompt, answer in zip(prompts, answers)]\n",
        encoding="utf-8",
    )
    return f"{path}:Model"


@pytest.mark.slow
def test_eval_and_show_end_with_it_and_its_command_prints_examples(lgbench: Shell) -> None:
    model = write_model(Path("model.py"), "answer + chr(10)")
    done = lgbench("eval", model, "--task", "reverse_add,mqar", "--limit", "8", "-o", "a run")
    last = done.out.splitlines()[-1]
    told = "64 of 64 wrong replies to short prompts of reverse_add and mqar are right but for white space at an end"
    assert last == f"Diagnosis: {told}. Examples: lgbench errors 'a run' --task reverse_add"
    assert "\nOf 160 wrong replies 0 are empty, 0 end early and 160 late.\n" in done.out
    assert lgbench("show", "a run").out.splitlines()[-1] == last
    shown = lgbench("errors", "a run", "--task", "reverse_add", "--length", "4", "--limit", "1").out
    assert re.fullmatch(
        r"reverse_add-4-\d+: white_space\n"
        r"  prompt  '\d{4}\+\d{4}='\n"
        r"  target  '(\d{5})'\n"
        r"  reply   '\1\\n'\n"
        r"                \^\n"
        r"1 of 8 wrong replies, page 1 of 8\.\n"
        r"The next page: lgbench errors 'a run' --task=reverse_add --length=4 --limit=1 --page=2\n",
        shown,
    ), shown
    assert "Diagnosis" not in lgbench("eval", "oracle", "--task", "reverse_add", "-o", "right").out
    assert lgbench("errors", "right").out == "There is no wrong reply.\n"


CHOSEN = [
    ["--task", "capitalize,reverse,reverse_add"],
    ["--task", "capitalize,reverse", "--length", "12,14"],
    ["--group", "capitalize-reverse", "--arm", "transfer"],
]
CHANGES = {
    "case and white space": "answer.lower() if task == 'capitalize' else answer + ' '",
    "some replies only": "answer + ' ' if len(prompt) % 3 else '?' + answer",
    "short prompts": "answer[::-1] if len(prompt) < 14 else ''",
    "nothing": "answer",
}


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("chosen", CHOSEN)
def test_eval_says_of_replies_at_hand_what_show_says_of_the_stored_ones(
    lgbench: Shell, change: str, chosen: list[str]
) -> None:
    model = write_model(Path("model.py"), change)
    command = ["eval", model, *chosen, "--limit", "9", "-o", "run"]
    first = lgbench(*command)
    assert first.status == 0, first.err
    assert ("Diagnosis: " in first.out) == (change != "answer")
    assert first.out == lgbench("show", "run").out
    assert first.out == lgbench(*command, "--resume").out, "a finished run is read from its folder"


@pytest.mark.slow
def test_replies_of_before_an_interruption_count(lgbench: Shell) -> None:
    model = write_model(Path("model.py"), "answer + ' ' if len(prompt) < 9 or os.stat('go.txt') else ''")
    command = ["eval", model, "--task", "reverse", "-o", "run"]
    assert lgbench(*command).status == 1
    Path("go.txt").touch()
    done = lgbench(*command, "--resume")
    assert "1,024 of 1,024 wrong replies to short prompts of reverse are right but for white space" in done.out
    assert done.out == lgbench("show", "run").out


def test_show_gives_an_older_result_its_counts_by_length_and_tells_of_replies_that_do_not_fit(lgbench: Shell) -> None:
    model = write_model(Path("model.py"), "answer[:4]")
    assert lgbench("eval", model, "--task", "reverse", "--length", "4,6", "-q", "-o", "run").status == 0
    path = Path("run/result.json")
    record = json.loads(path.read_text("utf-8"))
    for cell in record["cells"]:
        del cell["counts"]["empty"], cell["counts"]["early"]
    path.write_text(json.dumps(record), encoding="utf-8")
    done = lgbench("show", "run", "--lengths")
    assert ["reverse", "early", "0", "256"] in [line.split() for line in done.out.splitlines()]
    assert "Of 256 wrong replies 0 are empty, 256 end early and 0 late." in done.out
    assert "Of 256 wrong replies 0 are empty, 256 end early and 0 late." in lgbench("rescore", "run").out
    Path("run/replies.jsonl.gz").unlink()
    done = lgbench("show", "run")
    assert done.status == 0
    assert done.out.splitlines()[-1].startswith("Its replies were not examined. ")


def test_errors_are_chosen_and_cannot_write_to_the_terminal(lgbench: Shell) -> None:
    model = write_model(Path("model.py"), "'x' * 60 + chr(27) + ']0;title' + chr(0x202e) + 'y' * 60 if answer else ''")
    lgbench("eval", model, "--task", "string_copy,reverse", "--length", "4,20", "--limit", "8", "-q", "-o", "run")
    done = lgbench("errors", "run", "--limit", "4")
    ids = [line.removesuffix(": other") for line in done.out.splitlines() if line.endswith(": other")]
    assert [each.rpartition("-")[0] for each in ids] == ["string_copy-4", "string_copy-20", "reverse-4", "reverse-20"]
    assert done.out.isascii()
    assert "\x1b" not in done.out
    assert r"\x1b]0;" in done.out
    assert (
        "'sort' is not a task of this run. Valid: string_copy, reverse."
        in lgbench("errors", "run", "--task", "sort").err
    )
    assert "Nothing of length 6 was evaluated, but 4, 20." in lgbench("errors", "run", "--length", "6").err


@pytest.mark.slow
def test_a_long_reply_is_shown_around_its_first_difference(lgbench: Shell) -> None:
    model = write_model(Path("model.py"), "answer[:-3] + '?' + answer[-2:]")
    options = ["--suite", "standard-v1", "--task", "node_list", "--length", "64", "--limit", "1"]
    lgbench("eval", model, *options, "-q", "-o", "run")
    lines = lgbench("errors", "run").out.splitlines()
    target, reply, mark = lines[2:5]
    assert target.startswith("  target  ... '")
    at = mark.index("^")
    assert (reply[at], target[at] != "?") == ("?", True)
    assert reply[:at].removeprefix("  reply   ") == target[:at].removeprefix("  target  ")


@pytest.mark.parametrize("recorded", [False, True])
def test_the_doctor_ends_with_it_and_shows_what_it_wanted(recorded: bool, tmp_path: Path) -> None:
    model: Changed | RecordedReplies = Changed(lambda answer: f'"{answer}"')
    if recorded:
        examples = [each for length in MINI.grid("reverse") for each in checked_cell(MINI, Cell("reverse", length))]
        lines = [json.dumps({"id": each.id, "reply": f'"{each.target}"'}) + "\n" for each in examples]
        (tmp_path / "replies.jsonl").write_text("".join(lines), encoding="utf-8")
        model = RecordedReplies(tmp_path / "replies.jsonl")
    loaded = Model(model, SystemInfo(model="x", kind="object"))
    found = list(examine(loaded, suite=MINI, tasks=["reverse"], seconds=0))
    assert (found[-1].check, found[-1].state) == ("diagnosis", "warning")
    right_but = r"(\d+) of \1 wrong replies to short prompts of reverse are right but for the quotation marks"
    assert re.match(right_but, found[-1].detail)
    assert re.search(r"""'(\w+)=' got '"(\w+)"', wanted '\2'$""", found[-1].detail)
    if not recorded:
        (shown,) = [each.detail for each in found if each.check == "a reply"]
        assert re.match(r"""'(\w+)=' got '"(\w+)"', wanted '\2'; 0 of 6 are right$""", shown)
