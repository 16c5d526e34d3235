"""`lgbench eval` with an executor: the same result as in one process, whoever was asked for which cell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lgbench.data.suites import load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.experiments.executors import ProcessesExecutor
from lgbench.experiments.sharing import share_model
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError
from lgbench.util.processes import ProcessEndedError
from tests.shell import Shell

pytestmark = pytest.mark.slow

MINI = load_suite("mini-v1")
MODEL = '''
import os
from pathlib import Path

class Sometimes:
    """Right for some prompts; notes in which process it was loaded, and ends the process at a certain word."""

    def __init__(self, note: str = "", end: str = ""):
        self.end = end
        if note:
            Path(note, str(os.getpid())).touch()

    def predict(self, prompts, task):
        if self.end and any(self.end in prompt for prompt in prompts):
            os._exit(1)
        return [prompt[:-1][::-1] if len(prompt) % 3 else "?" for prompt in prompts]
'''
CHOICE: Any = {"tasks": ("reverse", "capitalize", "copy_first_op", "reverse_add"), "limit": 20}


@pytest.fixture(name="lgbench")
def lgbench_with_files(lgbench: Shell) -> Shell:
    Path("mine.py").write_text(MODEL, "utf-8")
    return lgbench


@pytest.fixture(name="processes")
def two_processes(lgbench: Shell) -> Iterator[ProcessesExecutor]:
    """They begin in the folder of the test."""
    with ProcessesExecutor(2, keep=True) as executor:
        yield executor


def timeless(folder: Path) -> dict[str, Any]:
    """A result without its times, and without what else this process has loaded."""
    record: dict[str, Any] = json.loads((folder / "result.json").read_text("utf-8"))
    del record["environment"]["packages"]
    return {name: value for name, value in record.items() if name not in ("started", "duration", "replies_per_second")}


def test_two_processes_give_the_result_of_one(lgbench: Shell, processes: ProcessesExecutor) -> None:
    Path("notes").mkdir()
    shared = share_model("mine.py:Sometimes", {"note": "notes"}, processes, jobs=2, suite=MINI)
    evaluate(shared, output="shared", **CHOICE)
    assert len(list(Path("notes").iterdir())) == 2, "each process has loaded it once"
    assert not Path("notes", str(os.getpid())).exists()
    evaluate(load_model("mine.py:Sometimes", {"note": "notes"}), output="alone", **CHOICE)
    assert timeless(Path("shared")) == timeless(Path("alone"))
    assert timeless(Path("shared"))["batch_invariance"] == {"checked": 16 * 8, "changed": 0}
    for name in ("shared", "alone"):
        assert sorted(path.name for path in Path(name).iterdir()) == ["replies.jsonl.gz", "result.json"]
    assert Path("shared/replies.jsonl.gz").read_bytes() == Path("alone/replies.jsonl.gz").read_bytes()


def test_what_several_processes_left_is_gone_on_with_by_one(lgbench: Shell, processes: ProcessesExecutor) -> None:
    options = {"end": "ab="}
    with ProcessesExecutor(2, keep=True) as doomed:
        shared = share_model("mine.py:Sometimes", options, doomed, jobs=2, suite=MINI)
        with pytest.raises(ProcessEndedError, match="killed or crashed"):
            evaluate(shared, output="run", suite="mini-v1", tasks=("reverse_add", "reverse"))
    Path("mine.py").write_text(MODEL.replace("os._exit(1)", "pass"), "utf-8")
    kept = Path("run/replies.partial.jsonl").read_text("utf-8").splitlines()
    assert kept
    Path("run/replies.partial.jsonl").write_text("\n".join([*reversed(kept[-300:]), *kept[:-300]]) + "\n", "utf-8")
    whole = evaluate(load_model("mine.py:Sometimes", options), output="whole", tasks=("reverse_add", "reverse"))
    again = share_model("mine.py:Sometimes", options, processes, jobs=2, suite=MINI)
    seen: list[int] = []
    result = evaluate(
        again,
        output="run",
        tasks=("reverse_add", "reverse"),
        resume=True,
        on_progress=lambda progress: seen.append(progress.resumed),
    )
    assert seen[-1] == len(kept), "nothing is asked twice, in whichever order it was kept"
    assert (result.cells, result.replies_sha256) == (whole.cells, whole.replies_sha256)


def test_errors_of_a_process_are_those_of_the_model(lgbench: Shell, processes: ProcessesExecutor) -> None:
    Path("bad.py").write_text("def make():\n    raise ValueError('not today')\n", "utf-8")
    Path("replies.jsonl").write_text("", "utf-8")
    for name, options, sentence in (
        ("bad.py:make", {}, "raised ValueError: not today"),
        ("gone.py:make", {}, "There is no file 'gone.py'"),
        ("api:some", {"base_url": "http://127.0.0.1:1/v1"}, "is a server, which is asked many prompts at once already"),
        ("replay:replies.jsonl", {}, "only looks replies up: evaluate it without --executor"),
    ):
        with pytest.raises(LgbenchError, match=sentence):
            share_model(name, options, processes, jobs=2, suite=MINI)


def test_eval_jobs_as_a_user_types_it(lgbench: Shell) -> None:
    command = ["eval", "mine.py:Sometimes", "--task", "reverse,capitalize", "--limit", "9"]
    shared = lgbench(*command, "--jobs", "2", "--output", "shared")
    assert shared.status == 0, shared.err
    assert "reverse at length 2: " in shared.err
    assert lgbench(*command, "--output", "alone").status == 0
    assert timeless(Path("shared")) == timeless(Path("alone"))
    Path("pool.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n\ndef make():\n    return ThreadPoolExecutor(2)\n", "utf-8"
    )
    printed = lgbench(*command, "--executor", "pool.py:make", "--jobs", "2", "--output", "mine", "--json")
    assert json.loads(printed.out)["tasks"]
    assert timeless(Path("mine")) == timeless(Path("alone"))
    assert "names no executor" in lgbench(*command, "--executor", "slurm").err
