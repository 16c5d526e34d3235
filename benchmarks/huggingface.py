"""`lgbench eval hf:...` against lm-evaluation-harness: the same model, prompts, caps and replies, whole processes."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.llama import make_llama
from benchmarks.processes import Usage, run_process
from lgbench.data.suites import load_suite
from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.planning import make_plan
from lgbench.evaluation.stored import read_stored_replies
from lgbench.export.lm_eval import export_lm_eval
from lgbench.results.schema import Result
from lgbench.util.records import read_record

TASK = "reverse_add"
_SIZE: dict[str, Any] = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
}


def harnesses(model: str | None, *, lengths: Sequence[int], batch_size: int, rounds: int) -> Iterator[str]:
    """Evaluate the `reverse_add` prompts of `mini-v1` by both, in turn, and compare replies.

    Args:
        model: A Hugging Face folder; None makes one of 14 million random parameters, whose replies mostly reach the
            cap. Both sides then write the same tokens, so neither gains from stopping early.
        lengths: Those to evaluate; empty for all.
        batch_size: Of lm-evaluation-harness; lgbench chooses its own.
        rounds: How often each runs; the ratio is that of the medians.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint = Path(model) if model else make_llama(folder / "model", initializer_range=0.02, **_SIZE)
        plan = make_plan("mini-v1", tasks=[TASK], lengths=lengths)
        yield _start_up(checkpoint, folder)
        program = shutil.which("lm_eval")
        if program is None:
            yield 'lm_eval is not on the PATH, so there is nothing to compare with: pip install "lm-eval[hf]==0.4.13"'
        name = export_lm_eval(plan, folder / "tasks")
        options = ["--model", "hf", "--model_args", f"pretrained={checkpoint}", "--batch_size", str(batch_size)]
        options += ["--include_path", str(folder / "tasks"), "--tasks", name, "--log_samples", "--output_path"]
        ours, theirs = [], []
        for number in range(rounds):
            output = folder / f"ours-{number}"
            narrowed = [text for length in lengths for text in ("--length", str(length))]
            ours.append(run_process([*_evaluation(checkpoint, output), *narrowed]))
            yield _described(ours[-1], output)
            if program is not None:
                samples = folder / f"theirs-{number}"
                theirs.append(run_process([program, *options, str(samples)]))
                yield f"lm_eval --batch_size {batch_size}: {_told(theirs[-1])}"
                yield _compared(output, samples)
        if theirs:
            ratio = statistics.median(each.seconds for each in ours) / statistics.median(
                each.seconds for each in theirs
            )
            yield f"lgbench takes {ratio:.2f} times as long"


def _evaluation(checkpoint: Path, output: Path) -> list[str]:
    command = [sys.executable, "-m", "lgbench", "eval", f"hf:{checkpoint}", "--task", TASK, "--quiet"]
    return [*command, "--output", str(output)]


def _start_up(checkpoint: Path, folder: Path) -> str:
    shortest = ["--length", str(load_suite("mini-v1").grid(TASK)[0]), "--limit", "1"]
    usage = run_process([*_evaluation(checkpoint, folder / "one"), *shortest])
    return f"lgbench, one prompt of the shortest length: {_told(usage)}, nearly all start-up"


def _described(usage: Usage, output: Path) -> str:
    result = read_record(output / RESULT_FILE, Result)
    total = sum(cell.counts.total for cell in result.cells)
    capped = sum(cell.counts.capped for cell in result.cells)
    again = result.batch_invariance.checked if result.batch_invariance else 0
    return (
        f"lgbench: {_told(usage)}; of these {result.duration:.1f} s for {total} replies ({capped} reach the cap), "
        f"the rest start-up and asking {again} again one by one"
    )


def _told(usage: Usage) -> str:
    return f"{usage.seconds:.1f} s, {usage.peak_megabytes:.0f} MB"


def _compared(output: Path, samples: Path) -> str:
    wrong = read_stored_replies(output / REPLIES_FILE)
    same = different = 0
    for path in samples.rglob("samples_*.jsonl"):
        for line in path.read_text("utf-8").splitlines():
            sample = json.loads(line)
            document = sample["doc"]
            ours = wrong[document["id"]].text if document["id"] in wrong else document["target"]
            same += ours == sample["resps"][0][0]
            different += ours != sample["resps"][0][0]
    return f"{same} replies are the same, {different} differ"
