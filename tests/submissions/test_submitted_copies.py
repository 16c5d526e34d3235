"""Copies of runs with some replies changed: which of them must be reported, and what must not be."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.data.suites import Cell, load_suite
from lgbench.data.task import Stream
from lgbench.data.tasks import get_task
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import cell_examples
from lgbench.models.recorded import RecordedReplies
from lgbench.results.reply import Reply, reply_line
from lgbench.submissions.checking import check
from lgbench.submissions.likeness import ENOUGH_COMMON, Likeness, WrongReplies, compare, near_copies
from lgbench.submissions.summary import perfect_twins
from tests.submitted import OTHER_SEED, RUN, RightUpTo, edit, problems


class Copied:
    """The replies of `RightUpTo(10)` with every n-th changed, to a right one or to another wrong one."""

    def __init__(self, every: int, *, to_right: bool, more: str = "?") -> None:
        self.every = every
        self.to_right = to_right
        self.of = RightUpTo(10, more)

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        solve = get_task(task).solve
        given = self.of.predict(prompts, task)
        for place in range(0, len(prompts), self.every):
            given[place] = solve(prompts[place]) + ("" if self.to_right else f"x{place}")
        return given


@pytest.mark.parametrize(("every", "to_right"), [(1280, False), (1280, True), (40, False), (4, True), (2, True)])
@pytest.mark.parametrize("arm", ["main_only", "transfer"])
def test_a_copy_with_changed_replies_in_the_same_system(system: Path, every: int, arm: str, *, to_right: bool) -> None:
    model = Copied(every, to_right=to_right)
    evaluate(model, arm=arm, group="add-multiply", seed=7, output=system / "z")
    ((where, said),) = problems(system).items()
    assert where == ("z/result.json", "replies_sha256")
    assert f"wrong replies to the main task as that of {RUN} (arm 'main_only' of group 'add-multiply'" in said


def capped(tmp_path: Path, text: Callable[[str, int], str]) -> RecordedReplies:
    """A model whose every wrong reply its cap is said to have ended; the texts are by target and place."""
    path = tmp_path / "replies.jsonl"
    suite = load_suite("mini-v1")
    with path.open("wb") as file:
        for cell in (Cell(task, length) for task in suite.group("add-multiply").tasks for length in suite.grid(task)):
            for place, example in enumerate(cell_examples(suite, cell)):
                given = text(example.target, place)
                file.write(reply_line(example.id, Reply(given, capped=given != example.target)))
    return RecordedReplies(path)


@pytest.mark.parametrize(
    ("text", "is_copy"),
    [
        (lambda target, place: f"{target}{'no' if place else 'yes'}{place}", True),
        # Right as far as they go: two models under one cap may well give just these.
        (lambda target, place: target[: place % 3], False),
    ],
)
def test_a_copy_does_not_hide_behind_flags(
    system: Path, tmp_path: Path, text: Callable[[str, int], str], *, is_copy: bool
) -> None:
    for seed, first in ((5, "a"), (6, "b")):

        def changed(target: str, place: int, first: str = first) -> str:
            return text(target, place) if place else first

        evaluate(
            capped(tmp_path, changed), arm="main_only", group="add-multiply", seed=seed, output=system / f"run{seed}"
        )
    assert set(problems(system)) == ({("run6/result.json", "replies_sha256")} if is_copy else set())


def test_a_copy_with_changed_replies_in_another_system_is_told_of_on_both_sides(submissions: Path) -> None:
    other = submissions / "other"
    shutil.copytree(submissions / "my-system", other, ignore=shutil.ignore_patterns(RUN, OTHER_SEED))
    edit(other / "system.json", lambda record: record.update(name="other"))
    evaluate(Copied(40, to_right=False), arm="main_only", group="add-multiply", seed=7, output=other / "run")
    found = problems(submissions)
    both = {f"my-system/{RUN}/result.json", "other/run/result.json"}
    assert set(found) == {(path, "replies_sha256") for path in both}
    assert "my-system" in found["other/run/result.json", "replies_sha256"]
    assert len(check([submissions]).submissions) == 2, "reviewers are told; nothing is refused"


@pytest.mark.parametrize(("every", "to_right"), [(12, False), (1, True)])
def test_another_model_is_no_copy(system: Path, every: int, *, to_right: bool) -> None:
    """One reply in twelve is other than in the copy, so that a twelfth of the common wrong replies differ."""
    evaluate(Copied(every, to_right=to_right), arm="main_only", group="add-multiply", seed=7, output=system / "z")
    assert problems(system) == {}


def test_two_groups_may_share_a_run(system: Path) -> None:
    for group in ("add-carry", "add-subtract"):
        evaluate(RightUpTo(13, "~"), arm="main_only", group=group, seed=3, output=system / group)
    assert problems(system) == {}


def texts(*, wrong: int, other: int = 0, distinct: int = 10**6, key: str = "") -> np.ndarray:
    """2560 examples: the first `wrong` have a reply, of which the last `other` are of this key alone."""
    given = np.zeros(2560, np.uint32)
    given[:wrong] = Stream("one").below(distinct, wrong) + 1
    if other:
        given[wrong - other : wrong] = Stream("other", key).below(2**30, other) + 2**31
    return given


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (texts(wrong=1000), Likeness(1000, 1000)),
        (texts(wrong=1000, other=49, key="a"), Likeness(1000, 951)),
        (texts(wrong=1000, other=50, key="a"), None),
        (texts(wrong=50), Likeness(50, 50)),  # the others were made right
        (texts(wrong=49), None),  # too few to tell, among so many
        (texts(wrong=0), None),
    ],
    ids=["equal", "under a twentieth changed", "a twentieth changed", "most are right", "nearly all are right", "all"],
)
def test_the_share_that_makes_a_copy(other: np.ndarray, expected: Likeness | None) -> None:
    one = texts(wrong=1000)
    assert compare(one, other) == compare(other, one) == expected
    runs = [WrongReplies(("suite",), each) for each in (one, other)]
    found = list(near_copies(runs, ["a", "b"], lambda _, __: False))
    assert found == ([(0, 1, expected), (1, 0, expected)] if expected else [])


def test_runs_of_few_wrong_replies_must_fail_on_the_same_examples() -> None:
    assert compare(texts(wrong=30), texts(wrong=31)) == Likeness(30, 30)
    assert compare(texts(wrong=30), texts(wrong=40)) is None
    assert compare(texts(wrong=19), texts(wrong=19)) is None


def test_two_models_may_give_the_same_few_replies_to_all_that_they_cannot_do() -> None:
    few = texts(wrong=1000, distinct=19)
    assert compare(few, few) is None
    assert compare(texts(wrong=1000, distinct=20), texts(wrong=1000, distinct=20)) is not None


def test_only_runs_of_the_same_suite_and_task_are_compared() -> None:
    runs = [WrongReplies((suite,), texts(wrong=1000)) for suite in ("mini-v1", "standard-v1")]
    assert list(near_copies(runs, ["a", "b"], lambda _, __: False)) == []


def test_of_many_copies_each_is_told_once_and_compared_with_few(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(one: np.ndarray, other: np.ndarray) -> Likeness | None:
        compared.append(1)
        return compare(one, other)

    monkeypatch.setattr("lgbench.submissions.likeness.compare", counted)
    copies = [WrongReplies(("s",), texts(wrong=1000, other=20, key=str(number))) for number in range(200)]
    strangers = [
        WrongReplies(("s",), Stream("stranger", number).below(2**31, 2560).astype(np.uint32)) for number in range(200)
    ]
    found = list(near_copies(copies + strangers, ["one"] * 400, lambda _, __: False))
    assert [(run, other) for run, other, _ in found] == [(number, 0) for number in range(1, 200)]
    assert len(compared) < 300  # of 79,800 pairs


def test_a_copied_result_of_a_run_without_wrong_replies(submissions: Path) -> None:
    for system, seed in (("one", 0), ("two", 0), ("two", 1)):
        place = submissions / system
        if not place.exists():
            shutil.copytree(submissions / "my-system", place, ignore=shutil.ignore_patterns(RUN, OTHER_SEED))
            edit(place / "system.json", lambda record: record.update(name=system))  # noqa: B023
        evaluate(RightUpTo(100), arm="main_only", group="add-multiply", seed=seed, output=place / f"run{seed}")
    assert problems(submissions) == {}, "three models may all be right"
    assert list(perfect_twins(check([submissions], summarized=True).summaries)) == [
        "all replies of one/run0 and two/run0 and 1 more are right, so none shows whether one is a copy."
    ]
    assert (
        "Note: all replies of one/run0 and two/run0 and 1 more"
        in CliRunner().invoke(app, ["validate", str(submissions)]).output
    )
    shutil.copytree(submissions / "one" / "run0", submissions / "two" / "copy")
    edit(submissions / "two" / "copy" / "result.json", lambda result: result.update(seed=7))
    found = problems(submissions)
    assert set(found) == {("one/run0/result.json", "started"), ("two/copy/result.json", "started")}
    assert "to a thousandth of a second" in found["two/copy/result.json", "started"]


@pytest.mark.nightly
@pytest.mark.slow
def test_the_reference_runs_are_as_alike_as_the_docs_say() -> None:
    root = Path(__file__).parents[2]
    checked = check([root / "submissions" / name for name in ("reference-nope", "reference-rope")])
    runs = [run for each in checked.submissions for run in each.runs]
    shares = []
    for number, one in enumerate(runs):
        for other in runs[:number]:
            assert one.wrong is not None
            assert other.wrong is not None
            if one.wrong.of == other.wrong.of:
                both = (one.wrong.texts != 0) & (other.wrong.texts != 0)
                if (common := int(both.sum())) >= ENOUGH_COMMON:
                    shares.append(int((both & (one.wrong.texts == other.wrong.texts)).sum()) / common)
    submitting = (root / "docs" / "submitting.md").read_text("utf-8")
    assert f"{len(shares):,} pairs of reference runs" in submitting
    assert f"at most {100 * max(shares):.0f} %" in submitting
