"""`lgbench show` and `lgbench compare` as typed: finished runs, wherever they lie."""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path

import pytest

from lgbench.cli._folders import finished_runs
from lgbench.cli._report import notes, sparkline
from lgbench.results.schema import Result, SystemInfo
from lgbench.scoring.measures import summarize
from lgbench.util.errors import LgbenchError
from tests.cli.test_cli import EXAMPLE
from tests.made_up import make_result
from tests.shell import Shell


@pytest.mark.slow
def test_accuracy_by_length_where_a_task_lacks_lengths_or_on_request(lgbench: Shell) -> None:
    chosen = lgbench("eval", f"{EXAMPLE}:MyModel", "--task", "reverse_add,mqar", "--length", "4,14,4", "-o", "chosen")
    rows = [line.split() for line in chosen.out.splitlines()]
    assert ["reverse_add", "100", "0"] in rows
    assert ["mqar", "0", "0"] in rows
    assert lgbench("eval", f"{EXAMPLE}:MyModel", "--task", "reverse_add", "-q", "-o", "whole").status == 0
    heading = "exact match in %"
    arm = ["--group", "add-multiply", "--arm", "main_only"]  # whose grid ends where that of reverse_add goes on
    assert heading not in lgbench("eval", f"{EXAMPLE}:MyModel", *arm).out
    assert heading not in lgbench("show", "whole").out
    shown = lgbench("show", "whole", "--lengths").out
    assert ["reverse_add", *["100"] * 6, *["0"] * 4] in [line.split() for line in shown.splitlines()]
    assert heading in shown


def test_compare_leaves_out_what_is_not_compared(lgbench: Shell) -> None:
    whole = ["--group", "add-multiply", "--arm", "main_only", "--seed", "0", "-q"]
    lgbench("eval", "echo", *whole, "--output", "runs/whole")
    lgbench(
        "eval", "echo", "--suite", "standard-v1", "--task", "reverse", "--limit", "1", "-q", "--output", "runs/a-part"
    )
    Path("runs/a-part/replies.jsonl.gz").unlink()  # nor is it re-scored
    done = lgbench("compare", "runs")
    assert done.status == 0, done.err
    assert "Left out: runs/a-part, as it is limited to 1 examples of a cell." in done.err
    assert "add-multiply: reverse_add by length" in done.out
    alone = lgbench("compare", "runs/a-part")
    assert alone.status == 1
    assert "Error: 'echo' has no complete run. Evaluate with --group and --arm" in alone.err


def test_a_sparkline_keeps_nothing_and_everything_apart(lgbench: Shell) -> None:
    lgbench("eval", "echo", "--task", "repeat_first", "--output", "run", "--quiet")
    (task,) = summarize(Result.model_validate_json(Path("run/result.json").read_text("utf-8")))
    assert sparkline(task) == "▂" + "▁" * 9  # 4 of 256 two-letter strings repeat their first letter


@pytest.mark.slow
def test_finished_runs_are_shown_and_compared(lgbench: Shell) -> None:
    for arm, digits in (("main_only", "8"), ("transfer", "14"), ("control", "8")):
        options = ["--group", "add-carry", "--arm", arm, "--model-option", f"max_digits={digits}", "--output", arm]
        assert lgbench("eval", f"{EXAMPLE}:MyModel", *options, "--quiet").status == 0
    assert "arm transfer" in " ".join(lgbench("show", "transfer").out.split())  # a long path may break the line there
    lines = lgbench("compare", "main_only", "transfer", "control").out.splitlines()
    interval = "95 % interval +72.2 to +77.6, one seed: over examples alone"
    assert lines[:4] == [
        "Was transfer seen?",
        "add-carry: too few seeds",
        f"  over main_only: +75.0 points ({interval})",
        f"  over control: +75.0 points ({interval})",
    ]
    assert lines[4] == "  1 seed in every arm: 3 are needed for a verdict"
    (group,) = json.loads(lgbench("compare", "main_only", "transfer", "control", "--json").out)
    assert (group["suite"], group["group"], group["main"]) == ("mini-v1", "add-carry", "reverse_add")
    assert group["transfer_gain"]["value"] == 0.75
    assert (group["verdict"]["word"], group["recovered_share"]) == ("too few seeds", None)
    transfer = group["arms"]["transfer"]
    assert transfer["zones"] == {"in_distribution": 1.0, "transfer": 0.75, "beyond": 0.0}
    assert [each["by_seed"] for each in transfer["lengths"]] == [[1.0]] * 7 + [[0.0]] * 3
    assert list(group["arms"]) == ["main_only", "transfer", "control"]
    limited = ["--group", "add-carry", "--arm", "control", "--limit", "3", "--output", "limited"]
    assert lgbench("eval", "echo", *limited, "--quiet").status == 0
    done = lgbench("compare", "main_only", "transfer", "limited")
    assert "neither control nor short_aux ran" in done.out
    assert done.err == "Left out: limited, as it is limited to 3 examples of a cell.\n"


def test_a_run_that_is_named_twice_is_found_once_in_its_first_place(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}", encoding="utf-8")
    a, b = tmp_path / "a", tmp_path / "b"
    assert finished_runs([a, b, a]) == [a, b]
    assert finished_runs([b, tmp_path]) == [b, a]


