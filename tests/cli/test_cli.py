"""The commands as a user types them: what they print, where, and with which exit status."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lgbench.cli import main
from lgbench.data.suites import SUITES
from lgbench.results.schema import Result
from tests.full_disk import full_disk
from tests.shell import Shell

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_model.py"


def test_eval_prints_the_table_and_where_the_result_is(lgbench: Shell) -> None:
    done = lgbench("eval", f"{EXAMPLE}:MyModel", "--task", "reverse_add", "--task", "reverse")
    assert done.status == 0
    assert "[1/20] reverse_add at length 2: 256/256 right" in done.err
    rows = [line.split() for line in done.out.splitlines() if line.strip().startswith("reverse")]
    assert rows == [
        ["reverse_add", "100", "100-100", "50.0", "47-53", "0", "0-1", "12", "12", "██████▁▁▁▁"],
        ["reverse", "100", "100-100", "100", "100-100", "100", "99-100", "≥20", "≥20", "██████████"],
    ]
    assert "\nPartial: 20 of the 133 cells of its arm.\n" in done.out
    folder = Path(done.out.rsplit("Result: ", 1)[1].strip())
    assert folder.parts[0] == "runs"
    assert lgbench("rescore", folder).status == 0


def test_names_may_be_joined_by_commas(lgbench: Shell) -> None:
    done = lgbench("eval", "echo", "--task", "reverse,mqar", "--task", "capitalize", "--limit", "1", "--json")
    assert [task["task"] for task in json.loads(done.out)["tasks"]] == ["reverse", "capitalize", "mqar"]


@pytest.mark.parametrize("command", ["train copy-mqar transfer", "reproduce", "sweep copy-mqar", "ablate copy-mqar"])
def test_an_option_of_one_value_is_refused_a_second_time(lgbench: Shell, command: str) -> None:
    done = lgbench(*command.split(), "--method", "rnb", "--method=shares", "--set", "steps=2", "--set", "batch=8")
    assert done.status == 1
    assert done.err == "Error: --method takes one value, and is given more than once. Choose one.\n"
    assert lgbench("tasks", "-q", "--quiet").status == 0, "a flag that is repeated loses nothing"


def test_a_model_file_that_changed_is_told_when_its_run_goes_on(
    lgbench: Shell, caplog: pytest.LogCaptureFixture
) -> None:
    model = "class M:\n    def predict(self, prompts, task):\n        {}\n        return list(prompts)\n"
    command = ["eval", "m.py:M", "--task", "reverse", "--length", "2,4", "-o", "out"]
    Path("m.py").write_text(model.format("assert len(prompts[0]) < 5"), encoding="utf-8")
    assert lgbench(*command).status == 1
    Path("m.py").write_text(model.format("pass"), encoding="utf-8")
    assert caplog.text == ""
    assert lgbench(*command, "--resume").status == 0
    assert "The model's file has changed since this run began" in caplog.text


def test_eval_picks_a_new_folder_each_time(lgbench: Shell, tmp_path: Path) -> None:
    for _ in range(2):
        assert lgbench("eval", "echo", "--task", "reverse", "--length", "2", "-q").status == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["echo-mini-v1-open-1", "echo-mini-v1-open-2"]


def test_eval_json_is_alone_on_stdout(lgbench: Shell, tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "from lgbench.models.builtin import Oracle\n"
        "print('imported')\n"
        "class Loud(Oracle):\n"
        "    def predict(self, prompts, task):\n"
        "        print('asked')\n"
        "        return super().predict(prompts, task)\n",
        encoding="utf-8",
    )
    done = lgbench("eval", "loud.py:Loud", "--json", "--group", "add-carry", "--arm", "transfer", "--seed", "3")
    summary = json.loads(done.out)
    assert "imported" in done.err
    assert (summary["arm"], summary["group"], summary["seed"], summary["partial"]) == (
        "transfer",
        "add-carry",
        3,
        False,
    )
    assert summary["score"] == 1.0
    assert [task["task"] for task in summary["tasks"]] == ["reverse_add", "no_carry", "carry_only"]
    assert summary["tasks"][0]["horizon_90"] == 20
    assert summary["tasks"][0]["zones"]["transfer"]["total"] == 4 * 256


def test_eval_quiet_prints_nothing(lgbench: Shell) -> None:
    assert lgbench("eval", "oracle", "--quiet", "--task", "mqar") == (0, "", "")


def test_a_limited_run_says_so(lgbench: Shell) -> None:
    done = lgbench("eval", "oracle", "--limit", "2", "--task", "mqar")
    assert "Limited to 2 examples of each cell.\nPartial: 10 of the 133 cells of its arm.\n" in done.out
    assert "submitted" not in done.out + done.err, "nobody asked"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["eval", "gone.py:Model"], "There is no file 'gone.py'"),
        (["eval", "oracle", "--suite", "maxi"], "'maxi' is not a suite"),
        (["eval", "oracle", "--batch-size", "many"], "'many' is neither a number nor 'auto'"),
        (["eval", "gone.py:Gone", "--batch-size", "0"], "Give 1 or more"),
        (["eval", "oracle", "--model-option", "a"], "does not read as key=value"),
        (["eval", "oracle", "--model-option", "a=1", "--model-option", "a=2"], "'a' is given twice"),
        (["eval", "oracle", "--resume"], "--resume needs --output"),
        (["rescore", "gone"], "There is no folder 'gone'"),
        (["tasks", "show", "revrse"], "Did you mean 'reverse'"),
        (["tasks", "show", "mqar", "--length", "1"], "its shortest have 2"),
        (["tasks", "show", "dfs_trace", "--length", "65"], "its longest have 64"),
        (["suites", "show", "mini"], "Did you mean 'mini-v"),
        (["data", "export", "--split", "dev"], "'dev' is not a split to export"),
        (["data", "export", "--split", "train", "--group", "add-carry"], "takes exactly one --group"),
        (["data", "export", "--count", "3"], "--count is for --split train"),
        (["data", "export", "--arm", "transfer"], "name exactly one with --group"),
        (["data", "export", "--output", "no/such/folder/x"], "Cannot write to 'no/such/folder/x'"),
    ],
)
def test_a_mistake_is_one_sentence_and_a_status(arguments: list[str], sentence: str, lgbench: Shell) -> None:
    done = lgbench(*arguments)
    assert done.status != 0
    assert sentence in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert done.out == ""


def test_an_error_in_the_model_shows_the_models_traceback_only(lgbench: Shell, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "class Bad:\n    def predict(self, prompts, task):\n        return 1 / 0\n", encoding="utf-8"
    )
    done = lgbench("eval", "bad.py:Bad")
    assert done.status == 1
    assert 'bad.py", line 3, in predict' in done.err
    assert "ZeroDivisionError" in done.err
    assert "evaluation.py" not in done.err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


def test_exported_prompts_come_back_as_replies(lgbench: Shell, tmp_path: Path) -> None:
    assert lgbench("data", "export", "--task", "mqar", "--with-targets", "--output", "mqar.jsonl").status == 0
    records = [json.loads(line) for line in (tmp_path / "mqar.jsonl").read_text("utf-8").splitlines()]
    assert [sorted(record) for record in records[:1]] == [["id", "length", "prompt", "target", "task"]]
    assert len(records) == 10 * 256
    lines = [json.dumps({"id": record["id"], "reply": record["target"]}) for record in records]
    (tmp_path / "replies.jsonl").write_text("\n".join(lines), encoding="utf-8")
    done = lgbench("eval", "replay:replies.jsonl", "--task", "mqar", "--json")
    assert json.loads(done.out)["correct"] == 2560


def test_exported_test_prompts_have_no_targets_unasked(lgbench: Shell) -> None:
    done = lgbench("data", "export", "--group", "copy-mqar", "--arm", "main_only")
    records = [json.loads(line) for line in done.out.splitlines()]
    assert len(records) == 2560
    assert {tuple(record) for record in records} == {("id", "task", "length", "prompt")}


def test_exported_training_examples_are_the_stream(lgbench: Shell) -> None:
    import itertools

    from lgbench.data.stream import training_stream

    done = lgbench("data", "export", "--split", "train", "--group", "copy-mqar", "--arm", "transfer", "--count", "50")
    records = [json.loads(line) for line in done.out.splitlines()]
    expected = itertools.islice(training_stream("mini-v1", "copy-mqar", "transfer"), 50)
    assert [(record["id"], record["prompt"], record["target"]) for record in records] == [
        (example.id, example.prompt, example.target) for example in expected
    ]


def test_tasks_and_suites_are_listed(lgbench: Shell) -> None:
    tasks = lgbench("tasks").out
    assert "capitalize_reverse" in tasks
    assert "[1][2][3][2][10]" in tasks
    assert "157,696" in lgbench("suites").out
    shown = lgbench("suites", "show", "mini-v1").out
    assert "copy_first_op ≤ 16" in shown
    assert "main_only 10, transfer 30, control 20, direct 10" in shown
    examples = lgbench("tasks", "show", "reverse_add", "--length", "5").out.splitlines()
    prompts = [line for line in examples if line.endswith("=")]
    assert len(prompts) == 5
    assert all(len(prompt) == 12 for prompt in prompts)


@pytest.mark.nightly
@pytest.mark.slow
def test_the_committed_hashes_are_those_of_this_machine(lgbench: Shell) -> None:
    done = lgbench("suites", "lock", "--check")
    assert (done.status, done.out.count("match the committed hashes")) == (0, len(SUITES))


def test_drifted_hashes_are_named(lgbench: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lgbench.data import cells
    from lgbench.data.suites import Suite

    original = cells.lock_path
    copies = {}
    for name in ("mini-v1", "standard-v1"):
        suite = Suite(name=name, groups=(), examples_per_cell=1)
        copies[name] = tmp_path / f"{name}.json"
        copies[name].write_text(
            original(suite).read_text("utf-8").replace('"reverse@1/2": "', '"reverse@1/2": "0'), encoding="utf-8"
        )
    monkeypatch.setattr(cells, "lock_path", lambda suite: copies[suite.name])
    done = lgbench("suites", "lock", "--check")
    assert done.status == 1
    assert "reverse@1/2" in done.err


def test_hashes_that_cannot_be_written_leave_those_before(
    lgbench: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lgbench.data import cells

    (lock := tmp_path / "lock.json").write_text("{}\n", encoding="ascii")
    monkeypatch.setattr(cells, "lock_path", lambda suite: lock)
    monkeypatch.setattr(cells, "derive_lock", lambda suite, report: {"reverse@1/2": "0" * 64})
    with full_disk(room=10):
        done = lgbench("suites", "lock")
    assert (done.status, done.err) == (1, "Error: [Errno 27] File too large\n")
    assert lock.read_text("ascii") == "{}\n"
    assert list(tmp_path.iterdir()) == [lock]
    assert lgbench("suites", "lock").status == 0
    assert "reverse@1/2" in lock.read_text("ascii")


def test_schema_describes_a_result(lgbench: Shell) -> None:
    schema = json.loads(lgbench("schema").out)
    assert schema["title"] == "Result"
    assert set(Result.model_fields) == set(schema["properties"])


def test_version_and_help(lgbench: Shell) -> None:
    assert lgbench("--version").out.startswith("lgbench 0.")
    for command in ("eval", "rescore", "tasks", "suites", "data", "schema"):
        assert lgbench(command, "--help").status == 0


def test_json_is_alone_on_stdout_even_if_a_child_process_or_a_c_library_prints(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(
        "import ctypes, os, sys\n"
        "from lgbench.models.builtin import Oracle\n"
        "class Loud(Oracle):\n"
        "    def predict(self, prompts, task):\n"
        "        os.system('echo noise')\n"
        "        ctypes.CDLL(None).printf(b'held back by C')\n"
        "        sys.__stdout__.write('held back by Python')\n"
        "        return super().predict(prompts, task)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "lgbench", "eval", "loud.py:Loud", "--json", "--task", "mqar", "--length", "4"]
    buffered = os.environ | {"PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, cwd=tmp_path, env=buffered, capture_output=True, encoding="utf-8", check=True)
    assert json.loads(done.stdout)["correct"] == 256
    assert all(words in done.stderr for words in ("noise", "held back by C", "held back by Python"))


def test_a_full_stdout_is_told() -> None:
    command = [sys.executable, "-m", "lgbench", "tasks"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def raises(error: OSError) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_what_the_system_refuses_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lgbench.cli.app", raises(PermissionError(errno.EACCES, "Permission denied", "model.py")))
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == "Error: [Errno 13] Permission denied: 'model.py'\n"


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgbench.cli.app", raises(FileNotFoundError(errno.ENOENT, "No such file", "ours.json")))
    with pytest.raises(FileNotFoundError):
        main()


def test_a_file_called_runs_is_told(lgbench: Shell) -> None:
    Path("runs").touch()
    done = lgbench("eval", "oracle", "--limit", "1")
    assert done.status == 1
    assert "runs': File exists. Choose an --output." in done.err


def test_ctrl_c_during_the_imports_is_one_line() -> None:
    interrupted = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'lgbench.cli':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "from lgbench.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Aborted.\n")


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "lgbench", "tasks"],
        stdout=writing,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
