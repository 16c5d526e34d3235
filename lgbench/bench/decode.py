"""Greedy decoding on this machine, against `generate` of transformers on the same weights and prompts."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from lgbench.cells import draw_cell
from lgbench.extras import install_command
from lgbench.models.checkpoint import CheckpointPredictor, limited_threads
from lgbench.models.contract import CappedReply
from lgbench.models.hf_export import export_hf
from lgbench.models.loading import bundled_checkpoint, load_model
from lgbench.suites import load_suite

MODEL, SUITE, TASK = "tiny:transfer", "mini-v1", "capitalize_reverse"
SIZES = (64, 128, 256, 512)
ROUNDS = 5

Predict = Callable[[list[str], str], list[str]]


def replies(sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> Iterator[str]:
    """Replies a second to the task's test prompts, each side at its best batch size, and whether both give the same.

    Both use as many threads as lgbench uses for this model, and take turns, so that other programs slow both alike. One
    pass at every batch size finds the best; the medians of the rounds after it count.
    """
    suite = load_suite(SUITE)
    prompts = [example.prompt for length in suite.grid(TASK) for example in draw_cell(suite, TASK, length)]
    predictor = load_model(MODEL).predictor
    if not isinstance(predictor, CheckpointPredictor):
        raise TypeError(f"{MODEL} is no checkpoint")
    sides: dict[str, Predict] = {"lgbench": predictor.predict}
    try:
        sides["transformers"] = _transformers()
    except ImportError:
        yield f"transformers is not installed, so there is nothing to compare with: {install_command('hf')}"
    with limited_threads(predictor.threads):
        best = _best_sizes(sides, prompts, sizes)
        written, seconds = _in_turns(sides, prompts, best, rounds)
    for side, taken in seconds.items():
        yield f"decoding {MODEL}: {side} {len(prompts) / taken:,.0f} replies/s, in batches of {best[side]}"
    capped = sum(isinstance(reply, CappedReply) for reply in written["lgbench"])
    threads = f"{predictor.threads} of {torch.get_num_threads()} threads"
    yield f"{threads}, {rounds} rounds; {capped} of {len(prompts)} replies ended at the cap"
    if "transformers" in sides:
        same = sum(str(mine) == other for mine, other in zip(written["lgbench"], written["transformers"], strict=True))
        times = seconds["transformers"] / seconds["lgbench"]
        yield f"lgbench: {times:.2f} times the speed; {same} of {len(prompts)} replies are the same"


def _best_sizes(sides: Mapping[str, Predict], prompts: list[str], sizes: tuple[int, ...]) -> dict[str, int]:
    """The fastest batch size of each side."""
    for predict in sides.values():
        predict(prompts[: sizes[0]], TASK)  # warm up
    seconds = {(side, size): _timed(sides[side], prompts, size)[1] for size in sizes for side in sides}
    return {side: min(sizes, key=lambda size: seconds[side, size]) for side in sides}


def _in_turns(
    sides: Mapping[str, Predict], prompts: list[str], best: Mapping[str, int], rounds: int
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Each side's replies and median seconds over so many rounds, at its best batch size."""
    written: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, predict in sides.items():
            written[side], taken = _timed(predict, prompts, best[side])
            seconds[side].append(taken)
    return written, {side: statistics.median(each) for side, each in seconds.items()}


def _timed(predict: Predict, prompts: list[str], size: int) -> tuple[list[str], float]:
    """The replies to all prompts, asked in batches of a size, and the seconds they took."""
    begun = time.perf_counter()
    parts = [predict(prompts[start : start + size], TASK) for start in range(0, len(prompts), size)]
    return [reply for part in parts for reply in part], time.perf_counter() - begun


def _transformers() -> Predict:
    """`generate` around the exported model, as its documentation has it: left padding, greedy."""
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        export_hf(bundled_checkpoint(MODEL.removeprefix("tiny:")), Path(folder))
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
