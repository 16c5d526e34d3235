"""The training step of a preset on this machine, against a plain loop around transformers' LlamaForCausalLM."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.data.groups import Group
from lgbench.data.stream import BLOCK_EXAMPLES
from lgbench.data.suites import load_suite
from lgbench.models.devices import fast_bfloat16
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.batching import IGNORED, Batch, batches
from lgbench.training.modules import build_module
from lgbench.training.settings import TrainingSettings, preset_settings
from lgbench.training.steps import make_optimizer, take_step
from lgbench.util.extras import install_command

SUITE, ARM = "mini-v1", "transfer"
STEPS, ROUNDS = 20, 3
PACKED_CHUNKS = 8


def steps(preset: str, of: str) -> Iterator[str]:
    """Examples a second of the preset's step, of what it gains from each of its parts, and of the plain loop.

    The variants take turns, and the best of three rounds counts for each: other programs only ever slow one down.

    Args:
        preset: One of `lgbench.training.settings.PRESETS`.
        of: The name of the group whose preset and examples are taken.

    Raises:
        UnknownNameError: No such preset or group.
    """
    group = load_suite(SUITE).group(of)
    settings = preset_settings(preset, load_suite(SUITE).domain(group)).model_copy(update={"packed": False})
    precision = "bfloat16" if fast_bfloat16("cpu") else "float32"
    whole, parted = (_batches(group, settings, chunks) for chunks in (1, 2))
    packed = settings.model_copy(update={"packed": True, "compile": False})
    variants: dict[str, Callable[[], object]] = {
        f"lgbench, {precision}, packed, batch in {PACKED_CHUNKS} parts by length": _step(
            packed, precision, _batches(group, settings, PACKED_CHUNKS)
        ),
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
    yield _loader(group, settings, next(iter(rates.values())))
    yield f"on {torch.get_num_threads()} threads; {of}, {ARM}, batches of {settings.batch}"


def _batches(group: Group, settings: TrainingSettings, chunks: int) -> list[Batch]:
    made = batches(load_suite(SUITE), group.mixture(ARM).parts, size=settings.batch, chunks=chunks)
    return list(itertools.islice(made, STEPS))


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
        vocab_size=len(PUBLISHED),
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


def _loader(group: Group, settings: TrainingSettings, rate: float) -> str:
    """The time that the data loader takes for a step's batch, against that of the step.

    Without workers it is the loader's share of the time. With workers they draw while the step is taken, so that it
    waits for them only if they take longer than it.
    """
    workers = settings.workers
    made = batches(
        load_suite(SUITE), group.mixture(ARM).parts, size=settings.batch, chunks=settings.length_chunks, workers=workers
    )
    next(made)  # draws the held-out cells and the first block
    count = max(1, workers) * BLOCK_EXAMPLES // settings.batch + 1  # so that each draws one more
    begun = time.perf_counter()
    for _ in range(count):
        next(made)
    seconds = (time.perf_counter() - begun) / count
    ahead = f", {workers} worker{'s' if workers > 1 else ''} ahead" if workers else ""
    return f"data loader{ahead}: {1000 * seconds:.2f} ms a step, {100 * seconds * rate / settings.batch:.1f} % of it"
