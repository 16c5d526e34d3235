"""`submit` adds all runs or none; `lgbench submit` and `lgbench validate` as typed."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.leaderboard.build import derive_files
from lgbench.submissions.checking import check, read_submissions
from lgbench.submissions.submitting import Details, submit
from lgbench.submissions.system import SystemRecord
from lgbench.util.errors import LgbenchError
from lgbench.util.files import TEMPORARY, owned_folder
from tests.submitted import OTHER_SEED, RUN, edit, problems

DETAILS = Details(description="Adds.", authors=("A", "B"), licence="MIT", link="https://example.org", parameters=7)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "clone" / "submissions"
    folder.mkdir(parents=True)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_system(empty: Path, run_folders: dict[str, Path]) -> None:
    submitted = submit(list(run_folders.values()), name="new", details=DETAILS, submissions=empty)
    assert submitted.runs == (empty / "new" / RUN, empty / "new" / OTHER_SEED)
    assert submitted.to_fix == ()
    assert problems(empty) == {}
    assert [path.name for path in empty.iterdir()] == ["new"]
    assert json.loads((empty / "new" / "system.json").read_text("utf-8")) == {
        "name": "new",
        "description": "Adds.",
        "authors": ["A", "B"],
        "link": "https://example.org",
        "licence": "MIT",
        "parameters": 7,
        "training_notes": "",
    }


def test_only_the_result_and_the_replies_are_copied(empty: Path, run_folders: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folders[RUN], run)
    (run / "training.json").write_text("{}", encoding="utf-8")
    (run / "model.safetensors").write_bytes(b"x")
    submit([run], name="new", details=DETAILS, submissions=empty)
    assert set(content(empty)) == {f"new/{RUN}/result.json", f"new/{RUN}/replies.jsonl.gz", "new/system.json"}


def test_details_that_are_missing_are_left_to_fill_in(empty: Path, run_folders: dict[str, Path]) -> None:
    submitted = submit([run_folders[RUN]], name="new", details=Details(description="Adds."), submissions=empty)
    assert [(each.path, each.problem.field) for each in submitted.to_fix] == [
        (empty / "new" / "system.json", "authors"),
        (empty / "new" / "system.json", "licence"),
    ]
    assert set(problems(empty)) == {("new/system.json", "authors"), ("new/system.json", "licence")}
    # More runs may come before it is mended, and details fill what is empty.
    again = submit([run_folders[OTHER_SEED]], name="new", details=Details(), submissions=empty)
    assert again.to_fix == submitted.to_fix
    filled = submit([], name="new", details=DETAILS._replace(description="Adds."), submissions=empty)
    assert (filled.runs, filled.to_fix) == ((), ())
    assert problems(empty) == {}


def test_more_runs_join_a_system_whose_record_is_kept(submissions: Path, run_folders: dict[str, Path]) -> None:
    shutil.rmtree(submissions / "my-system" / OTHER_SEED)
    edit(submissions / "my-system" / "system.json", lambda record: record.update(reproduced_by=None))
    before = content(submissions)
    submit([run_folders[OTHER_SEED]], name="my-system", details=Details(), submissions=submissions)
    after = content(submissions)
    assert before.items() < after.items()
    assert {path.split("/")[1] for path in after.keys() - before.keys()} == {OTHER_SEED}


def test_a_wrong_run_keeps_all_out(submissions: Path, run_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.rmtree(submissions / "my-system" / OTHER_SEED)
    before = content(submissions)
    spoiled = tmp_path / "spoiled"
    shutil.copytree(run_folders[RUN], spoiled)
    edit(spoiled / "result.json", lambda result: result.update(seed=9, limit=256))
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    with pytest.raises(LgbenchError) as caught:
        submit(
            [run_folders[OTHER_SEED], spoiled, unfinished],
            name="my-system",
            details=Details(),
            submissions=submissions,
        )
    said = str(caught.value).splitlines()
    assert said[0] == "Nothing was submitted."
    assert f"{unfinished / 'result.json'}: does not exist." in said
    assert any(line.startswith(f"{spoiled / 'result.json'}: limit: is 256") for line in said)
    assert any(line.startswith(f"{spoiled / 'result.json'}: replies_sha256: equals that of {RUN}") for line in said)
    assert len(said) == 4
    assert content(submissions) == before
    assert [path.name for path in submissions.iterdir()] == ["my-system"]


def test_a_run_that_cannot_be_read_is_named(submissions: Path, run_folders: dict[str, Path], tmp_path: Path) -> None:
    before = content(submissions)
    runs = [Path(shutil.copytree(folder, tmp_path / name)) for name, folder in run_folders.items()]
    for run in runs:
        (run / "replies.jsonl.gz").unlink()
        (run / "replies.jsonl.gz").mkdir()
    told = ["Nothing was submitted.", *(f"{run / 'replies.jsonl.gz'}: is not a regular file." for run in runs)]
    for name, details in (("my-system", Details()), ("other", DETAILS)):
        with pytest.raises(LgbenchError) as caught:
            submit(runs, name=name, details=details, submissions=submissions)
        assert str(caught.value).splitlines()[: len(told)] == told
    assert content(submissions) == before


def test_a_run_is_submitted_once(submissions: Path, run_folders: dict[str, Path], tmp_path: Path) -> None:
    before = content(submissions)
    with pytest.raises(LgbenchError, match=r"There is nothing new: .*my-system' has this run already"):
        submit([run_folders[RUN]], name="my-system", details=Details(), submissions=submissions)
    with pytest.raises(LgbenchError, match="is another run of the same arm, group and seed as"):
        submit([run_folders[RUN], run_folders[RUN]], name="other", details=Details(), submissions=submissions)
    again = tmp_path / "again"
    shutil.copytree(run_folders[RUN], again)
    edit(again / "result.json", lambda result: result.update(duration=1.5))
    with pytest.raises(LgbenchError, match=r"is another run of the same arm, group and seed as .*my-system"):
        submit([again], name="my-system", details=Details(), submissions=submissions)
    assert content(submissions) == before


def test_runs_of_another_system_are_refused(submissions: Path, run_folders: dict[str, Path]) -> None:
    before = content(submissions)
    with pytest.raises(LgbenchError, match=f"equals that of my-system/{RUN}") as refusal:
        submit(list(run_folders.values()), name="your-system", details=DETAILS, submissions=submissions)
    assert str(run_folders[OTHER_SEED]) in str(refusal.value)
    assert content(submissions) == before


def test_runs_that_are_there_already_are_left_alone(submissions: Path, run_folders: dict[str, Path]) -> None:
    shutil.rmtree(submissions / "my-system" / OTHER_SEED)
    both = [run_folders[RUN], run_folders[OTHER_SEED]]
    submitted = submit(both, name="my-system", details=Details(), submissions=submissions)
    assert submitted.runs == (submissions / "my-system" / OTHER_SEED,)
    assert submitted.there == (submissions / "my-system" / RUN,)


@pytest.mark.parametrize(
    ("details", "field"),
    [
        (DETAILS._replace(link="javascript:alert(1)"), "link"),
        (DETAILS._replace(authors=("A", " ")), r"authors\[1\]"),
        (DETAILS._replace(parameters=-7), "parameters"),
    ],
)
def test_details_are_checked_before_anything_is_written(
    empty: Path, run_folders: dict[str, Path], details: Details, field: str
) -> None:
    with pytest.raises(LgbenchError, match=rf"new/system\.json: {field}"):
        submit([run_folders[RUN]], name="new", details=details, submissions=empty)
    assert content(empty) == {}


def test_a_detail_that_is_not_utf_8(empty: Path, run_folders: dict[str, Path]) -> None:
    with pytest.raises(LgbenchError, match=r"Nothing was submitted\. This is not valid UTF-8: .*caf\\udce9'"):
        submit([run_folders[RUN]], name="mine", details=Details(description="caf\udce9"), submissions=empty)
    assert not (empty / "mine").exists()


def test_a_name_or_a_place_that_cannot_be(empty: Path, run_folders: dict[str, Path]) -> None:
    run = [run_folders[RUN]]
    with pytest.raises(LgbenchError, match=r"'\.\./x' is not a name for a system"):
        submit(run, name="../x", details=DETAILS, submissions=empty)
    with pytest.raises(LgbenchError, match=r"Cannot write to .*nowhere.*: No such file or directory"):
        submit(run, name="x", details=DETAILS, submissions=empty / "nowhere" / "at" / "all")
    submit(run, name="x", details=DETAILS, submissions=empty / "made")
    assert problems(empty / "made") == {}


def test_details_of_an_existing_system_are_changed_in_its_file(submissions: Path, run_folders: dict[str, Path]) -> None:
    before = content(submissions)
    with pytest.raises(LgbenchError, match=r"system\.json' says description, authors already"):
        submit(
            [run_folders[RUN]],
            name="my-system",
            details=Details(description="Other.", authors=("Z",)),
            submissions=submissions,
        )
    for text, message in (("[]", "is no JSON object"), ("{", "is not valid JSON")):
        (submissions / "my-system" / "system.json").write_text(text, encoding="utf-8")
        with pytest.raises(LgbenchError, match=message):
            submit([], name="my-system", details=DETAILS, submissions=submissions)
        assert (submissions / "my-system" / "system.json").read_text("utf-8") == text
    assert before.keys() == content(submissions).keys()


def test_a_result_that_names_a_path_stays_inside(empty: Path, run_folders: dict[str, Path], tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled"
    shutil.copytree(run_folders[RUN], spoiled)
    edit(spoiled / "result.json", lambda result: result.update(group="../../../../outside"))
    before = content(tmp_path)
    with pytest.raises(LgbenchError, match="group"):
        submit([spoiled], name="new", details=DETAILS, submissions=empty)
    assert content(tmp_path) == before


def lgbench(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_submit_and_validate_as_typed(
    empty: Path, run_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(empty.parent)
    assert lgbench("validate") == (0, "0 systems, 0 runs: all good\n")
    status, out = lgbench("submit", *run_folders.values(), "--name", "mine", "--authors", "A", "--authors", "B")
    assert status == 0
    assert f"Added submissions/mine/{RUN}\n" in out
    assert "fix these:\n  submissions/mine/system.json: description: fill this in\n" in out
    assert "git add submissions/mine leaderboard\n" in out
    assert "need a clone" not in out
    assert "need a clone" in lgbench("submit", run_folders[RUN], "--name", "mine", "--submissions", "elsewhere")[1]
    status, out = lgbench("validate")
    assert status == 1
    assert out.splitlines() == [
        "submissions/mine/system.json",
        "  description: fill this in",
        "  licence: fill this in",
        "",
        "2 problems in 1 system, 2 runs.",
    ]
    edit(empty / "mine" / "system.json", lambda record: record.update(description="Adds.", licence="MIT"))
    status, out = lgbench("validate", "submissions/mine")
    assert (status, out.splitlines()[:2]) == (
        0,
        [
            "1 system, 2 runs: all good",
            "mine on mini-v1: closed division, self-reported. Missing for the next tier:",
        ],
    )


def test_validate_for_programs(submissions: Path) -> None:
    status, out = lgbench("validate", submissions, "--json")
    assert (status, json.loads(out)) == (0, {"systems": 1, "runs": 2, "problems": [], "alarms": []})
    assert lgbench("validate", submissions, "--quiet") == (0, "")
    (submissions / "my-system" / "x").write_text("", encoding="utf-8")
    status, out = lgbench("validate", submissions, "--quiet")
    assert status == 1
    assert out.splitlines()[-1] == "1 problem in 1 system, 2 runs."
    status, out = lgbench("validate", submissions, "--json")
    assert status == 1
    (problem,) = json.loads(out)["problems"]
    assert problem["path"] == str(submissions / "my-system" / "x")
    assert problem["field"] == ""
    assert "does not belong" in problem["message"]


def test_validate_of_what_does_not_exist(tmp_path: Path) -> None:
    status, out = lgbench("validate", tmp_path / "nowhere")
    assert status == 1
    assert "cannot be read as a folder: No such file or directory" in out


def test_no_submission_can_write_to_the_terminal(submissions: Path) -> None:
    (submissions / "my-system" / "\x1b[2Jx\n").mkdir()
    edit(submissions / "my-system" / "system.json", lambda record: record.update({"\x1b]0;x\x07\n": 1}))
    _, out = lgbench("validate", submissions)
    assert "\x1b" not in out
    assert "\x07" not in out
    assert r"\x1b[2Jx\n" in out
    assert check([submissions]).submissions == ()


def test_the_docs_name_every_field_and_every_column(submissions: Path) -> None:
    docs = Path(__file__).parents[2] / "docs"
    submitting = (docs / "submitting.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", submitting, re.M) == list(SystemRecord.model_fields)
    reading = (docs / "leaderboard.md").read_text("utf-8")
    row = next(
        line for line in derive_files(read_submissions(submissions))["README.md"].splitlines() if "seeds" in line
    )
    for column in row.strip("| ").split("|"):
        if column.strip() not in ("system", "mean group score", "parameters"):
            assert column.strip() in reading


def test_one_submit_at_a_time_and_what_a_killed_one_left_goes(empty: Path, run_folders: dict[str, Path]) -> None:
    with owned_folder(empty), pytest.raises(LgbenchError, match="Another process is writing"):
        submit(list(run_folders.values()), name="new", details=DETAILS, submissions=empty)
    (empty / f".new-killed{TEMPORARY}" / "new").mkdir(parents=True)
    submit(list(run_folders.values()), name="new", details=DETAILS, submissions=empty)
    assert [path.name for path in empty.iterdir()] == ["new"]


def test_a_board_is_not_built_of_a_system_or_a_run(empty: Path, run_folders: dict[str, Path]) -> None:
    submit(list(run_folders.values()), name="new", details=DETAILS, submissions=empty)
    for folder in (empty / "new", empty / "new" / RUN):
        with pytest.raises(LgbenchError, match="is a system or a run"):
            read_submissions(folder)


@pytest.mark.parametrize(
    "place",
    ["submissions", "submissions/new", "submissions/new/system.json", f"submissions/new/{RUN}", "submissions/.lock"],
)
@pytest.mark.parametrize("target", ["elsewhere", "gone"])
def test_nothing_is_submitted_through_a_link(
    place: str, target: str, empty: Path, run_folders: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = empty.parent / place
    if link == empty:
        empty.rmdir()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(LgbenchError, match=f"{link.name}' is a link"):
        submit(list(run_folders.values()), name="new", details=DETAILS, submissions=empty)
    assert sorted(tmp_path.rglob("*")) == before
