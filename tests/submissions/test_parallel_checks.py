"""Checks by several processes find what one finds, in the same order."""

import shutil
from pathlib import Path

import pytest

from lgbench.submissions import tree
from lgbench.submissions.checking import check, read_submissions
from lgbench.submissions.problems import MAX_REPORTED, Report
from lgbench.util.errors import LgbenchError
from tests.submitted import RUN, edit

pytestmark = pytest.mark.slow


def several(submissions: Path) -> Path:
    """Three systems: a good one, one with a wrong count and a stray file, and a copy of the first."""
    good = submissions / "my-system"
    for name in ("bad-system", "copied-system"):
        shutil.copytree(good, submissions / name)
        edit(submissions / name / "system.json", lambda record, name=name: record.update(name=name))  # type: ignore[misc]
    edit(submissions / "bad-system" / RUN / "result.json", lambda record: record.update(limit=3))
    (submissions / "bad-system" / "notes.txt").touch()
    (submissions / ".lock").mkdir()
    return submissions


def test_the_order_and_the_words_of_what_is_found_do_not_depend_on_the_processes(submissions: Path) -> None:
    folder = several(submissions)
    of_one, of_two = list[tuple[int, int]](), list[tuple[int, int]]()
    alone = check([folder], report=lambda *count: of_one.append(count))
    together = check([folder], jobs=2, report=lambda *count: of_two.append(count))
    assert of_one == of_two == [(number, 6) for number in range(7)]
    assert len(alone.problems) > 3
    assert together.problems == alone.problems
    assert (together.systems, together.runs) == (alone.systems, alone.runs) == (3, 6)
    assert [each.system.name for each in together.submissions] == [each.system.name for each in alone.submissions]

    # Summaries take the place of the systems, and lead to the same.
    short = check([folder], jobs=2, summarized=True)
    assert short.submissions == ()
    assert [each.name for each in short.summaries] == [each.system.name for each in alone.submissions]
    assert (short.problems, short.alarms) == (alone.problems, alone.alarms)


def test_good_systems_come_back_whole(submissions: Path) -> None:
    shutil.copytree(submissions / "my-system", submissions / "other")
    edit(submissions / "other" / "system.json", lambda record: record.update(name="other"))
    shutil.rmtree(submissions / "other" / RUN)
    with pytest.raises(LgbenchError, match="no two systems give the same"):  # found across processes
        read_submissions(submissions, jobs=2)
    shutil.rmtree(submissions / "other")
    (one,), (other,) = read_submissions(submissions), read_submissions(submissions, jobs=2)
    assert [run.result for run in one.runs] == [run.result for run in other.runs]


def test_a_process_that_is_killed_is_told(submissions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "_check_alone", _exit)
    with pytest.raises(LgbenchError, match="A process that checks systems ended early"):
        check([several(submissions)], jobs=2)


def _exit(system: object, **options: object) -> None:
    import os

    os._exit(1)


def test_reports_are_capped_when_they_are_merged() -> None:
    merged = Report()
    for number in range(3):
        part = Report()
        for _ in range(MAX_REPORTED - 200):
            part.add(Path(str(number)), "", "x")
        merged.merge(part)
    assert len(merged.problems) == MAX_REPORTED + 1
    assert merged.count == 3 * (MAX_REPORTED - 200)
    assert f"and {merged.count - MAX_REPORTED:,} more problems" in str(merged.problems[-1])
