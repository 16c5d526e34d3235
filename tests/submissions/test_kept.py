"""Kept scores: the same as a full check, for the same bytes and the same code only."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lgbench.evaluation.folder import REPLIES_FILE
from lgbench.submissions import kept as kept_module
from lgbench.submissions import runs
from lgbench.submissions.checking import check, read_submissions
from lgbench.submissions.kept import KeptScores
from tests.submitted import OTHER_SEED, RUN, edit

pytestmark = pytest.mark.slow


@pytest.fixture
def kept(tmp_path: Path) -> KeptScores:
    return KeptScores(tmp_path / "cache")


@pytest.fixture
def rescored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were re-scored, as they are."""
    seen: list[str] = []
    original = runs._rescored

    def spy(folder, *rest):  # type: ignore[no-untyped-def]
        seen.append(folder.name)
        return original(folder, *rest)

    monkeypatch.setattr(runs, "_rescored", spy)
    return seen


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_kept_is_what_a_full_check_finds(submissions: Path, kept: KeptScores, rescored: list[str]) -> None:
    (full,) = read_submissions(submissions)
    assert rescored == [RUN, OTHER_SEED]
    read_submissions(submissions, kept=kept)
    assert rescored == [RUN, OTHER_SEED] * 2
    (again,) = read_submissions(submissions, kept=kept)
    assert rescored == [RUN, OTHER_SEED] * 2, "nothing was scored again"
    assert again.system == full.system
    for one, other in zip(again.runs, full.runs, strict=True):
        assert (one.folder, one.result) == (other.folder, other.result)
        assert one.wrong is not None
        assert other.wrong is not None
        assert one.wrong.of == other.wrong.of
        assert one.wrong.texts.dtype == other.wrong.texts.dtype
        assert np.array_equal(one.wrong.texts, other.wrong.texts)


def test_only_what_changed_is_scored_again(submissions: Path, kept: KeptScores, rescored: list[str]) -> None:
    read_submissions(submissions, kept=kept)
    del rescored[:]
    path = submissions / "my-system" / RUN / "result.json"
    edit(path, lambda record: record["environment"].update(platform="Another machine"))
    assert check([submissions], kept=kept).problems == ()
    assert rescored == [RUN]


def test_a_changed_count_or_reply_is_found_though_the_run_was_kept(submissions: Path, kept: KeptScores) -> None:
    read_submissions(submissions, kept=kept)
    result = submissions / "my-system" / RUN / "result.json"

    def cheat(record: dict[str, object]) -> None:
        cells = record["cells"]
        assert isinstance(cells, list)
        cells[-1]["counts"] |= {"correct": 256, "first_wrong": [], "starts_with_target": 0, "empty": 0, "early": 0}

    edit(result, cheat)
    assert check([submissions], kept=kept).problems == check([submissions]).problems != ()
    other = submissions / "my-system" / OTHER_SEED / REPLIES_FILE
    other.write_bytes((submissions / "my-system" / RUN / REPLIES_FILE).read_bytes())
    assert check([submissions], kept=kept).problems == check([submissions]).problems


def test_nothing_that_has_a_problem_is_kept(submissions: Path, kept: KeptScores, tmp_path: Path) -> None:
    for run in (RUN, OTHER_SEED):
        edit(submissions / "my-system" / run / "result.json", lambda record: record.update(limit=3))
    check([submissions], kept=kept)
    assert entries(tmp_path / "cache") == []


@pytest.mark.parametrize("damage", [b"", b"x", b"0" * 64 + b"{}"])
def test_a_damaged_entry_counts_as_none(
    damage: bytes, submissions: Path, kept: KeptScores, rescored: list[str], tmp_path: Path
) -> None:
    read_submissions(submissions, kept=kept)
    first, second = entries(tmp_path / "cache")
    first.write_bytes(damage)
    second.write_bytes(second.read_bytes().replace(b'"correct":256', b'"correct":255', 1))
    del rescored[:]
    (again,) = read_submissions(submissions, kept=kept)
    assert sorted(rescored) == sorted([RUN, OTHER_SEED])
    assert again.runs[0].result == read_submissions(submissions)[0].runs[0].result


def test_an_entry_of_another_run_is_not_taken(submissions: Path, kept: KeptScores, tmp_path: Path) -> None:
    read_submissions(submissions, kept=kept)
    first, second = entries(tmp_path / "cache")
    first.write_bytes(second.read_bytes())
    (again,) = read_submissions(submissions, kept=kept)
    assert [run.result for run in again.runs] == [run.result for run in read_submissions(submissions)[0].runs]


def test_nothing_of_another_version_is_used_and_it_is_removed(
    submissions: Path, rescored: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_submissions(submissions, kept=KeptScores(tmp_path / "cache"))
    before = entries(tmp_path / "cache")
    del rescored[:]
    monkeypatch.setattr(kept_module, "code_digest", lambda: "1" * 64)
    read_submissions(submissions, kept=KeptScores(tmp_path / "cache"))
    assert rescored == [RUN, OTHER_SEED]
    assert not {*before} & {*entries(tmp_path / "cache")}
    assert len(entries(tmp_path / "cache")) == 2


CODE = {"evaluation/rescoring.py", "data/cells.py", "submissions/likeness.py", "data/tasks/mazes.py"}
PACKAGE = {"leaderboard/pages.py", "scoring/estimates.py", "training/token_counts.py", "models/builtin.py"}


@pytest.mark.parametrize(
    ("digest", "expected", "locks"),
    [
        ("code_digest", CODE, "data/locks/"),
        ("package_digest", {f"lgbench/{name}" for name in PACKAGE}, "lgbench/data/locks/"),
    ],
)
def test_a_digest_covers_every_line_that_decides(
    digest: str, expected: set[str], locks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = kept_module._add

    def spy(digest, place, name):  # type: ignore[no-untyped-def]
        read.extend(f"{name}/{each.name}" for each in place.iterdir() if each.is_file())
        original(digest, place, name)

    monkeypatch.setattr(kept_module, "_add", spy)
    getattr(kept_module, digest).__wrapped__()
    assert expected <= {*read}
    assert any(name.startswith(locks) for name in read)


def test_the_digest_covers_whatever_scoring_imports() -> None:
    code = (
        "import sys, lgbench.evaluation.rescoring, lgbench.submissions.likeness\n"
        "print(*(name for name in sys.modules if name.startswith('lgbench.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.split(".")[1] for name in done.stdout.split()}
    assert "evaluation" in loaded
    assert loaded - {"version"} <= {*kept_module._DECISIVE}  # the version is hashed by itself


def test_where_nothing_can_be_kept_all_is_scored(submissions: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    assert len(read_submissions(submissions, kept=KeptScores(tmp_path / "cache"))) == 1


def test_an_entry_holds_no_replies(submissions: Path, kept: KeptScores, tmp_path: Path) -> None:
    read_submissions(submissions, kept=kept)
    for path in entries(tmp_path / "cache"):
        assert set(json.loads(path.read_bytes()[64:])) == {"result", "of", "texts"}
