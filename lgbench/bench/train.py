"""The training step of a preset on this machine, against a plain loop around transformers' LlamaForCausalLM."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.extras import install_command
from lgbench.models.devices import fast_bfloat16
from lgbench.models.tokenizer import VOCABULARY
from lgbench.suites import load_suite
from lgbench.training.batching import IGNORED, Batch, batches
from lgbench.training.modules import build_module
from lgbench.training.settings import TrainingSettings, preset_settings
from lgbench.training.steps import make_optimizer, take_step

SUITE, GROUP, ARM = "mini-v1", "capitalize-reverse", "transfer"
STEPS, ROUNDS = 20, 3


def steps(preset: str = "mini") -> Iterator[str]:
    """Examples a second of the preset's step, of what it gains from each of its parts, and of the plain loop.

    The variants take turns, and the best of three rounds counts for each: other programs only ever slow one down.
    """
    suite = load_suite(SUITE)
    settings = preset_settings(preset, suite.group(GROUP))
    precision = "bfloat16" if fast_bfloat16("cpu") else "float32"
    whole, parted = (_batches(settings, chunks) for chunks in (1, max(2, settings.length_chunks)))
    variants: dict[str, Callable[[], object]] = {
        f"lgbench, {precision}, batch in {len(parted[0].chunks)} parts by length": _step(settings, precision, parted),
        f"lgbench, {precision}, batch in one part": _step(settings, precision, whole),
        "lgbench, float32, batch in one part": _step(settings, "float32", whole),
    }
    plain = "transformers, float32, eager, batch in one part"
    try:
        variants[plain] = _llama_step(settings, whole)
    except ImportError:
        yield f"transformers is not installed, so there is nothing to compare with: {install_command('hf')}"
    rates = _best_rates(variants, STEPS * settings.batch)
    for name, rate in rates.items():
        against = f", {rate / rates[plain]:.2f} times the last" if plain in rates else ""
        yield f"training step of {preset}: {name}: {rate:,.0f} examples/s{against}"
    yield _loader(settings, next(iter(rates.values())))
    yield f"on {torch.get_num_threads()} threads; {GROUP}, {ARM}, batches of {settings.batch}"


def _batches(settings: TrainingSettings, chunks: int) -> list[Batch]:
    arm = load_suite(SUITE).group(GROUP).arm(ARM)
    return list(itertools.islice(batches(load_suite(SUITE), arm, size=settings.batch, chunks=chunks), STEPS))


def _step(settings: TrainingSettings, precision: str, made: list[Batch]) -> Callable[[], object]:
    module = build_module(settings, None, seed=0, device="cpu")
    optimizer = make_optimizer(module, settings)
    chosen = settings.model_copy(update={"precision": precision})

    def run() -> None:
        for step, batch in enumerate(made):
            take_step(module, optimizer, batch, chosen, step=step, device="cpu", forward=module)

    return run


def _llama_step(settings: TrainingSettings, made: list[Batch]) -> Callable[[], object]:
    """What one would write first: the library's model, its defaults, and PyTorch's AdamW."""
    model = llama(settings)
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate)

    def run() -> None:
        for batch in made:
            for inputs, labels in batch.chunks:
                logits: Tensor = model(input_ids=inputs).logits
                F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
            optimizer.step()
            optimizer.zero_grad()

    return run


def llama(settings: TrainingSettings) -> Any:
    """A `LlamaForCausalLM` of the reference model's size.

    Raises:
        ImportError: transformers is not installed.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=settings.width,
        intermediate_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
    )
    return LlamaForCausalLM(config)


def _best_rates(variants: dict[str, Callable[[], object]], examples: int) -> dict[str, float]:
    best = dict.fromkeys(variants, float("inf"))
    for _ in range(ROUNDS):
        for name, run in variants.items():
            begun = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - begun)
    return {name: examples / seconds for name, seconds in best.items()}


def _loader(settings: TrainingSettings, rate: float) -> str:
    """The data loader's share of a step, drawing and encoding in the training process."""
    made = batches(
        load_suite(SUITE), load_suite(SUITE).group(GROUP).arm(ARM), size=settings.batch, chunks=settings.length_chunks
    )
    next(made)  # draws the held-out cells and the first block
    count = 8192 // settings.batch + 1  # so that the next block is drawn too
    begun = time.perf_counter()
    for _ in range(count):
        next(made)
    seconds = (time.perf_counter() - begun) / count
    return f"data loader: {1000 * seconds:.2f} ms a step, {100 * seconds * rate / settings.batch:.1f} % of it"
