"""The steps of submissions-report.yml, run with a `gh` that answers from a file: what is posted, and what is not."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.workflow_files import run_step, steps

pytestmark = pytest.mark.skipif(
    not (shutil.which("jq") and shutil.which("unzip")), reason="needs jq, in whose place gh filters, and unzip"
)
HEAD, FORK = "a" * 40, "b" * 40
RUN = {
    "REPOSITORY": "o/r",
    "RUN_ID": "5",
    "RUN_NUMBER": "12",
    "RUN_ATTEMPT": "2",
    "RUN_URL": "https://github.com/o/r/actions/runs/5",
    "CONCLUSION": "failure",
    "HEAD_SHA": HEAD,
    "HEAD_REPOSITORY": "stranger/r",
    "HEAD_OWNER": "stranger",
    "HEAD_BRANCH": "x; touch pwned",
    "LC_ALL": "C",
}
# The options of `gh api` that the steps use; what is written is kept beside the answers.
GH = """
import json, pathlib, subprocess, sys
_, command, *rest = sys.argv
assert command == "api"
method, fields, program, path = "GET", [], None, None
while rest:
    each = rest.pop(0)
    if each == "--method": method = rest.pop(0)
    elif each in ("-f", "-F"): fields.append(rest.pop(0))
    elif each == "--jq": program = rest.pop(0)
    elif each not in ("--paginate", "--silent"): path = each
if method != "GET":
    (field,) = fields
    body = pathlib.Path(field.removeprefix("body=@")).read_text()
    pathlib.Path("written.json").write_text(json.dumps([method, path, body]))
elif path.endswith("/zip"):
    sys.stdout.buffer.write(pathlib.Path("archive").read_bytes())
else:
    answer = json.loads(pathlib.Path("answers.json").read_text())[path]
    subprocess.run(["jq", "-r", program], input=json.dumps(answer), encoding="utf-8", check=True)
"""


class GitHub:
    """The answers to a run of the workflow, to be changed before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        pull = {"number": 7, "head": {"sha": HEAD, "repo": {"full_name": "stranger/r"}}}
        tree = [{"mode": "040000", "sha": name * 2, "path": name} for name in ("lgbench", "submissions")]
        self.comments: list[dict[str, Any]] = []
        self.answers: dict[str, Any] = {
            "repos/o/r/pulls": [pull],
            "repos/o/r/pulls/7": pull,
            "repos/o/r/actions/runs/5/artifacts": {"artifacts": [self.artifact(8, "2026-01-02")]},
            f"repos/o/r/compare/main...{HEAD}?per_page=1": {"merge_base_commit": {"sha": FORK}},
            f"repos/o/r/git/trees/{FORK}": {"truncated": False, "tree": tree},
            f"repos/o/r/git/trees/{HEAD}": {"truncated": False, "tree": [tree[0], {**tree[1], "sha": "changed"}]},
            "repos/o/r/issues/7/comments": self.comments,
        }
        (folder / "gh").write_text(f"#!{sys.executable}\n{GH}", "utf-8")
        (folder / "gh").chmod(0o755)
        self.report("1 problem in 1 system")

    @staticmethod
    def artifact(number: int, created: str) -> dict[str, Any]:
        return {"id": number, "name": "submission-report", "size_in_bytes": 500, "created_at": created}

    def report(self, text: str) -> None:
        """What the run leaves."""
        with zipfile.ZipFile(self.folder / "archive", "w") as archive:
            archive.writestr("report.txt", text)

    def comment(self, number: int, body: str, login: str = "github-actions[bot]") -> None:
        """A comment that is there already."""
        self.comments.append({"id": number, "user": {"login": login}, "body": body})

    def run(self, **changes: str) -> tuple[str, str, str] | None:
        """Run the workflow: the method, the path and the body of what it posts, or None."""
        (self.folder / "answers.json").write_text(json.dumps(self.answers), "utf-8")
        path = f"{self.folder}:/usr/bin:/bin"
        values = {**RUN, **changes, "PATH": path}
        found: dict[str, str] = {}
        for each in steps("submissions-report"):
            condition = each.get("if", "").removeprefix("steps.").replace(".outputs.", ".")
            if condition and not found.get(condition):
                continue
            named = {"NUMBER": found.get("find.number", ""), "ELSEWHERE": found.get("elsewhere.changes", "")}
            status, printed, outputs = run_step(each["run"], self.folder, {**values, **named})
            assert status == 0, printed
            found |= {f"{each.get('id')}.{name}": value for name, value in outputs.items()}
        assert not (self.folder / "pwned").exists()
        written = self.folder / "written.json"
        if not written.exists():
            return None
        method, where, body = json.loads(written.read_text("utf-8"))
        return method, where, body


