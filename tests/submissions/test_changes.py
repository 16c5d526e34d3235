"""What a pull request with results may change: attacks on other people's systems, in real git repositories."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.submissions import git
from lgbench.submissions.changes import Change, check_changes, describe
from lgbench.submissions.git import compare_with
from lgbench.util.errors import LgbenchError
from lgbench.util.records import MAX_PROBLEMS
from tests.repository import Repository

OLD = "submissions/old"
RESULT = f"{OLD}/run/result.json"
Act = Callable[[Repository], object]


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    repository = Repository(tmp_path / "clone")
    for path in ("README.md", "lgbench/code.py", "submissions/README.md", "leaderboard/README.md", "audits/old.json"):
        repository.write(path)
    repository.write_system("old")
    return Repository.start(repository.folder)


def found(repository: Repository, *, by_maintainer: bool = False) -> dict[str, str]:
    """What is wrong with the branch, by path."""
    repository.commit()
    problems = check_changes(compare_with("main", repository.folder).changes, by_maintainer=by_maintainer)
    told = {path.as_posix(): str(problem) for path, problem in problems}
    assert len(told) == len(problems)
    return told


def add_system(repository: Repository) -> None:
    repository.write_system("new")
    repository.write("leaderboard/README.md", "derived")
    repository.write("leaderboard/systems/new.md", "derived")


def add_run(repository: Repository) -> None:
    repository.write(f"{OLD}/run-2/result.json")


def change_code(repository: Repository) -> None:
    repository.write("lgbench/code.py", "changed")
    repository.write(".github/workflows/submissions.yml")


def nothing(repository: Repository) -> None:
    pass


@pytest.mark.parametrize("act", [add_system, add_run, change_code, nothing])
def test_what_may_be_changed(repository: Repository, act: Act) -> None:
    act(repository)
    assert found(repository) == {}


def delete(repository: Repository) -> None:
    shutil.rmtree(repository.folder / OLD)


def rename(repository: Repository) -> None:
    repository.git("mv", OLD, "submissions/mine")


def rename_a_run(repository: Repository) -> None:
    repository.git("mv", f"{OLD}/run", f"{OLD}/run-2")


def rewrite(repository: Repository) -> None:
    repository.write(RESULT, "better")


def rewrite_another(repository: Repository) -> None:
    add_system(repository)
    rewrite(repository)


def add_two(repository: Repository) -> None:
    add_system(repository)
    repository.write_system("newer")


def swap_for_a_folder(repository: Repository) -> None:
    repository.write(f"{RESULT}/result.json")


def swap_for_a_file(repository: Repository) -> None:
    repository.write(f"{OLD}/run")


def other_case(repository: Repository) -> None:
    repository.git("mv", "submissions/README.md", "submissions/readme.md")


def twin_folder(repository: Repository) -> None:
    repository.write("Submissions/old/system.json")


def remove_the_readme(repository: Repository) -> None:
    repository.git("rm", "submissions/README.md")


def loose_file(repository: Repository) -> None:
    repository.write("submissions/notes.txt")


def with_code(repository: Repository) -> None:
    add_system(repository)
    change_code(repository)


def board_alone(repository: Repository) -> None:
    repository.write("leaderboard/README.md", "first: me")


def audit(repository: Repository) -> None:
    repository.write("audits/mine.json")


GONE, CHANGED, OUTSIDE, SEVERAL = "deleted or renamed", "is changed", "is outside", "several systems"
REFUSED: list[tuple[Act, dict[str, str]]] = [
    (delete, {f"{OLD}/system.json": GONE, RESULT: GONE}),
    (rename, {f"{OLD}/system.json": GONE, RESULT: GONE, "submissions": SEVERAL}),
    (rename_a_run, {RESULT: GONE}),
    (rewrite, {RESULT: CHANGED}),
    (rewrite_another, {RESULT: CHANGED, "submissions": SEVERAL}),
    (add_two, {"submissions": SEVERAL}),
    (swap_for_a_folder, {RESULT: GONE}),
    (swap_for_a_file, {RESULT: GONE}),
    (other_case, {"submissions/README.md": GONE, "submissions/readme.md": "no system's folder"}),
    (twin_folder, {"Submissions/old/system.json": OUTSIDE}),
    (remove_the_readme, {"submissions/README.md": GONE}),
    (loose_file, {"submissions/notes.txt": "no system's folder"}),
    (with_code, {".github/workflows/submissions.yml": OUTSIDE, "lgbench/code.py": OUTSIDE}),
    (board_alone, {"leaderboard/README.md": "although no submission is"}),
    (audit, {"audits/mine.json": OUTSIDE}),
]


@pytest.mark.parametrize(("act", "expected"), REFUSED, ids=lambda each: getattr(each, "__name__", ""))
def test_what_only_a_maintainer_may_change(repository: Repository, act: Act, expected: dict[str, str]) -> None:
    act(repository)
    told = found(repository)
    assert told.keys() == expected.keys()
    assert all(fragment in told[path] for path, fragment in expected.items()), told
    assert found(repository, by_maintainer=True) == {}


def link(repository: Repository) -> None:
    add_system(repository)
    path = repository.folder / "submissions/new/run/result.json"
    path.unlink()
    path.symlink_to("../../old/run/result.json")


def linked_board(repository: Repository) -> None:
    """Checked out without links, as in the workflow, it is a file with the very text that the board must have."""
    add_system(repository)
    path = repository.folder / "leaderboard/README.md"
    path.unlink()
    path.symlink_to("derived")


def executable(repository: Repository) -> None:
    add_system(repository)
    (repository.folder / "submissions/new/system.json").chmod(0o755)


def linked_folder(repository: Repository) -> None:
    add_system(repository)
    (repository.folder / "submissions/new/run-2").symlink_to("run", target_is_directory=True)


@pytest.mark.parametrize(
    ("act", "path", "what"),
    [
        (link, "submissions/new/run/result.json", "is a link"),
        (linked_board, "leaderboard/README.md", "is a link"),
        (linked_folder, "submissions/new/run-2", "is a link"),
        (executable, "submissions/new/system.json", "is executable"),
    ],
)
def test_what_no_checkout_would_show(repository: Repository, act: Act, path: str, what: str) -> None:
    act(repository)
    assert found(repository).keys() == {path}
    assert what in found(repository, by_maintainer=True)[path]


def test_a_submodule_is_found_though_the_tree_asks_to_ignore_it(repository: Repository) -> None:
    add_system(repository)
    repository.write(
        ".gitmodules", '[submodule "x"]\n\tpath = submissions/new/more\n\turl = https://x.example\n\tignore = all\n'
    )
    head = repository.commit()
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},submissions/new/more")
    repository.git("commit", "--quiet", "--message", "x")
    told = check_changes(compare_with("main", repository.folder).changes)
    assert {path.as_posix(): "submodule" in str(problem) for path, problem in told} == {
        "submissions/new/more": True,
        ".gitmodules": False,
    }


def test_what_others_merged_since_is_no_change_of_the_branch(repository: Repository) -> None:
    add_system(repository)
    repository.commit()
    repository.git("switch", "--quiet", "main")
    repository.write_system("theirs")
    repository.commit()
    repository.git("switch", "--quiet", "pull")
    assert found(repository) == {}


def test_two_commits_of_history_are_enough_and_no_content(repository: Repository, tmp_path: Path) -> None:
    """What the workflow has: the merge and its parents, and of the files no content but what is checked out."""
    rename(repository)
    repository.merge()
    repository.git("config", "uploadpack.allowFilter", "true")
    shallow = Repository(tmp_path / "shallow")
    repository.git(
        "clone", "--quiet", "--depth=2", "--filter=blob:none", repository.folder.as_uri(), tmp_path / "shallow"
    )
    repository.folder.rename(tmp_path / "gone")
    assert shallow.git("rev-list", "--count", "HEAD") == "3"
    changes = compare_with("HEAD^1", shallow.folder).changes
    assert sorted(change.path for change in changes if change.after == "000000") == [RESULT, f"{OLD}/system.json"]
    assert len(changes) == 4


def test_odd_names_are_shown_as_plain_text(repository: Repository) -> None:
    repository.write("submissions/new\nx/\x1b[31m.json")
    repository.commit()
    comparison = compare_with("main", repository.folder)
    assert comparison.changes == [Change("submissions/new\nx/\x1b[31m.json", "000000", "100644")]
    assert describe(comparison.changes).isprintable()
    repository.git("mv", "submissions/new\nx", "\x1b[31m")
    assert all(str(problem).isprintable() for problem in check_changes(comparison.changes))


def test_there_are_at_most_a_hundred_problems() -> None:
    changes = [Change(f"submissions/old/{number}", "100644", "000000") for number in range(250)]
    told = check_changes(changes)
    assert len(told) == MAX_PROBLEMS + 1
    assert "and 150 more" in str(told[-1])


def test_too_many_changes(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    add_system(repository)
    repository.commit()
    monkeypatch.setattr(git, "MAX_CHANGES", 3)
    with pytest.raises(LgbenchError, match="More than 3 files differ"):
        compare_with("main", repository.folder)


@pytest.mark.parametrize("base", ["nope", "--all", "", "HEAD:README.md"])
def test_a_base_that_is_no_commit(repository: Repository, base: str) -> None:
    with pytest.raises(LgbenchError, match="is not a commit of a git repository"):
        compare_with(base, repository.folder)


def test_a_base_without_common_history(repository: Repository) -> None:
    repository.git("switch", "--quiet", "--orphan", "other")
    repository.commit()
    with pytest.raises(LgbenchError, match="no common history"):
        compare_with("main", repository.folder)


def test_what_is_said_of_a_branch(repository: Repository) -> None:
    add_run(repository)
    repository.write_system("new")
    repository.commit()
    line = describe(compare_with("main", repository.folder).changes)
    assert line == (
        "3 files differ, 2 added to submissions/new (a new system), "
        "1 added to submissions/old (a system that exists already)"
    )


def test_by_maintainer_needs_a_base() -> None:
    done = CliRunner().invoke(app, ["validate", "--by-maintainer"])
    assert done.exit_code == 1
    assert "--by-maintainer needs --base" in str(done.exception or done.output)
