"""Attacks on the tree of submissions and on `system.json`: each test says which paths must be reported."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lgbench.data.tasks import get_task
from lgbench.evaluation.evaluator import evaluate
from lgbench.submissions.checking import check, read_submissions
from lgbench.submissions.copies import Repeats
from lgbench.submissions.runs import check_files
from lgbench.util.errors import LgbenchError
from lgbench.util.files import TEMPORARY, owned_folder
from tests.made_up import make_result
from tests.submitted import OTHER_SEED, RUN, Change, RightUpTo, edit, problems


def test_what_submit_wrote_is_good(submissions: Path) -> None:
    checked = check([submissions])
    assert checked.problems == ()
    assert (checked.systems, checked.runs) == (1, 2)
    (submission,) = read_submissions(submissions)
    assert submission.system.name == "my-system"
    assert [run.folder for run in submission.runs] == [RUN, OTHER_SEED]


def test_a_system_or_a_run_can_be_checked_by_itself(system: Path) -> None:
    assert check([system, system / RUN]).problems == ()
    assert check([system / RUN])[1:3] == (0, 1)


def test_a_folder_may_be_named_from_within(submissions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(submissions / "my-system" / RUN)
    for named, counted in (("../..", (1, 2)), ("..", (1, 2)), (".", (0, 1))):
        checked = check([Path(named)])
        assert (checked.problems, (checked.systems, checked.runs)) == ((), counted)


def test_a_readme_beside_the_systems_is_allowed(submissions: Path) -> None:
    (submissions / "README.md").write_text("Data only.", encoding="utf-8")
    assert problems(submissions) == {}


def test_what_a_submit_holds_while_it_runs_is_passed_over(submissions: Path) -> None:
    with owned_folder(submissions):
        shutil.copytree(submissions / "my-system", submissions / f".my-system-x{TEMPORARY}" / "my-system")
        assert check([submissions])[1:] == (1, 2, (), (), ())


@pytest.mark.parametrize("kind", ["file", "folder", "link", "link to a folder", "pipe"])
@pytest.mark.parametrize("name", [".lock", f".my-system-x{TEMPORARY}"])
@pytest.mark.parametrize("running", [False, True])
def test_what_a_submit_holds_is_refused_where_none_runs(
    submissions: Path, tmp_path: Path, name: str, kind: str, *, running: bool
) -> None:
    path, elsewhere = submissions / name, tmp_path / "elsewhere"
    if running and name == ".lock":
        return  # a `submit` that runs holds a file of its own
    with owned_folder(submissions) if running else contextlib.nullcontext():
        if kind == "file":
            path.touch()
        elif kind == "folder":
            (path / "my-system").mkdir(parents=True)
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            shutil.copytree(submissions / "my-system", elsewhere) if kind == "link to a folder" else elsewhere.touch()
            path.symlink_to(elsewhere)
        if running and kind == "folder":
            assert problems(submissions) == {}
            return
        told = "is left over from an interrupted `lgbench submit`: remove it."
        assert problems(submissions) == {(name, ""): told}
        with pytest.raises(LgbenchError, match="is left over from"):
            read_submissions(submissions)


@pytest.mark.parametrize("place", [".", RUN])
def test_no_lock_is_held_below_the_systems(system: Path, place: str) -> None:
    for name in (".lock", f".x{TEMPORARY}"):
        (system / place / name).touch()
    assert set(problems(system)) == {((Path(place) / name).as_posix(), "") for name in (".lock", f".x{TEMPORARY}")}


def test_a_lock_that_another_process_holds_is_seen(submissions: Path) -> None:
    code = (
        "import sys\nfrom lgbench.util.files import *\nwith owned_folder(Path(sys.argv[1])): print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, submissions], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert problems(submissions) == {}
        assert (submissions / ".lock").exists()
        holder.kill()
    assert set(problems(submissions)) == {(".lock", "")}


def test_problems_of_all_files_are_told_at_once(submissions: Path) -> None:
    system = submissions / "my-system"
    (system / RUN / "replies.jsonl.gz").write_bytes(b"")
    edit(system / RUN / "result.json", lambda result: result["cells"][0].update(sha256="1" * 64))
    edit(system / OTHER_SEED / "result.json", lambda result: result["cells"][1]["counts"].update(total=7))
    edit(system / "system.json", lambda record: record.update(name="your-system", link="javascript:alert(1)"))
    (submissions / "Other System").mkdir()
    (submissions / "notes.txt").write_text("x", encoding="utf-8")
    assert set(problems(submissions)) == {
        ("notes.txt", ""),
        ("Other System", ""),
        ("Other System/system.json", ""),
        (f"my-system/{RUN}/replies.jsonl.gz", ""),
        (f"my-system/{RUN}/result.json", "cells[0].sha256"),
        (f"my-system/{OTHER_SEED}/result.json", "cells[1].counts"),
        ("my-system/system.json", "link"),
    }
    with pytest.raises(LgbenchError, match=r"notes\.txt"):
        read_submissions(submissions)


@pytest.mark.parametrize("place", ["", RUN, "plots"])
def test_an_unexpected_file(system: Path, place: str) -> None:
    (system / place).mkdir(exist_ok=True)
    (system / place / "model.pkl").write_bytes(b"\x80\x04")
    found = problems(system)
    path = f"{place}/model.pkl".removeprefix("/")
    assert "does not belong here" in found[path, ""]
    missing = {("plots/result.json", ""), ("plots/replies.jsonl.gz", "")} if place == "plots" else set()
    assert set(found) == {(path, ""), *missing}


@pytest.mark.parametrize("hidden", [".DS_Store", "RESULT.JSON", "result.json~", "notes\n<b>.txt", "\udcff"])
def test_an_unexpected_name(system: Path, hidden: str) -> None:
    (system / RUN / hidden).write_bytes(b"")
    assert set(problems(system)) == {(f"{RUN}/{hidden}", "")}
    (problem,) = check([system]).problems
    assert str(problem).isprintable()


@pytest.mark.parametrize("file", ["system.json", f"{RUN}/result.json", f"{RUN}/replies.jsonl.gz"])
@pytest.mark.parametrize("how", ["missing", "link", "outward link", "dangling link", "folder", "pipe"])
def test_a_file_that_is_none(system: Path, file: str, how: str, tmp_path: Path) -> None:
    path, elsewhere = system / file, tmp_path / "elsewhere"
    path.rename(elsewhere)
    if how == "link":
        elsewhere.rename(path.with_name("beside"))
        path.symlink_to("beside")
    elif how == "outward link":
        path.symlink_to(elsewhere)
    elif how == "dangling link":
        path.symlink_to("/nowhere/at/all")
    elif how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    found = problems(system)
    beside = {(f"{file.rpartition('/')[0]}/beside".removeprefix("/"), "")} if how == "link" else set()
    if (file, how) == ("system.json", "folder"):  # a folder in a system's folder is a run
        assert {("system.json/result.json", ""), ("system.json/replies.jsonl.gz", "")} <= set(found)
    else:
        assert set(found) == {(file, ""), *beside}
    assert found[file, ""] == ("does not exist." if how == "missing" else "is not a regular file.")


@pytest.mark.parametrize("level", ["submissions", "system", "run"])
def test_a_linked_folder_is_not_entered(submissions: Path, level: str, tmp_path: Path) -> None:
    path = {"submissions": submissions, "system": submissions / "my-system", "run": submissions / "my-system" / RUN}
    elsewhere = tmp_path / "elsewhere"
    path[level].rename(elsewhere)
    path[level].symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "secret").write_text("x", encoding="utf-8")
    checked = check([submissions])
    assert [(each.path, "link" in each.problem.message) for each in checked.problems] == [(path[level], True)]
    assert checked.submissions == ()


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    (tmp_path / "submissions").symlink_to("submissions")
    (problem,) = check([tmp_path / "submissions"]).problems
    assert "link" in problem.problem.message


def test_the_root_cannot_pose_as_a_system_or_a_run(submissions: Path) -> None:
    for file in ("system.json", "result.json", "replies.jsonl.gz"):
        source = submissions / "my-system" / ("" if file == "system.json" else RUN) / file
        shutil.copy(source, submissions / file)
    assert set(problems(submissions)) == {("system.json", ""), ("result.json", ""), ("replies.jsonl.gz", "")}


@pytest.mark.parametrize(
    "name",
    [
        *("My-System", "my_system", "-x", "x-", "a--b", "a.b", "sub missions", "s" * 61, "süß", "con\n", "submissions"),
        *("con", "nul", "aux", "prn", "com1", "lpt9", "a.", "a "),
    ],
)
def test_a_name_that_no_system_may_have(submissions: Path, name: str) -> None:
    (submissions / "my-system").rename(submissions / name)
    edit(submissions / name / "system.json", lambda record: record.update(name=name))
    assert set(problems(submissions)) == {(name, ""), (f"{name}/system.json", "name")}


@pytest.mark.parametrize("name", ["run 1", "run.", "run ", "CON", "nul.x", "Com1.tar.gz", "lpt0", "läuf"])
def test_a_name_that_no_run_may_have(system: Path, name: str) -> None:
    (system / RUN).rename(system / name)
    assert set(problems(system)) == {(name, "")}


@pytest.mark.parametrize("name", ["con-1", "console", "aux_", "com12", "a.con", "nul1"])
def test_a_name_like_that_of_a_device(system: Path, name: str) -> None:
    (system / RUN).rename(system / name)
    assert problems(system) == {}


def test_two_names_that_differ_in_case_alone(system: Path) -> None:
    (system / RUN).rename(system / OTHER_SEED.upper())
    twin = f"differs from {OTHER_SEED.upper()!r} only in upper and lower case: rename one."
    assert problems(system) == {(OTHER_SEED, ""): twin}
    (system / OTHER_SEED.upper()).rename(system / "System.json")
    assert "only in upper and lower case" in problems(system)["System.json", ""]


def test_the_folder_is_called_as_the_system(submissions: Path) -> None:
    (submissions / "my-system").rename(submissions / "your-system")
    found = problems(submissions)
    assert found == {("your-system/system.json", "name"): "is 'my-system', but the folder is called 'your-system'."}


def test_a_system_without_runs(system: Path) -> None:
    for run in (RUN, OTHER_SEED):
        shutil.rmtree(system / run)
    assert problems(system) == {(".", ""): "has no run: a system needs at least one."}


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        (lambda record: record.update(extra=1), {"extra"}),
        (lambda record: record.pop("licence"), {"licence"}),
        (lambda record: record.update(description="", authors=[], licence=" "), {"description", "authors", "licence"}),
        (lambda record: record.update(authors="A. Nonymous"), {"authors"}),
        (lambda record: record.update(authors=["A", ""]), {"authors[1]"}),
        (lambda record: record.update(description="two\nlines"), {"description"}),
        (lambda record: record.update(description="\x1b[2J"), {"description"}),
        (lambda record: record.update(description="right\u202eleft"), {"description"}),
        (lambda record: record.update(description="x" * 301), {"description"}),
        (lambda record: record.update(training_notes="a\tb"), {"training_notes"}),
        (lambda record: record.update(training_notes="zero\u200bwidth"), {"training_notes"}),
        (lambda record: record.update(description="\u2800"), {"description"}),
        (lambda record: record.update(description="soft\u00adhyphen"), {"description"}),
        (lambda record: record.update(description="tag\U000e0041"), {"description"}),
        (lambda record: record.update(description="private\ue000"), {"description"}),
        (lambda record: record.update(description="unassigned\u0378"), {"description"}),
        (lambda record: record.update(description="selected\ufe0f"), {"description"}),
        (lambda record: record.update(description="\u0301first"), {"description"}),
        (lambda record: record.update(authors=["Z" + "\u0300\u0301\u0302"]), {"authors[0]"}),
        (lambda record: record.update(licence="MIT\ufeff"), {"licence"}),
        (lambda record: record.update(reproduced_by="Myself"), {"reproduced_by"}),
        (lambda record: record.update(parameters=-1), {"parameters"}),
        (lambda record: record.update(parameters=1e6), {"parameters"}),
        (lambda record: record.update(reproduced_by=True), {"reproduced_by"}),
        (lambda record: record.update(name=7), {"name"}),
    ],
)  # fmt: skip
def test_a_spoiled_system_record(system: Path, change: Change, fields: set[str]) -> None:
    edit(system / "system.json", change)
    assert set(problems(system)) == {("system.json", field) for field in fields}


@pytest.mark.parametrize(
    "name", ["Nguyễn Thị Hà", "e\u0302\u0301", "क्षितिज", "ศักดิ์", "שָׁלוֹם", "محمد", "山田\u3000太郎", "O'Neil", "🙂", "ǅ"]
)
def test_names_of_people_in_all_scripts(system: Path, name: str) -> None:
    edit(system / "system.json", lambda record: record.update(authors=[name], training_notes=f"{name}\n\n{name}"))
    assert problems(system) == {}


@pytest.mark.parametrize(
    ("link", "good"),
    [
        ("https://example.org/a/b.html?x=1&y=%20#z", True),
        ("http://localhost:8000", True),
        (None, True),
        ("", False),
        ("example.org", False),
        ("ftp://example.org", False),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("https://user@example.org", False),
        ("https://example.org/a b", False),
        ("https://example.org/)[x](y", False),
        ('https://example.org/"onclick="x', False),
        ("https://example.org/<script>", False),
        ("https://example.org/\n", False),
        ("https://exämple.org", False),
    ],
)
def test_links(system: Path, link: str | None, good: bool) -> None:
    edit(system / "system.json", lambda record: record.update(link=link))
    assert set(problems(system)) == (set() if good else {("system.json", "link")})


def test_a_run_that_is_there_twice(system: Path) -> None:
    shutil.copytree(system / RUN, system / "again")
    found = problems(system)
    assert set(found) == {(f"{RUN}/result.json", "seed")}
    assert (
        "repeats again: arm 'main_only' of group 'add-multiply' on mini-v1 with seed 0"
        in found[f"{RUN}/result.json", "seed"]
    )


def test_one_run_under_two_seeds(system: Path) -> None:
    shutil.copytree(system / RUN, system / "zz")
    edit(system / "zz" / "result.json", lambda result: result.update(seed=7))
    found = problems(system)
    assert set(found) == {("zz/result.json", "replies_sha256")}
    assert f"equals that of {RUN}" in found["zz/result.json", "replies_sha256"]


def test_one_model_under_two_arms(system: Path) -> None:
    """The arms differ in their cells, and so in the digests of all their replies."""
    for name, arm, seed in (("one", "main_only", 0), ("two", "transfer", 0), ("zz", "control", 1)):
        evaluate(RightUpTo(13), arm=arm, group="copy-mqar", seed=seed, output=system / name)
    found = problems(system)
    assert set(found) == {(f"{run}/result.json", "replies_sha256") for run in ("two", "zz")}
    assert (
        "main task as that of one (arm 'main_only' of group 'copy-mqar'" in found["two/result.json", "replies_sha256"]
    )


def test_one_model_under_two_groups_that_share_main_only(system: Path) -> None:
    for name, arm, group in (("one", "main_only", "add-carry"), ("two", "transfer", "add-subtract")):
        evaluate(RightUpTo(13, more="*"), arm=arm, group=group, seed=0, output=system / name)
    assert set(problems(system)) == {("two/result.json", "replies_sha256")}


class AlwaysAlike:
    """Right up to a number of characters, then the same few replies: two models can fail in the same way."""

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        solve = get_task(task).solve
        return [solve(prompt) if len(prompt) < 13 else prompt[0] for prompt in prompts]


def test_two_arms_that_fail_with_the_same_few_replies_are_not_suspicious(system: Path) -> None:
    for arm in ("main_only", "transfer"):
        evaluate(AlwaysAlike(), arm=arm, group="add-carry", seed=0, output=system / arm)
    assert problems(system) == {}


def test_one_file_of_weights_under_two_seeds(system: Path) -> None:
    for name, seed in (("one", 5), ("two", 6)):
        evaluate(RightUpTo(100), arm="main_only", group="add-multiply", seed=seed, output=system / name)
        weights = {"kind": "checkpoint", "source_sha256": ["a" * 64]}
        edit(system / name / "result.json", lambda result: result["system"].update(weights))  # noqa: B023
    found = problems(system)
    assert set(found) == {("two/result.json", "system.source_sha256")}
    assert "same weights as one (arm 'main_only'" in found["two/result.json", "system.source_sha256"]


def test_one_file_of_weights_in_a_group_that_is_none(system: Path) -> None:
    for name, group in (("one", "add-multiply"), ("two", "add-nothing")):
        evaluate(RightUpTo(100), arm="main_only", group="add-multiply", seed=5, output=system / name)
        weights = {"kind": "checkpoint", "source_sha256": ["a" * 64]}
        edit(system / name / "result.json", lambda result: result["system"].update(weights))  # noqa: B023
        edit(system / name / "result.json", lambda result: result.update(group=group))  # noqa: B023
    assert {path for path, _ in problems(system)} == {"two/result.json"}


def test_one_run_under_two_groups_with_the_same_cells(system: Path) -> None:
    for name, group in (("one", "maze-trace"), ("two", "maze-path")):
        run = system / name
        evaluate(RightUpTo(100), arm="transfer", group=group, seed=0, output=run)
    found = problems(system)
    assert set(found) == {("two/result.json", "replies_sha256")}
    assert "equals that of one (arm 'transfer' of group 'maze-trace'" in found["two/result.json", "replies_sha256"]


@pytest.mark.slow
def test_one_model_may_be_asked_two_suites() -> None:
    asked = make_result(lambda cell: cell.length)
    weights = asked.system.model_copy(update={"kind": "hf", "source_sha256": ("a" * 64,)})
    repeats = Repeats()
    found = {}
    for suite, seed in (("mini-v1", 0), ("standard-v1", 0), ("standard-v1", 1)):
        replies = f"{suite}{seed}".encode().hex().ljust(64, "0")
        fields = {"suite": suite, "seed": seed, "system": weights, "replies_sha256": replies}
        found[suite, seed] = repeats.problem(f"{suite}-{seed}", asked.model_copy(update=fields))
    assert {key: problem and problem.field for key, problem in found.items()} == {
        ("mini-v1", 0): None,
        ("standard-v1", 0): None,
        ("standard-v1", 1): "system.source_sha256",
    }


def test_two_seeds_that_are_right_throughout_are_not_suspicious(system: Path) -> None:
    for seed in (5, 6):
        run = system / f"perfect-{seed}"
        evaluate(RightUpTo(100), arm="main_only", group="add-multiply", seed=seed, output=run)
    assert problems(system) == {}


def test_a_copy_under_the_name_of_another_system(submissions: Path) -> None:
    """Which of two was first cannot be seen, so both are told of."""
    shutil.copytree(submissions / "my-system", submissions / "a-system")
    edit(submissions / "a-system" / "system.json", lambda record: record.update(name="a-system"))
    found = problems(submissions)
    both = [(system, run) for system in ("a-system", "my-system") for run in (RUN, OTHER_SEED)]
    assert set(found) == {(f"{system}/{run}/result.json", "replies_sha256") for system, run in both}
    mine = submissions / "my-system" / RUN
    assert f"equals that of {mine}" in found[f"a-system/{RUN}/result.json", "replies_sha256"]
    assert check([submissions]).submissions == ()


def test_two_systems_that_are_right_throughout_are_no_copies(submissions: Path) -> None:
    for system in ("one", "two"):
        shutil.copytree(submissions / "my-system", submissions / system)
        edit(submissions / system / "system.json", lambda record: record.update(name=system))  # noqa: B023
        for run in (RUN, OTHER_SEED):
            shutil.rmtree(submissions / system / run)
        folder = submissions / system / "run"
        evaluate(RightUpTo(100), arm="main_only", group="add-multiply", seed=0, output=folder)
    assert problems(submissions) == {}


def test_a_copy_under_the_same_name_in_another_folder(submissions: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "submissions"
    shutil.copytree(submissions, other)
    checked = check([submissions, other])
    folders = [root / "my-system" / run for root in (submissions, other) for run in (RUN, OTHER_SEED)]
    assert {problem.path.parent for problem in checked.problems} == set(folders)
    assert (checked.submissions, checked.systems, checked.runs) == ((), 2, 4)


def test_a_system_is_kept_where_one_of_its_name_is_a_copy(submissions: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "submissions"
    shutil.copytree(submissions, other)
    for run in (RUN, OTHER_SEED):
        shutil.rmtree(other / "my-system" / run)
    evaluate(RightUpTo(100), arm="main_only", group="add-multiply", seed=5, output=other / "my-system" / "run")
    shutil.copytree(submissions / "my-system", submissions / "a-system")
    edit(submissions / "a-system" / "system.json", lambda record: record.update(name="a-system"))
    (kept,) = check([submissions, other]).submissions
    assert [run.folder for run in kept.runs] == ["run"]


def test_a_folder_is_checked_once_however_it_is_named(submissions: Path, tmp_path: Path) -> None:
    system = submissions / "my-system"
    (tmp_path / "linked").symlink_to(tmp_path)
    (submissions / "notes.txt").write_text("x", encoding="utf-8")
    edit(system / RUN / "result.json", lambda result: result.update(limit=3))
    named = [
        system / RUN,
        submissions,
        system,
        submissions,
        system / ".." / "my-system",
        tmp_path / "linked" / "submissions",
    ]
    for paths in (named, named[::-1]):
        checked = check(paths)
        assert (checked.submissions, checked.systems, checked.runs) == ((), 1, 2)
        assert len(checked.problems) == len({(each.path.name, each.problem.field) for each in checked.problems})
    good = [system / OTHER_SEED, system / OTHER_SEED]
    assert check(good)[1:] == (0, 1, (), (), ())


def test_a_folder_without_anything_is_not_good(tmp_path: Path) -> None:
    (tmp_path / "submissions" / "mine").mkdir(parents=True)
    for folder in (tmp_path / "submissions" / "mine", tmp_path / "submissions"):
        assert check([folder]).problems, folder
    (tmp_path / "submissions" / "mine").rmdir()
    assert check([tmp_path / "submissions"]).problems == (), "before the first submission"


def test_a_file_that_lgbench_itself_stumbles_over_hides_no_other(
    submissions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = check_files

    def stumbling(folder: Path, *arguments: Any) -> Any:
        if folder.name == RUN:
            raise KeyError("draft\x1b[2J")
        return true(folder, *arguments)

    monkeypatch.setattr("lgbench.submissions.tree.check_files", stumbling)
    edit(submissions / "my-system" / OTHER_SEED / "result.json", lambda record: record.update(limit=3))
    found = problems(submissions)
    assert "cannot be checked (KeyError: 'draft" in found[f"my-system/{RUN}", ""]
    assert "\x1b" not in str(found)
    assert (f"my-system/{OTHER_SEED}/result.json", "limit") in found