@pytest.fixture
def github(tmp_path: Path) -> GitHub:
    return GitHub(tmp_path)


def mark(run: str) -> str:
    return f"<!-- lgbench submission report: run {run} -->\nold"


def test_a_first_comment(github: GitHub) -> None:
    github.comment(1, mark("99.1"), login="stranger")
    github.comment(2, "Another program says: hello")
    posted = github.run()
    assert posted is not None
    method, where, body = posted
    assert (method, where) == ("POST", "repos/o/r/issues/7/comments")
    assert body.startswith("<!-- lgbench submission report: run 12.2 -->\n")
    assert HEAD in body
    assert "failure" in body
    assert "1 problem in 1 system" in body
    assert "also changes files outside" not in body


@pytest.mark.parametrize("earlier", ["12.1", "11.9"])
def test_a_comment_about_an_older_run_is_renewed(github: GitHub, earlier: str) -> None:
    github.comment(3, mark(earlier))
    posted = github.run()
    assert posted is not None
    assert posted[:2] == ("PATCH", "repos/o/r/issues/comments/3")


def test_a_comment_of_the_first_version_is_renewed(github: GitHub) -> None:
    github.comment(3, "<!-- lgbench submission report -->\nold")
    assert github.run() is not None


@pytest.mark.parametrize("newer", ["12.3", "13.1"])
def test_a_comment_about_a_newer_run_stays(github: GitHub, newer: str) -> None:
    github.comment(3, mark(newer))
    assert github.run() is None


def test_nothing_is_posted_for_a_head_of_the_past(github: GitHub) -> None:
    github.answers["repos/o/r/pulls/7"] = {"number": 7, "head": {"sha": "c" * 40}}  # pushed in the meantime
    assert github.run() is None
    github.answers["repos/o/r/pulls"] = []
    assert github.run() is None


def test_a_pull_request_of_another_repository_with_this_commit_is_not_it(github: GitHub) -> None:
    github.answers["repos/o/r/pulls"][0]["head"]["repo"]["full_name"] = "stranger/other"
    assert github.run() is None


@pytest.mark.parametrize("how", ["changed", "added", "removed", "mode", "too long to list"])
def test_files_elsewhere_are_told(github: GitHub, how: str) -> None:
    root = github.answers[f"repos/o/r/git/trees/{HEAD}"]
    if how == "changed":
        root["tree"][0] = {**root["tree"][0], "sha": "other"}
    elif how == "added":
        root["tree"].append({"mode": "100644", "sha": "x", "path": "a\nb"})
    elif how == "removed":
        del root["tree"][0]
    elif how == "mode":
        root["tree"][0] = {**root["tree"][0], "mode": "120000"}
    else:
        root["truncated"] = True
    posted = github.run()
    assert posted is not None
    assert "also changes files outside submissions/ and leaderboard/" in posted[2]


def test_a_run_without_a_report(github: GitHub) -> None:
    github.answers["repos/o/r/actions/runs/5/artifacts"] = {"artifacts": []}
    assert github.run(CONCLUSION="success") is None
    posted = github.run()
    assert posted is not None
    assert "left no report" in posted[2]


def test_a_hostile_report_stays_in_its_block(github: GitHub) -> None:
    github.report("```\n@everyone \x1b[31m <b>\u202e" + "x" * 100_000)
    posted = github.run()
    assert posted is not None
    assert posted[2].count("```") == 2
    assert all(each.isascii() and (each.isprintable() or each == "\n") for each in posted[2])
    assert len(posted[2]) < 65_536