def test_arms_of_two_systems_are_not_mixed(lgbench: Shell) -> None:
    for system in ("one", "two"):
        folder = f"submissions/{system}"
        options = ["--group", "add-multiply", "--arm", "main_only", "--output", f"{folder}/run", "--quiet"]
        assert lgbench("eval", "echo", *options).status == 0
        system_record = Path(EXAMPLE).parents[1] / "submissions/reference-rope/system.json"
        record = json.loads(system_record.read_text("utf-8"))
        Path(folder, "system.json").write_text(json.dumps(record | {"name": system}), encoding="utf-8")
    done = lgbench("compare", "submissions")
    assert "No group has complete runs of arm 'transfer' of two of these systems." in done.err
    assert "Compare them in arm 'main_only' (--arm main_only)." in done.err
    assert done.out == ""
    compared = lgbench("compare", "submissions", "--arm", "main_only")
    assert compared.out.startswith("There are too few seeds to tell one and two apart.\n")
    assert "  A run has the same replies in both: one may be a copy of the other.\n" in compared.out
    assert lgbench("compare", "submissions/one").status == 0


@pytest.mark.slow
def test_each_suite_is_compared_by_itself(lgbench: Shell) -> None:
    for suite in ("mini-v1", "standard-v1"):
        options = ["--suite", suite, "--group", "add-multiply", "--arm", "main_only", "--quiet"]
        assert lgbench("eval", "echo", *options, "--output", f"runs/{suite}").status == 0
    done = lgbench("compare", "runs")
    headings = [line for line in done.out.splitlines() if line.startswith("Suite")]
    assert headings == ["Suite mini-v1", "Suite standard-v1"]
    assert "Suite" not in lgbench("compare", "runs/mini-v1").out


def test_runs_behind_links_are_found_once(lgbench: Shell) -> None:
    assert lgbench("eval", "echo", "--task", "mqar", "--length", "2", "--output", "disk/run", "--quiet").status == 0
    Path("runs").mkdir()
    Path("runs/linked").symlink_to(Path("disk").absolute())
    Path("runs/loop").symlink_to(Path("runs").absolute())
    assert lgbench("show", "runs", "--full").out.count("Result: runs/linked/run") == 1
    assert lgbench("eval", "echo", "--task", "mqar", "--length", "2", "--output", "runs/own", "--quiet").status == 0
    Path("runs/alias").symlink_to(Path("runs/own").absolute())
    shown = re.findall("^Result: (.*)$", lgbench("show", "runs", "--full").out, flags=re.MULTILINE)
    assert shown == ["runs/linked/run", "runs/own"]


def test_only_trained_arms_compare(lgbench: Shell) -> None:
    assert lgbench("eval", "echo", "--task", "mqar", "--output", "run", "--quiet").status == 0
    done = lgbench("compare", "run")
    assert (done.status, done.out) == (1, "")
    assert "'echo' has no complete run. Evaluate with --group and --arm" in done.err


@pytest.mark.parametrize(("kind", "model"), [("builtin", "echo"), ("checkpoint", "tiny:transfer"), ("file", "m.py:M")])
def test_whether_a_result_can_be_submitted_is_said_by_submit_alone(kind: str, model: str) -> None:
    result = make_result(lambda cell: 1, system=SystemInfo.model_validate({"model": model, "kind": kind}))
    assert not [line for line in notes(result) if "submit" in line]


def test_show_tells_of_a_damaged_result_and_shows_the_others(lgbench: Shell) -> None:
    for name in ("a", "b"):
        lgbench("eval", "echo", "--task", "reverse", "--length", "2", "-q", "--output", f"runs/{name}")
    Path("runs/a/result.json").write_text("{", encoding="utf-8")
    done = lgbench("show", "runs", "--full")
    assert done.status == 1
    assert "runs/a/result.json" in done.err
    assert "is not valid JSON" in done.err
    assert "Result: runs/b" in done.out


def test_what_a_stranger_named_a_model_cannot_write_to_the_terminal(lgbench: Shell) -> None:
    lgbench("eval", "echo", "--task", "reverse", "--length", "2", "-q", "--output", "run")
    result = json.loads(Path("run/result.json").read_text("utf-8"))
    result["system"]["model"] = "x\x1b]0;title\x07\x1b[2J\u202eevil\nOpen score: 100 %"
    Path("run/result.json").write_text(json.dumps(result), encoding="utf-8")
    done = lgbench("show", "run")
    assert done.status == 0, done.err
    assert r"x\x1b]0;title\x07" in done.out.replace("\n", "")
    assert not {"\x1b", "\x07", "\u202e"} & set(done.out)
    assert not any(line.startswith("Open score") for line in done.out.splitlines())


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it every mean would be of fewer runs than the user has."""
    (closed := tmp_path / "runs" / "closed").mkdir(parents=True)
    scan = os.scandir

    def refused(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(LgbenchError, match=r"Cannot read '.*closed': Permission denied\. Make it readable"):
        finished_runs([tmp_path / "runs"])
