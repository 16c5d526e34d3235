"""A Hugging Face causal model whose heads can be read and replaced: of the shape of Llama, GPT-2 or GPT-NeoX."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from lgbench.analysis.hooked import HookedModel
from lgbench.data.suites import Suite
from lgbench.models.huggingface.checkpoint import Checkpoint
from lgbench.models.huggingface.encoding import PromptEncoder
from lgbench.models.huggingface.predictor import end_tokens
from lgbench.results.schema import PromptStyle
from lgbench.util.errors import LgbenchError

_PROJECTION = re.compile(
    r"(?:^|\.)(?:self_attn\.(?:o_proj|out_proj|dense)|attn\.(?:c_proj|out_proj)|attention\.dense)$"
)
"""The names of attention's output matrix: of Llama and its relatives, of GPT-2, of GPT-NeoX."""


class HookedHuggingFace(HookedModel):
    """A Hugging Face model with a prompt style.

    Args:
        checkpoint: The model, loaded with `attn_implementation="eager"`, and its tokenizer.
        style: The prompt style.
        suite: The suite that worked examples come from.
        name: The model as named by the user.

    Raises:
        LgbenchError: Its heads cannot be separated.
    """

    most_rows = 64

    def __init__(self, checkpoint: Checkpoint, style: PromptStyle, suite: Suite, *, name: str) -> None:
        model, config = checkpoint.model, checkpoint.model.config
        projections = [module for each, module in model.named_modules() if _PROJECTION.search(each)]
        heads: Any = getattr(config, "num_attention_heads", None)
        head = model.get_output_embeddings()
        widths = {_input_width(each) for each in projections}
        if len(projections) != getattr(config, "num_hidden_layers", None) or head is None or len(widths) != 1:
            raise LgbenchError(
                f"The heads of {name!r} ({type(model).__name__}) cannot be told apart: they can in models of the shape "
                "of Llama, GPT-2 and GPT-NeoX, whose layers each have one attention with an output matrix."
            )
        super().__init__(model, projections, head, heads=int(heads), width=widths.pop())
        self._tokenizer, self._suite = checkpoint.tokenizer, suite
        ends = end_tokens(checkpoint)
        self._encoder = PromptEncoder(checkpoint.tokenizer, style, ends=ends)
        self._end = [] if not ends else [checkpoint.tokenizer.eos_token_id or min(ends)]
        self._call = partial(model, use_cache=False)
        self._keeps = "logits_to_keep" in inspect.signature(model.forward).parameters

    def encode(self, task: str, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """As evaluation asks it; the tokens of the target by itself, and the end where there is an end token."""
        before = self._encoder.tokens(self._suite, prompt, task)
        return before, [*self._plain(target), *self._end]

    def _plain(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return tokens

    def places(self, task: str, prompt: str) -> list[int] | None:
        """The last tokens before the reply, where each of them is one character of the prompt."""
        row, size = self._encoder.tokens(self._suite, prompt, task), len(prompt)
        is_plain = self.texts(row[-size:]) == list(prompt) and len(self._plain(prompt)) == size
        return list(range(len(row) - size, len(row))) if is_plain else None

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """As the tokenizer writes each alone."""
        return [self._tokenizer.decode([token]) for token in tokens]

    @torch.inference_mode()
    def attention(self, tokens: Tensor) -> Tensor:
        """As the model returns it."""
        layers = self._call(input_ids=tokens, output_attentions=True).attentions
        return torch.stack([each.float() for each in layers])

    def _forward(self, tokens: Tensor, start: int) -> Tensor:
        kept = {"logits_to_keep": tokens.shape[1] - start} if self._keeps else {}
        logits: Tensor = self._call(input_ids=tokens, **kept).logits
        return logits[:, -(tokens.shape[1] - start) :]


def _input_width(projection: nn.Module) -> int:
    """The input width of a linear layer; those of GPT-2 are transposed."""
    weight: Any = projection.weight
    return int(getattr(projection, "in_features", weight.shape[0]))
