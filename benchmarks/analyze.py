"""Head maps by `lgbench analyze heads` against loops that replace one head at a time: written out, and with hooks."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgbench.analysis.ablation import Prepared
from lgbench.analysis.heads import head_map
from lgbench.analysis.hooked import HookedModel
from lgbench.analysis.opening import open_model
from lgbench.analysis.questions import draw_questions
from lgbench.data.task import Example
from lgbench.models.folders import checkpoint_folder
from lgbench.models.hf_export import export_hf
from lgbench.models.tokenizer import END, PUBLISHED
from lgbench.models.transformer import Transformer

MODEL = "tiny:transfer"
LENGTHS = (4, 8, 12, 16)
EXAMPLES, ROUNDS = 256, 3
WITHIN = 1e-4
"""By how much the numbers of two sides may differ, in nats a token."""

Cell = Sequence[Example]
Map = Tensor
"""The mean log-probability of a target's tokens with nothing replaced, then without each head; float64."""
Side = Callable[[Cell], Map]


def maps(model: str = MODEL, lengths: Sequence[int] = LENGTHS, examples: int = EXAMPLES) -> Iterator[str]:
    """Seconds for the maps of all tasks at some lengths by resample ablation, on each side, and whether they agree.

    The sides take turns, cell by cell, and medians of rounds count.

    Args:
        model: A checkpoint with rotary positions.
        lengths: Of the examples.
        examples: Of each task and length.
    """
    opened = open_model(model, device="cpu")
    tasks = list(opened.source.tasks)
    drawn = [draw_questions(opened.suite, tasks, length, examples).examples for length in lengths]
    cells: list[Cell] = [each for of_length in drawn for each in of_length.values()]
    hooked = opened.hooked
    sides: dict[str, Side] = {"lgbench": lgbench_maps(hooked), "plain loop over heads": plain_loop(hooked.module)}
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "llama")
        export_hf(checkpoint_folder(model), exported)
        for name, load in (("TransformerLens", transformer_lens_loop), ("nnsight", nnsight_loop)):
            try:
                sides[name] = load(exported)
            except ImportError:
                yield f"{name} is not installed, so it is not compared with"
        seconds, furthest = _in_turns(sides, cells)
    count, shown = hooked.layers * hooked.heads, ", ".join(map(str, lengths))
    yield f"{count} heads, {len(tasks)} tasks, lengths {shown}, {examples} examples each, resample"
    for name, taken in seconds.items():
        ratio = f", {taken / seconds['lgbench']:.2f} times as long; numbers differ by at most {furthest[name]:.7f}"
        yield f"head maps of {model}: {name} {taken:.2f} s{'' if name == 'lgbench' else ratio}"
    yield f"on {torch.get_num_threads()} threads; medians of {ROUNDS} rounds, processor time"


def _in_turns(sides: Mapping[str, Side], cells: Sequence[Cell]) -> tuple[dict[str, float], dict[str, float]]:
    """Each side's seconds for all cells, and how far its numbers are from ours at most."""
    furthest = dict.fromkeys(sides, 0.0)
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side(cells[0][:4])  # warm up
    for _ in range(ROUNDS):
        total = dict.fromkeys(sides, 0.0)
        for cell in cells:
            found = {}
            for name, side in sides.items():
                begun = time.process_time()
                found[name] = side(cell)
                total[name] += time.process_time() - begun
            for name, each in found.items():
                apart = float((each - found["lgbench"]).abs().max())
                if not apart <= WITHIN:
                    raise AssertionError(f"{name} differs from lgbench by {apart} nats on {cell[0].task}")
                furthest[name] = max(furthest[name], apart)
        for name, seconds in total.items():
            taken[name].append(seconds)
    return {name: statistics.median(each) for name, each in taken.items()}, furthest


def lgbench_maps(hooked: HookedModel) -> Side:
    """What `lgbench analyze heads` computes."""

    def run(cell: Cell) -> Map:
        found = head_map(Prepared(hooked, cell), "resample")
        without = (each for layer in found.logprob_without for each in layer)
        return torch.tensor([found.logprob, *without], dtype=torch.float64)

    return run


def _rows(cell: Cell) -> tuple[Tensor, int]:
    """Examples of equally long prompts and targets as rows of tokens, and where the target begins."""
    prompts = [PUBLISHED.encode_prompt(each.task, each.prompt) for each in cell]
    rows = [[*prompt, *PUBLISHED.encode(each.target), END] for prompt, each in zip(prompts, cell, strict=True)]
    return torch.tensor(rows), len(prompts[0])


