"""Greedy decoding on this machine, against `generate` of transformers on the same weights and prompts."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.contract import CappedReply
from lgbench.models.folders import checkpoint_folder
from lgbench.models.hf_export import export_hf
from lgbench.models.loading import load_model
from lgbench.models.parallel import limited_threads
from lgbench.models.prompting import generation_cap
from lgbench.util.extras import install_command

MODEL, SUITE, TASK = "tiny:transfer", "mini-v1", "capitalize_reverse"
SIZES = (64, 128, 256, 512)
ROUNDS = 5

Predict = Callable[[list[str], str], list[str]]


class Way(NamedTuple):
    """How a side is asked: so many prompts at a time, with so many threads for PyTorch."""

    size: int
    threads: int


def replies(sizes: tuple[int, ...] = SIZES, rounds: int = ROUNDS) -> Iterator[str]:
    """Replies a second to the task's test prompts, and whether both sides give the same.

    A pass at every batch size, for transformers with one thread and with all, finds what is best for each side. Then
    they take turns, so that other programs slow both alike, and the medians count.
    """
    suite = load_suite(SUITE)
    prompts = [example.prompt for length in suite.grid(TASK) for example in draw_cell(suite, TASK, length)]
    sides: dict[str, Predict] = {"lgbench": _lgbench()}
    try:
        sides["transformers"] = _transformers()
    except ImportError:
        yield f"transformers is not installed, so there is nothing to compare with: {install_command('hf')}"
    counts = {"lgbench": {torch.get_num_threads()}, "transformers": {1, torch.get_num_threads()}}
    best = {
        side: _best_way(predict, prompts, [Way(size, threads) for size in sizes for threads in counts[side]])
        for side, predict in sides.items()
    }
    written, seconds = _in_turns(sides, prompts, best, rounds)
    for side, taken in seconds.items():
        size, threads = best[side]
        plural = "" if threads == 1 else "s"
        yield (
            f"decoding {MODEL}: {side} {len(prompts) / taken:,.0f} replies/s, "
            f"in batches of {size} with {threads} thread{plural}"
        )
    capped = sum(isinstance(reply, CappedReply) for reply in written["lgbench"])
    yield f"medians of {rounds} rounds; {capped} of {len(prompts)} replies ended at the cap"
    if "transformers" in sides:
        same = sum(str(mine) == other for mine, other in zip(written["lgbench"], written["transformers"], strict=True))
        times = seconds["transformers"] / seconds["lgbench"]
        yield f"lgbench: {times:.2f} times the speed; {same} of {len(prompts)} replies are the same"


def _best_way(predict: Predict, prompts: list[str], ways: Sequence[Way]) -> Way:
    predict(prompts[: ways[0].size], TASK)  # warm up
    seconds = {way: _timed(predict, prompts, way)[1] for way in ways}
    return min(ways, key=lambda way: seconds[way])


def _in_turns(
    sides: Mapping[str, Predict], prompts: list[str], best: Mapping[str, Way], rounds: int
) -> tuple[dict[str, list[str]], dict[str, float]]:
    """Each side's replies and median seconds over so many rounds, each asked in its best way."""
    written: dict[str, list[str]] = {}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, predict in sides.items():
            written[side], taken = _timed(predict, prompts, best[side])
            seconds[side].append(taken)
    return written, {side: statistics.median(each) for side, each in seconds.items()}


def _timed(predict: Predict, prompts: list[str], way: Way) -> tuple[list[str], float]:
    """The replies to all prompts, asked in this way, and the seconds they took."""
    with limited_threads(way.threads):
        begun = time.perf_counter()
        parts = [predict(prompts[start : start + way.size], TASK) for start in range(0, len(prompts), way.size)]
        return [reply for part in parts for reply in part], time.perf_counter() - begun


def _lgbench() -> Predict:
    predictor = load_model(MODEL).predictor
    if not isinstance(predictor, CheckpointPredictor):
        raise TypeError(f"{MODEL} is no checkpoint")
    return predictor.predict


def _transformers() -> Predict:
    """`generate` around the exported model, as its documentation has it: left padding, greedy."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        export_hf(checkpoint_folder(MODEL), Path(folder))
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")

    def generate(prompts: list[str], task: str) -> list[str]:
        texts = [f"<begin><{task}>{prompt}" for prompt in prompts]
        encoded = tokenizer(texts, return_tensors="pt", padding=True, return_token_type_ids=False)
        cap = max(map(generation_cap, prompts))
        written = model.generate(**encoded, max_new_tokens=cap, do_sample=False)
        texts = tokenizer.batch_decode(written[:, encoded["input_ids"].shape[1] :])
        return [text.partition("<end>")[0] for text in texts]

    return generate
