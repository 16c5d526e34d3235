"""Greedy decoding on this machine, against `generate` of transformers on the same weights and prompts."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from lgbench.cells import draw_cell
from lgbench.extras import install_command
from lgbench.models.checkpoint import CheckpointPredictor
from lgbench.models.contract import CappedReply
from lgbench.models.hf_export import export_hf
from lgbench.models.loading import load_model
from lgbench.suites import load_suite

MODEL, SUITE, TASK = "tiny:transfer", "mini-v1", "capitalize_reverse"
SIZES = (64, 128, 256)


def replies() -> Iterator[str]:
    """Replies a second to the task's test prompts at several batch sizes, and whether both give the same."""
    suite = load_suite(SUITE)
    prompts = [example.prompt for length in suite.grid(TASK) for example in draw_cell(suite, TASK, length)]
    predictor = load_model(MODEL).predictor
    if not isinstance(predictor, CheckpointPredictor):
        raise TypeError(f"{MODEL} is no checkpoint")
    ours, rate = _best(lambda size: _in_batches(predictor.predict, prompts, size), len(prompts))
    yield f"decoding {MODEL}: lgbench {rate:,.0f} replies/s, at its best batch size"
    try:
        generate = _transformers()
    except ImportError:
        yield f"transformers is not installed, so there is nothing to compare with: {install_command('hf')}"
        return
    theirs, their_rate = _best(lambda size: _in_batches(generate, prompts, size), len(prompts))
    same = sum(str(mine) == other for mine, other in zip(ours, theirs, strict=True))
    times = rate / their_rate
    yield f"decoding {MODEL}: transformers {their_rate:,.0f} replies/s, likewise; lgbench: {times:.2f} times"
    capped = sum(isinstance(reply, CappedReply) for reply in ours)
    yield f"{same} of {len(prompts)} replies are the same; {capped} ended at the cap; {torch.get_num_threads()} threads"


def _in_batches(predict: Callable[[list[str], str], list[str]], prompts: list[str], size: int) -> list[str]:
    parts = (predict(prompts[start : start + size], TASK) for start in range(0, len(prompts), size))
    return [reply for part in parts for reply in part]


def _best(run: Callable[[int], list[str]], count: int) -> tuple[list[str], float]:
    """The replies and the replies a second at the fastest of the batch sizes."""
    run(SIZES[0])
    best, found = float("inf"), []
    for size in SIZES:
        begun = time.perf_counter()
        found = run(size)
        best = min(best, time.perf_counter() - begun)
    return found, count / best


def _transformers() -> Callable[[list[str], str], list[str]]:
    """`generate` around the exported model, as its documentation has it: left padding, greedy."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        source = Path(__file__).parent.parent / "checkpoints" / "tiny" / MODEL.partition(":")[2]
        export_hf(source, Path(folder))
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")

    def generate(prompts: list[str], task: str) -> list[str]:
        texts = [f"<begin><{task}>{prompt}" for prompt in prompts]
        encoded = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
        cap = 4 * max(map(len, prompts)) + 32
        written = model.generate(**encoded, max_new_tokens=cap, do_sample=False)
        texts = tokenizer.batch_decode(written[:, encoded["input_ids"].shape[1] :])
        return [text.partition("<end>")[0] for text in texts]

    return generate
