"""What keeps a stranger's pull request from doing harm in CI; each check shows first that it could fail."""

import re
from pathlib import Path

import pytest

WORKFLOWS = sorted((Path(__file__).parent.parent / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def unpinned(text: str) -> list[str]:
    """The actions that are not pinned to a commit, with its version in a comment."""
    return [line.strip() for line in text.splitlines() if "uses:" in line and not PINNED.search(line)]


def script_lines(text: str) -> list[str]:
    """The lines of every `run:`."""
    lines, indent = [], None
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if indent is not None and line.strip() and depth <= indent:
            indent = None
        if indent is not None:
            lines.append(line)
        if found := re.match(r"(\s*(?:- )?)run: ?(.*)", line):
            lines.append(found[2])
            indent = len(found[1])
    return lines


def test_the_checks_can_fail() -> None:
    assert unpinned("  - uses: actions/checkout@v4\n") == ["- uses: actions/checkout@v4"]
    script = "steps:\n  - name: x\n    run: |\n      echo ${{ github.head_ref }}\n    env: ${{ x }}\n  - run: y\n"
    assert script_lines(script) == ["|", "      echo ${{ github.head_ref }}", "y"]


def test_there_are_three() -> None:
    assert [path.stem for path in WORKFLOWS] == ["submissions-report", "submissions", "test"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_is_safe_to_run(path: Path) -> None:
    text = path.read_text("utf-8")
    assert unpinned(text) == []
    assert "pull_request_target:" not in text
    assert not any("${{" in line for line in script_lines(text)), "a value spliced into a script can be a command"
    assert re.search(r"^permissions:( \{\}$|\n  contents: read\n)", text, re.M)
    assert not re.search(r"\bsecrets\.\w", text)
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")


def test_only_the_report_may_write_and_it_checks_out_nothing() -> None:
    writers = [path.stem for path in WORKFLOWS if re.search(r"^\s+[\w-]+: write", path.read_text("utf-8"), re.M)]
    assert writers == ["submissions-report"]
    assert "uses:" not in WORKFLOWS[0].read_text("utf-8")
