"""`lgbench eval hf:...` against lm-evaluation-harness: the same model, prompts, caps and replies, whole processes."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lgbench.bench.llama import make_llama
from lgbench.bench.processes import run_process
from lgbench.export.lm_eval import export_lm_eval
from lgbench.planning import make_plan
from lgbench.replies import read_stored_replies
from lgbench.runfolder import REPLIES_FILE

TASK = "reverse_add"
_SIZE: dict[str, Any] = {
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
}


def harnesses(model: str | None, *, lengths: Sequence[int], batch_size: int) -> Iterator[str]:
    """Evaluate the `reverse_add` prompts of `mini-v1` by both, in turn, and compare replies.

    Args:
        model: A Hugging Face folder; None makes one of 14 million random parameters, whose replies mostly reach the
            cap.
        lengths: Those to evaluate; empty for all.
        batch_size: Of lm-evaluation-harness; lgbench chooses its own.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        checkpoint = Path(model) if model else make_llama(folder / "model", initializer_range=0.02, **_SIZE)
        narrowed = [text for length in lengths for text in ("--length", str(length))]
        command = [sys.executable, "-m", "lgbench", "eval", f"hf:{checkpoint}", "--task", TASK, *narrowed, "--quiet"]
        ours = run_process([*command, "--output", str(folder / "ours")])
        result = json.loads((folder / "ours" / "result.json").read_text())
        total = sum(cell["counts"]["total"] for cell in result["cells"])
        yield f"lgbench: {ours.seconds:.1f} s for {total} replies, whole process, {ours.peak_megabytes:.0f} MB"
        yield f"  of these, {result['duration']:.1f} s for the replies; the rest is start-up, and asking 32 one by one"
        program = shutil.which("lm_eval")
        if program is None:
            yield 'lm_eval is not on the PATH, so there is nothing to compare with: pip install "lm-eval[hf]==0.4.13"'
            return
        name = export_lm_eval(make_plan("mini-v1", tasks=[TASK], lengths=lengths), folder / "tasks")
        options = ["--model", "hf", "--model_args", f"pretrained={checkpoint}", "--batch_size", str(batch_size)]
        options += ["--include_path", str(folder / "tasks"), "--tasks", name]
        theirs = run_process([program, *options, "--log_samples", "--output_path", str(folder / "theirs")])
        yield f"lm_eval --batch_size {batch_size}: {theirs.seconds:.1f} s, {theirs.peak_megabytes:.0f} MB"
        yield f"lgbench takes {ours.seconds / theirs.seconds:.2f} times as long"
        yield _compared(folder)


def _compared(folder: Path) -> str:
    wrong = read_stored_replies(folder / "ours" / REPLIES_FILE)
    same = different = 0
    for path in (folder / "theirs").rglob("samples_*.jsonl"):
        for line in path.read_text().splitlines():
            sample = json.loads(line)
            document = sample["doc"]
            ours = wrong[document["id"]].text if document["id"] in wrong else document["target"]
            same += ours == sample["resps"][0][0]
            different += ours != sample["resps"][0][0]
    return f"{same} replies are the same, {different} differ"
