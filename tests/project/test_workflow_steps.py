"""The shell steps of submissions.yml, run as GitHub runs them, in repositories with pull requests of all kinds."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lgbench.leaderboard.build import derive_files, write_files
from lgbench.submissions.checking import read_submissions
from tests.repository import Repository
from tests.submitted import OTHER_SEED, RUN, edit
from tests.workflow_files import ROOT, run_step, step

pytestmark = pytest.mark.slow

COMPARE = "Which code checks it, and whether there is anything to check"
LABEL = "Whether a maintainer allows more than a submission may change"
CHECK = "Check the submissions and the leaderboard"
SYSTEM = "submissions/my-system"


def executable(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script, "utf-8")
    path.chmod(0o755)


class Checkout:
    """A runner's workspace: `data`, and the programs that the steps call."""

    def __init__(self, folder: Path, submissions: Path) -> None:
        self.folder = folder
        data = folder / "data"
        shutil.copytree(submissions, data / "submissions")
        self.repository = Repository(data)
        self.repository.write("submissions/README.md", "Data only.")
        self.repository.write("lgbench/code.py")
        self.build()
        self.repository = Repository.start(data)
        executable(
            folder / "venv/bin/lgbench", f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m lgbench "$@"\n'
        )

    def build(self) -> None:
        """Rebuild the leaderboard."""
        data = self.repository.folder
        write_files(derive_files(read_submissions(data / "submissions")), data / "leaderboard")

    def run(self, name: str, **values: str) -> tuple[int, str, dict[str, str]]:
        """Run a step in the workspace."""
        values["RUNNER_TEMP"] = str(self.folder)
        return run_step(step("submissions", name)["run"], self.folder, values)

    def check(self, event: str = "pull_request", by_maintainer: str = "") -> tuple[int, str]:
        """Run what follows the checkout: the exit status and the report."""
        status, printed, found = self.run(COMPARE, EVENT=event)
        assert (status, found["touched"]) == (0, "yes"), printed
        assert found["base"] == self.repository.git("rev-parse", "HEAD^1")
        status, _, _ = self.run(CHECK, EVENT=event, BASE=found["base"], BY_MAINTAINER=by_maintainer)
        return status, (self.folder / "report.txt").read_text("utf-8")


@pytest.fixture
def checkout(tmp_path: Path, submissions: Path) -> Checkout:
    """Main has the system with one run; the branch of the pull request may add the other, which waits beside it."""
    other = submissions / "my-system" / OTHER_SEED
    other.rename(tmp_path / "other")
    return Checkout(tmp_path / "workspace", submissions)


def add_run(checkout: Checkout) -> None:
    shutil.copytree(checkout.folder.parent / "other", checkout.repository.folder / SYSTEM / OTHER_SEED)


def rename(checkout: Checkout) -> None:
    """Take over another's system, consistently."""
    checkout.repository.git("mv", SYSTEM, "submissions/mine")
    edit(checkout.repository.folder / "submissions/mine/system.json", lambda record: record.update(name="mine"))


def delete_a_run(checkout: Checkout) -> None:
    """A system keeps one run of two."""
    add_run(checkout)
    checkout.build()
    checkout.repository.git("switch", "--quiet", "main")
    checkout.repository.commit()
    checkout.repository.git("switch", "--quiet", "-C", "pull")
    shutil.rmtree(checkout.repository.folder / SYSTEM / RUN)


def test_a_submission_is_green(checkout: Checkout) -> None:
    add_run(checkout)
    checkout.build()
    checkout.repository.merge()
    status, report = checkout.check()
    assert status == 0, report
    assert "2 added to submissions/my-system (a system that exists already)" in report
    assert "1 system, 2 runs: all good" in report
    assert "is up to date" in report


@pytest.mark.parametrize(
    ("act", "what"),
    [(rename, "deleted or renamed"), (delete_a_run, "deleted or renamed")],
)
def test_an_attack_is_red_until_a_maintainer_allows_it(
    checkout: Checkout, act: Callable[[Checkout], None], what: str
) -> None:
    act(checkout)
    checkout.build()  # so that nothing else is wrong
    checkout.repository.merge()
    status, report = checkout.check()
    assert (status, what in report) == (1, True), report
    assert "is up to date" in report
    status, report = checkout.check(by_maintainer="yes")
    assert status == 0, report


@pytest.mark.parametrize("code", [False, True])
def test_a_leaderboard_that_the_base_would_not_derive(checkout: Checkout, code: bool) -> None:
    """It is red with the label too, unless the code that derives it changes with it."""
    add_run(checkout)
    if code:
        checkout.repository.write("lgbench/code.py", "changed")
    checkout.repository.merge()
    status, report = checkout.check()
    assert (status, "is not up to date" in report, "does not count" in report) == (1, True, False)
    status, report = checkout.check(by_maintainer="yes")
    assert (status, "is not up to date" in report, "does not count" in report) == (0 if code else 1, True, code)