def _mean_logprob(logits: Tensor, rows: Tensor, start: int) -> float:
    """Of the target's tokens; logits of the rows without their end."""
    logs = logits[:, start - 1 :].float().log_softmax(dim=-1).gather(2, rows[:, start:, None])[..., 0]
    return float(logs.double().mean())


def plain_loop(module: Any) -> Side:
    """One whole forward pass for each head, in which a hook puts another row's output in the head's place."""
    assert isinstance(module, Transformer)
    size, heads = module.shape.size_per_head, module.shape.heads
    blocks: list[Any] = list(module.blocks)
    outputs = [block.attention.out for block in blocks]

    @torch.inference_mode()
    def run(cell: Cell) -> Map:
        rows, start = _rows(cell)
        read: list[Tensor] = []
        handles = [each.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0])) for each in outputs]
        found = [_mean_logprob(module(rows[:, :-1]), rows, start)]
        for handle in handles:
            handle.remove()
        for layer, output in enumerate(outputs):
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)

                def swap(_: Any, inputs: tuple[Tensor], layer: int = layer, part: slice = part) -> tuple[Tensor]:
                    mixed = inputs[0].clone()
                    mixed[..., part] = read[layer][..., part].roll(-1, dims=0)
                    return (mixed,)

                handle = output.register_forward_pre_hook(swap)
                found.append(_mean_logprob(module(rows[:, :-1]), rows, start))
                handle.remove()
        return torch.tensor(found, dtype=torch.float64)

    return run


def transformer_lens_loop(folder: Path) -> Side:
    """The same through TransformerLens: `hook_z` of its bridge to an exported folder.

    Raises:
        ImportError: It is not installed.
    """
    from transformer_lens.model_bridge import TransformerBridge

    model, tokenizer = _exported(folder)
    bridge: Any = TransformerBridge.boot_transformers(str(folder), hf_model=model, tokenizer=tokenizer, device="cpu")

    @torch.inference_mode()
    def run(cell: Cell) -> Map:
        rows, start = _rows(cell)
        inputs = rows[:, :-1]
        logits, cache = bridge.run_with_cache(inputs, names_filter=lambda name: name.endswith("attn.hook_z"))
        found = [_mean_logprob(logits, rows, start)]
        for layer in range(bridge.cfg.n_layers):
            for head in range(bridge.cfg.n_heads):

                def swap(z: Tensor, hook: Any, layer: int = layer, head: int = head) -> Tensor:
                    z = z.clone()
                    z[:, :, head] = cache[f"blocks.{layer}.attn.hook_z"][:, :, head].roll(-1, dims=0)
                    return z

                hooks = [(f"blocks.{layer}.attn.hook_z", swap)]
                found.append(_mean_logprob(bridge.run_with_hooks(inputs, fwd_hooks=hooks), rows, start))
        return torch.tensor(found, dtype=torch.float64)

    return run


def nnsight_loop(folder: Path) -> Side:
    """The same through nnsight: the input of each `o_proj` of an exported folder.

    Raises:
        ImportError: It is not installed.
    """
    import nnsight

    model, _ = _exported(folder)
    traced: Any = nnsight.NNsight(model)
    layers, heads = model.config.num_hidden_layers, model.config.num_attention_heads
    size = model.config.head_dim

    @torch.inference_mode()
    def run(cell: Cell) -> Map:
        rows, start = _rows(cell)
        inputs = rows[:, :-1]
        with traced.trace(inputs):
            kept = nnsight.save([layer.self_attn.o_proj.input for layer in traced.model.layers])
            logits = traced.output.logits.save()
        found = [_mean_logprob(logits, rows, start)]
        for layer in range(layers):
            for head in range(heads):
                part = slice(head * size, (head + 1) * size)
                mixed = kept[layer].clone()
                mixed[..., part] = kept[layer][..., part].roll(-1, dims=0)
                with traced.trace(inputs):
                    traced.model.layers[layer].self_attn.o_proj.input = mixed
                    logits = traced.output.logits.save()
                found.append(_mean_logprob(logits, rows, start))
        return torch.tensor(found, dtype=torch.float64)

    return run


def _exported(folder: Path) -> tuple[Any, Any]:
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)
