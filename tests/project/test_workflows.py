"""What keeps a stranger's pull request from doing harm in CI; each check shows first that it could fail."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lgbench.submissions.audits import AUDITS_FOLDER
from lgbench.submissions.changes import LEADERBOARD_FOLDER
from lgbench.submissions.system import SUBMISSIONS_FOLDER
from tests.workflow_files import ROOT, WORKFLOWS, job, jobs, load, step, steps
from tools import constraints

CONSTRAINTS = (ROOT / "constraints.txt").read_text("utf-8")
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
TOUCHED = "steps.compare.outputs.touched == 'yes'"


def unpinned(text: str) -> list[str]:
    """The actions that are not pinned to a commit, with its version in a comment."""
    return [line.strip() for line in text.splitlines() if "uses:" in line and not PINNED.search(line)]


def scripts(name: str) -> list[str]:
    return [each["run"] for each in steps(name) if "run" in each]


def writers() -> list[tuple[str, str]]:
    """The workflows that may write, and what."""
    granted = [(path.stem, each) for path in WORKFLOWS for each in (load(path.stem), *jobs(path.stem).values())]
    return [
        (name, scope) for name, each in granted for scope, how in each.get("permissions", {}).items() if how != "read"
    ]


def test_an_unpinned_action_would_be_found() -> None:
    assert unpinned("  - uses: actions/checkout@v4\n") == ["- uses: actions/checkout@v4"]


def test_there_are_six() -> None:
    names = ["nightly", "release", "site", "submissions-report", "submissions", "test"]
    assert [path.stem for path in WORKFLOWS] == names


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_safe_to_run(path: Path) -> None:
    text, workflow = path.read_text("utf-8"), load(path.stem)
    assert unpinned(text) == []
    assert "pull_request_target" not in workflow["on"]
    assert scripts(path.stem)
    assert not any("${{" in script for script in scripts(path.stem)), "a value in a script can become a command"
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert not re.search(r"\bsecrets\.\w", text)
    for each in steps(path.stem):
        if "actions/checkout@" in each.get("uses", ""):
            assert each["with"]["persist-credentials"] is False


def test_what_may_write_is_known_and_the_report_checks_out_nothing() -> None:
    assert writers() == [
        ("release", "id-token"),
        ("site", "pages"),
        ("site", "id-token"),
        ("submissions-report", "pull-requests"),
    ]
    assert not any("uses" in each for each in steps("submissions-report"))


@pytest.mark.parametrize("name", ["submissions", "test"])
def test_every_pull_request_to_main_is_checked_and_again_in_a_merge_queue(name: str) -> None:
    triggers = load(name)["on"]
    assert triggers["merge_group"] == {"branches": ["main"]}
    assert triggers["pull_request"]["branches"] == ["main"]
    # It would see 300 files; and a job that is skipped counts as one that passed.
    assert triggers["pull_request"].keys() <= {"branches", "types"}
    assert all(each.get("if", "always()") == "always()" for each in jobs(name).values())


def test_one_job_stands_for_all_and_fails_with_any_of_them() -> None:
    *others, last = jobs("test")
    assert (last, jobs("test")[last]["needs"]) == ("test", others)
    assert jobs("test")[last]["if"] == "always()"
    script = jobs("test")[last]["steps"][0]["run"]
    for failed, status in (("false", 0), ("true", 1), ("", 1)):
        assert subprocess.run(["bash", "-ec", script], env={"FAILED": failed}, check=False).returncode == status
    assert f"the checks `validate` and `{last}`" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_the_jobs_run_every_stage_of_the_complete_check() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    (every,) = re.findall(r"^    set -- (.*)$", script, re.MULTILINE)
    stages = [stage for each in scripts("test") if each.startswith(".ci/run ") for stage in each.split()[1:]]
    assert sorted(stages) == sorted([*every.split(), "peers"])
    assert scripts("nightly") == [".ci/run nightly"]
    for name in ("test", "nightly"):
        assert jobs(name)["tests"]["strategy"]["matrix"]["shard"] == ["1/3", "2/3", "3/3"]


def test_a_release_is_published_by_a_job_that_runs_nothing_of_it() -> None:
    assert load("release")["on"] == {"push": {"tags": ["v*"]}}
    build, publish = jobs("release")["build"], jobs("release")["publish"]
    assert build["permissions"] == {"contents": "read"}
    assert (publish["needs"], publish["environment"]) == (["build"], "pypi")
    ran = " ".join(each.get("run", "") for each in publish["steps"])
    assert ".ci/run" not in ran
    assert "lgbench" not in ran.replace("github", "")
    assert ".ci/run dist" in [each.get("run") for each in build["steps"]]


def test_the_site_is_published_by_a_job_that_runs_nothing_of_it() -> None:
    assert load("site")["on"] == {"push": {"branches": ["main"]}}
    assert jobs("site")["build"]["permissions"] == {"contents": "read"}
    assert not any("run" in each or "checkout@" in each["uses"] for each in jobs("site")["publish"]["steps"])


def test_a_run_on_main_is_never_cancelled() -> None:
    workflow = load("test")
    assert workflow["on"]["push"] == {"branches": ["main"]}
    # Of those that wait in one group only the newest is kept, so each has its own.
    assert workflow["concurrency"] == {
        "group": "test-${{ github.event.pull_request.number || github.run_id }}",
        "cancel-in-progress": "${{ github.event_name == 'pull_request' }}",
    }
    assert load("submissions")["concurrency"]["group"].endswith(
        "{{ github.event.pull_request.number || github.run_id }}"
    )


def test_code_and_data_come_from_one_merge_commit() -> None:
    text = (ROOT / ".github/workflows/submissions.yml").read_text("utf-8")
    assert not any("base.sha" in str(each) for each in steps("submissions"))
    data, code = (each["with"] for each in steps("submissions") if "actions/checkout@" in each.get("uses", ""))
    assert (data["ref"], data["fetch-depth"], data["path"]) == ("${{ github.sha }}", 2, "data")
    assert (code["ref"], code["path"]) == ("${{ steps.compare.outputs.code }}", "base")
    assert text.index("core.symlinks false") < text.index("actions/checkout@")


def test_after_the_first_look_every_step_is_for_what_touches_submissions() -> None:
    every = list(steps("submissions"))
    first = every.index(step("submissions", "Which code checks it, and whether there is anything to check"))
    assert all(TOUCHED in each["if"] for each in every[first + 1 :])
    assert len(every) > first + 5
    guarded = re.findall(r":\(icase\)(\w+)", every[first]["run"])
    assert guarded == [SUBMISSIONS_FOLDER, LEADERBOARD_FOLDER, AUDITS_FOLDER]


def test_setting_the_label_starts_a_run_and_so_does_removing_it() -> None:
    types = load("submissions")["on"]["pull_request"]["types"]
    assert set(types) == {"opened", "synchronize", "reopened", "labeled", "unlabeled"}
    label = step("submissions", "Whether a maintainer allows more than a submission may change")
    assert "github.event.action == 'labeled'" in label["if"]
    for page in ("CONTRIBUTING.md", "docs/submitting.md"):
        assert f"`{label['env']['LABEL']}`" in (ROOT / page).read_text("utf-8")


def pins() -> dict[str, str]:
    return {constraints.normal(name): version for name, version in constraints.pins(CONSTRAINTS).items()}


def environments() -> Iterator[tuple[str, dict[str, Any]]]:
    """Where pip runs: the folder of constraints.txt and the environment of the step or job."""
    yield "/base", step("submissions", "Install the base branch's code")["env"]
    for name in ("test", "release", "site"):
        for each in jobs(name).values():
            if any("setup-python@" in step.get("uses", "") for step in each["steps"]):
                yield "", each["env"]


def test_the_build_backend_is_pinned_and_pip_is_told() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    required = [re.split("[^a-z-]", each)[0] for each in project["build-system"]["requires"]]
    # What hatchling needs in turn, as its metadata says.
    needed = ["packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers"]
    assert required == ["hatchling"]
    assert {*required, *needed, "pip"} <= pins().keys()
    assert len(list(environments())) == 8
    for folder, each in environments():
        path = f"${{{{ github.workspace }}}}{folder}/constraints.txt"
        assert {name: value for name, value in each.items() if name.startswith("PIP_")} == {
            "PIP_CONSTRAINT": path,
            "PIP_BUILD_CONSTRAINT": path,
        }


def test_one_report_at_a_time_and_of_the_workflow_that_is_ours() -> None:
    report = job("submissions-report")
    assert report["concurrency"]["cancel-in-progress"] is False
    for part in ("head_repository.full_name", "head_branch"):
        assert part in report["concurrency"]["group"]
    assert "'.github/workflows/submissions.yml'" in report["if"]
    assert load("submissions-report")["on"] == {"workflow_run": {"workflows": ["submissions"], "types": ["completed"]}}
    assert not any("/files" in script for script in scripts("submissions-report")), "a list that ends after 3 000"