def test_a_stale_base_shows_nothing_of_others(checkout: Checkout) -> None:
    add_run(checkout)
    checkout.build()
    checkout.repository.commit()
    checkout.repository.git("switch", "--quiet", "main")
    checkout.repository.write("README.md", "merged since")
    checkout.repository.commit()
    checkout.repository.git("switch", "--quiet", "pull")
    checkout.repository.merge()
    status, report = checkout.check()
    assert status == 0, report
    assert "README.md" not in report


def test_no_name_of_a_stranger_is_a_workflow_command(checkout: Checkout) -> None:
    """The runner takes `::` for one where a line begins, and `##[` anywhere."""
    names = ("::error::x", "x##[stop-commands]y", "###[add-mask]x", "####[[error]x")
    for name in names:
        checkout.repository.write(f"submissions/{name}/{name}", "x")
    checkout.repository.merge()
    _, _, found = checkout.run(COMPARE, EVENT="pull_request")
    status, printed, _ = checkout.run(CHECK, EVENT="pull_request", BASE=found["base"], BY_MAINTAINER="")
    report = (checkout.folder / "report.txt").read_text("utf-8")
    assert (status, [name for name in names if name not in report]) == (1, [])
    assert all(line.startswith("| ") and "##[" not in line for line in printed.splitlines())


def test_a_merge_queue_checks_what_it_merges_with_the_code_that_it_merges(checkout: Checkout) -> None:
    checkout.repository.write("lgbench/code.py", "changed")
    head = checkout.repository.merge()
    assert checkout.run(COMPARE, EVENT="merge_group")[2]["code"] == head
    status, report = checkout.check(event="merge_group")
    assert status == 0, report
    assert "compared with" not in report


@pytest.mark.parametrize(
    ("path", "touched"),
    [
        ("lgbench/code.py", "no"),
        ("docs/submissions/x.md", "no"),
        ("submissions/x", "yes"),
        ("Submissions/x", "yes"),
        ("leaderboard/deep/er/x", "yes"),
        ("LEADERBOARD", "yes"),
        ("audits/x.json", "yes"),
    ],
)
def test_whether_there_is_anything_to_check(checkout: Checkout, path: str, touched: str) -> None:
    for number in range(400):  # more than a filter of paths would see, and before it
        checkout.repository.write(f"a/{number}")
    checkout.repository.write(path, "changed")
    checkout.repository.merge()
    status, _, found = checkout.run(COMPARE, EVENT="pull_request")
    assert status == 0
    assert found == {
        "base": checkout.repository.git("rev-parse", "HEAD^1"),
        "code": checkout.repository.git("rev-parse", "HEAD^1"),
        "touched": touched,
    }


@pytest.mark.parametrize("path", ["submissions/x", "audits"])
def test_a_submodule_alone_is_something_to_check(checkout: Checkout, path: str) -> None:
    head = checkout.repository.git("rev-parse", "HEAD")
    checkout.repository.write(".gitmodules", f'[submodule "x"]\n\tpath = {path}\n\turl = y\n\tignore = all\n')
    checkout.repository.commit()
    checkout.repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},{path}")
    checkout.repository.git("commit", "--quiet", "--message", "x")
    checkout.repository.git("switch", "--quiet", "main")
    checkout.repository.git("merge", "--quiet", "--no-ff", "--message", "merge", "pull")
    assert checkout.check(by_maintainer="yes")[0] == 1


@pytest.mark.parametrize(
    ("event_label", "labels", "by_maintainer"),
    [
        ("maintainer-change", ["docs", "maintainer-change"], "yes"),
        ("maintainer-change", ["docs"], "no"),  # removed since; the run is repeated
        ("docs", ["docs", "maintainer-change"], "no"),  # set for an earlier commit
        ("maintainer-change", ["not-maintainer-change", "maintainer-change-2"], "no"),
    ],
)
def test_the_label_counts_when_it_was_set_for_this_run_and_is_there_now(
    tmp_path: Path, event_label: str, labels: list[str], by_maintainer: str
) -> None:
    if shutil.which("jq") is None:
        pytest.skip("there is no jq, in whose place gh filters")
    answer = json.dumps([{"name": label} for label in labels])
    gh = f"""#!/bin/bash
        [ "$1 $2 $3 $4" = 'api --paginate repos/o/r/issues/7/labels --jq' ] || exit 9
        jq -r "$5" <<< '{answer}'"""
    executable(tmp_path / "bin/gh", gh)
    found = step("submissions", LABEL)
    values = {"REPOSITORY": "o/r", "NUMBER": "7", "SET": event_label, "LABEL": found["env"]["LABEL"]}
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    status, printed, outputs = run_step(found["run"], tmp_path, {**values, "PATH": path, "RUNNER_TEMP": str(tmp_path)})
    assert status == 0, printed
    assert outputs == {"by_maintainer": by_maintainer}
