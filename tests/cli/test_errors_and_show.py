"""`lgbench errors` and `lgbench show` as typed: filters, pages, many runs, and rows for programs."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

import lgbench
from lgbench.cli import show
from lgbench.data.tasks import get_task
from lgbench.doctor.errors import KINDS
from lgbench.models.builtin import Oracle
from lgbench.util.tables import Table
from tests.shell import Done, Shell

SUBMISSIONS = Path(__file__).parents[2] / "submissions"


class Sloppy:
    """Wrong in three ways, by the last digit or letter of the prompt; right for all else."""

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        return [self.reply(prompt, get_task(task).solve(prompt)) for prompt in prompts]

    def reply(self, prompt: str, answer: str) -> str:
        changes = {"4": f"{answer}\n", "1": answer[:-1], "2": f'"{answer}"', "3": f"{answer[:-1]}\x1b[31m"}
        return changes.get(prompt.removesuffix("=")[-1], answer)


@pytest.fixture(name="shell")
def shell_beside_the_package(lgbench: Shell) -> Shell:
    return lgbench


@pytest.fixture
def run(shell: Shell) -> Path:
    lgbench.evaluate(Sloppy(), tasks=["reverse_add", "no_carry"], lengths=[4, 8], limit=64, output="run")
    return Path("run")


def ids(done: Done) -> list[str]:
    return re.findall(r"^([a-z_]+-\d+-\d+): \w+$", done.out, re.M)


def test_pages_hold_each_wrong_reply_once_and_name_the_next(shell: Shell, run: Path) -> None:
    every = [row["id"] for row in json.loads(shell("errors", run, "--json").out)]
    assert len(every) > 60
    done, seen, pages = shell("errors", run, "--limit", "20"), list[str](), 0
    while True:
        assert done.status == 0, done.err
        seen, pages = seen + ids(done), pages + 1
        if (more := re.search(r"^The next page: lgbench (.*)$", done.out, re.M)) is None:
            break
        done = shell(*shlex.split(more[1]))
    assert pages == -(-len(every) // 20)
    assert sorted(seen) == sorted(every)
    first = ids(shell("errors", run, "--limit", "4"))
    assert len({each.rpartition("-")[0] for each in first}) >= 3, "a page is spread over tasks and lengths"
    beyond = shell("errors", run, "--page", "99")
    assert (beyond.status, beyond.out) == (1, "")
    assert (
        f"There is no page 99 of {len(every)} wrong replies. Pages go from 1 to {-(-len(every) // 10)}." in beyond.err
    )


def test_rows_are_chosen_by_task_length_and_kind(shell: Shell, run: Path) -> None:
    rows = json.loads(shell("errors", run, "--json").out)
    counts = Counter(row["mistake"] for row in rows)
    assert set(counts) == {"white_space", "zeros", "early", "quotes", "other"}
    told = shell("errors", run).out
    assert f"By kind: {', '.join(f'{name} {count}' for name, count in counts.most_common())}." in told
    chosen = json.loads(
        shell("errors", run, "--mistake", "early,quotes", "--task", "no_carry", "--length=8", "--json").out
    )
    wanted = [
        row for row in rows if row["mistake"] in ("early", "quotes") and (row["task"], row["length"]) == ("no_carry", 8)
    ]
    assert chosen == wanted != []
    assert len(json.loads(shell("errors", run, "--json", "--limit", "3").out)) == 3
    for row in rows:
        target = get_task(row["task"]).solve(row["prompt"])
        assert (row["target"], row["reply"] != target) == (target, True)
        assert row["reply"][: row["first_wrong"]] == target[: row["first_wrong"]]
        assert (
            row["reply"][row["first_wrong"] : row["first_wrong"] + 1]
            != target[row["first_wrong"] : row["first_wrong"] + 1]
        )


def test_csv_holds_the_same_rows_but_no_control_character(shell: Shell, run: Path) -> None:
    done = shell("errors", run, "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    told = json.loads(shell("errors", run, "--json").out)
    assert [(row["id"], row["mistake"]) for row in rows] == [(row["id"], row["mistake"]) for row in told]
    for row, wanted in zip(rows, told, strict=True):
        assert row["reply"] == wanted["reply"].replace("\x1b", "\\x1b")
        assert row["reply"].count("\n") == wanted["reply"].count("\n")
    assert "\x1b" not in done.out
    assert any("\x1b" in row["reply"] for row in told)


def test_kinds_that_do_not_exist_and_forms_that_exclude_each_other(shell: Shell, run: Path) -> None:
    assert "'earlier' is not a kind of mistake. Did you mean 'early'?" in shell("errors", run, "--mistake=earlier").err
    assert "other" in KINDS
    assert "--csv and --json are forms of the same" in shell("errors", run, "--csv", "--json").err
    assert shell("errors", run, "--mistake", "capped").out == "There is no wrong reply of this kind.\n"
    assert shell("errors", run, "--mistake", "capped", "--json").out == "[]\n"
    assert shell("errors", run, "--mistake", "capped", "--csv").out == ""
    for forms in (["--csv", "--json"], ["--csv", "--parquet", "x.parquet"]):
        assert "are forms of the same" in shell("show", run, *forms).err


@pytest.mark.slow
def test_runs_of_a_submission_and_of_reproduce_are_read_alike(shell: Shell) -> None:
    name = "mini-v1-copy-mqar-transfer-seed0"
    shutil.copytree(SUBMISSIONS / "reference-nope" / name, f"runs/{name}/result")
    in_submission = shell("errors", SUBMISSIONS / "reference-nope" / name, "--task", "string_copy")
    of_reproduce = shell("errors", f"runs/{name}", "--task", "string_copy")
    assert ids(in_submission) == ids(of_reproduce) != []
    both = shell("errors", SUBMISSIONS / "reference-nope" / name, f"runs/{name}", "--limit", "4", "--task=string_copy")
    assert both.out.count(f"{name}:\n") + both.out.count("result:\n") == 2, "each run is named above its replies"


def test_a_run_whose_replies_are_gone_is_told_and_the_others_are_shown(shell: Shell, run: Path) -> None:
    shutil.copytree(run, "runs/whole")
    shutil.copytree(run, "runs/without")
    Path("runs/without/replies.jsonl.gz").unlink()
    shutil.copytree(run, "runs/damaged")
    Path("runs/damaged/result.json").write_text("[]", encoding="utf-8")
    done = shell("errors", "runs")
    assert done.status == 1
    assert 8 <= len(ids(done)) <= 10
    assert "runs/without/replies.jsonl.gz: does not exist." in done.err
    assert "runs/damaged/result.json" in done.err
    shown = shell("show", "runs")
    assert shown.status == 1
    assert [line.split()[0] for line in shown.out.splitlines() if line.startswith(" runs/")] == [
        "runs/whole",
        "runs/without",
    ]
    assert shown.err.count("runs/damaged/result.json") == 1


def test_several_runs_are_shown_in_a_line_each(shell: Shell) -> None:
    lgbench.evaluate(Oracle(), arm="main_only", group="add-multiply", seed=3, output="runs/a")
    lgbench.evaluate(Oracle(), tasks="reverse", limit=2, output="runs/b")
    done = shell("show", "runs")
    lines = [line.split() for line in done.out.splitlines() if line.startswith(" runs/")]
    assert lines == [
        ["runs/a", "main_only", "add-multiply", "3", "100", "100", "100", "≥10", *["1,280", "of", "1,280"]],
        ["runs/b", "open", "-", "-", "-", "-", "-", "-", *["20", "of", "20"]],
    ]
    assert "1 run is incomplete" in done.out
    full = shell("show", "runs", "--full").out
    assert full.count("Result: runs/") == 2
    assert "exact match in %" not in full.split("Result: runs/a")[0]
    assert "exact match in %" in shell("show", "runs", "--lengths").out.split("Result: runs/a")[0]
    assert "Result: runs/a" in shell("show", "runs/a").out


def test_names_that_have_no_room_in_a_terminal_are_shortened_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("run", "arm", "group", "seed", "right")
    rows = [(f"runs/a-system/the-run-of-{seed}", "transfer", "add-carry", str(seed), "1 of 2") for seed in range(2)]

    def narrowed(width: int, rows: Sequence[tuple[str, ...]]) -> Table:
        monkeypatch.setattr("lgbench.cli._tables.wide_console", lambda: Console(width=width, force_terminal=True))
        return show._narrower(Table("", columns, rows, text=4))

    assert narrowed(60, rows).title == "Runs in runs/a-system"
    assert [row[0] for row in narrowed(60, rows).rows] == ["the-run-of-0", "the-run-of-1"]
    assert [row[0] for row in narrowed(40, rows).rows] == ["transfer", "transfer"]
    assert narrowed(40, [*rows, ("runs/other", *rows[0][1:])]).rows[2][0] == "other", "two runs of one seed have names"
    assert narrowed(40, [*rows, ("/runs/other", *rows[0][1:])]).rows[2][0] == "/runs/other"


def test_show_needs_pyarrow_for_parquet_alone(shell: Shell, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    done = shell("show", run, "--parquet", "x.parquet")
    assert (done.status, done.out) == (1, "")
    assert "--parquet needs pyarrow" in done.err
    assert "'.[export]'" in done.err
    assert not Path("x.parquet").exists()
    assert shell("show", run, "--csv").status == 0
