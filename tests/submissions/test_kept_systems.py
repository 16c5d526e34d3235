"""What is left of a system is derived from the same bytes, the same audits and the same code once, and never else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lgbench.submissions import kept as kept_module
from lgbench.submissions.checked import Submission
from lgbench.submissions.checking import reduce_submissions
from lgbench.submissions.kept import KeptScores
from lgbench.util.errors import LgbenchError
from tests.submitted import OTHER_SEED, RUN, edit

pytestmark = pytest.mark.slow
DERIVED: list[str] = []
AUDIT = {
    "schema_version": 1,
    "system": "my-system",
    "suite": "mini-v1",
    "auditor": "M",
    "moment": "2026-11-30T12:00:00Z",
    "lgbench": "0.1.0",
    "machine": "x",
    "nonce": None,
    "audited": [],
    "retrained": [
        {"run": RUN, "training_sha256": "0" * 64, "until": 1, "points": 1, "differing": 0, "elsewhere": False}
        | {"zone_correct": None}
    ],
}


def left(submission: Submission) -> tuple[bytes, ...]:
    """A reduction that notes what it was called for."""
    DERIVED.append(submission.system.name)
    correct = sum(cell.counts.correct for run in submission.runs for cell in run.result.cells)
    return (submission.system.name.encode(), b"\n", f"{correct} {len(submission.audits)}".encode(), b"")


@pytest.fixture
def kept(tmp_path: Path) -> KeptScores:
    DERIVED.clear()
    return KeptScores(tmp_path / "cache")


def test_a_system_is_derived_once(submissions: Path, kept: KeptScores) -> None:
    first = reduce_submissions(submissions, left, kept=kept)
    assert DERIVED == ["my-system"]
    assert reduce_submissions(submissions, left, kept=kept) == first == reduce_submissions(submissions, left)
    assert DERIVED == ["my-system"] * 2, "once more without what was kept"
    assert reduce_submissions(submissions, left, kept=kept, jobs=2) == first


def audited(system: Path) -> None:
    folder = system.parents[1] / "audits" / system.name
    folder.mkdir(parents=True)
    (folder / "again.json").write_text(json.dumps(AUDIT), encoding="utf-8")


def declared(system: Path) -> None:
    text = {"schema_version": 1, "trials": 0, "selected_on": "nothing", "tuned_arms": [], "tuning_seeds": []}
    (system / "declaration.json").write_text(json.dumps(text | {"open_data": None}), encoding="utf-8")


CHANGES: dict[str, Callable[[Path], object]] = {
    "its record": lambda system: edit(system / "system.json", lambda record: record.update(licence="MIT")),
    "a declaration": declared,
    "an audit": audited,
    "a run less": lambda system: shutil.rmtree(system / RUN),
    "the name of a run": lambda system: (system / RUN).rename(system / "renamed"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_changes_it_is_derived_again(
    change: Callable[[Path], object], submissions: Path, kept: KeptScores
) -> None:
    reduce_submissions(submissions, left, kept=kept)
    change(submissions / "my-system")
    assert reduce_submissions(submissions, left, kept=kept) == reduce_submissions(submissions, left)
    assert len(DERIVED) == 3


SPOILED: dict[str, Callable[[Path], object]] = {
    "a stray file": lambda system: (system / RUN / "notes.txt").touch(),
    "a stray folder": lambda system: (system / "notes").mkdir(),
    "a folder in a run": lambda system: (system / RUN / "training.json").mkdir(),
    "a link": lambda system: (system / "declaration.json").symlink_to(system / "system.json"),
    "a linked run": lambda system: (system / "linked").symlink_to(system / RUN),
    "another count": lambda system: edit(
        system / RUN / "result.json", lambda record: record["cells"][0]["counts"].update(chars_correct=1)
    ),
    "replies of another run": lambda system: shutil.copy(
        system / RUN / "replies.jsonl.gz", system / OTHER_SEED / "replies.jsonl.gz"
    ),
}


@pytest.mark.parametrize("change", SPOILED.values(), ids=SPOILED)
def test_what_is_wrong_is_found_though_the_system_was_kept(
    change: Callable[[Path], object], submissions: Path, kept: KeptScores
) -> None:
    reduce_submissions(submissions, left, kept=kept)
    change(submissions / "my-system")
    for _ in range(2):
        with pytest.raises(LgbenchError):
            reduce_submissions(submissions, left, kept=kept)


def test_a_copy_of_a_kept_system_is_found(submissions: Path, kept: KeptScores) -> None:
    reduce_submissions(submissions, left, kept=kept)
    shutil.copytree(submissions / "my-system", submissions / "other")
    edit(submissions / "other" / "system.json", lambda record: record.update(name="other"))
    for _ in range(2):  # the second time both are kept
        with pytest.raises(LgbenchError, match="no two systems give the same"):
            reduce_submissions(submissions, left, kept=kept)
    assert DERIVED == ["my-system", "other"]


@pytest.mark.parametrize("damage", ["", "x", "a byte", "another version", "another purpose"])
def test_no_other_entry_is_used(
    damage: str, submissions: Path, kept: KeptScores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reduce_submissions(submissions, left, kept=kept)
    (entry,) = (path for path in (tmp_path / "cache" / "systems").rglob("*") if path.is_file())
    content = entry.read_bytes()
    entry.write_bytes({"": b"", "x": b"x", "a byte": content[:-1] + b"1"}.get(damage, content))
    if damage == "another version":
        monkeypatch.setattr(kept_module, "package_digest", lambda: "1" * 64)
    if damage == "another purpose":
        monkeypatch.setattr(left, "__qualname__", "other")
    assert reduce_submissions(submissions, left, kept=KeptScores(tmp_path / "cache")) == expected
    assert len(DERIVED) == 2
    monkeypatch.undo()
    if damage == "another version":
        assert not entry.exists(), "entries of another version are removed"
