"""Greedy decoding of many prompts at once with a `transformers` causal model."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from lgbench.models.huggingface.cache import keeps_plain_attention_cache, preallocated_cache
from lgbench.util.errors import LgbenchError

# Rows that are done still cost a step their share; dropping them costs one copy of the others' cache.
_KEEP_WHILE_LIVE = 0.75
_NO_NUMBERS = (
    "The model's logits in {dtype} are not numbers (NaN). Its weights are damaged, or it needs a wider type, such as "
    "--model-option dtype=float32."
)


class Row(NamedTuple):
    """One prompt to continue.

    Attributes:
        tokens: Its tokens.
        cap: The most tokens to write. Where it is 0 the model is not asked, and the reply is empty and capped.
    """

    tokens: Sequence[int]
    cap: int


class Written(NamedTuple):
    """The new tokens of a row, without the end token, and whether its cap ended it."""

    tokens: list[int]
    capped: bool


class Decoder:
    """Decodes greedily: the likeliest token, until an end token, a stop, or the row's cap.

    Args:
        model: A causal language model.
        ends: The tokens that end a reply.
        pad: A token to fill shorter rows with; it is masked.
        stops: Given the new tokens of a row, says whether they end the reply. None where only end tokens do.
        watch: Given the logits of every step, shape (rows, vocabulary).

    Attributes:
        stepwise: Whether lgbench's own loop decodes; `generate` does where the model's state is of another kind.
    """

    def __init__(
        self,
        model: Any,
        *,
        ends: frozenset[int],
        pad: int,
        stops: Callable[[list[int]], bool] | None = None,
        watch: Callable[[torch.Tensor], None] | None = None,
    ) -> None:
        self._model = model
        self._ends = ends
        self._pad = pad
        self._stops = stops
        self._watch = watch
        # Rotary positions with dynamic scaling keep the scale of the longest row so far, until they read a short one.
        self._remembers = any("dynamic" in str(getattr(module, "rope_type", "")) for module in model.modules())
        self._accepted = inspect.signature(model.forward).parameters
        self.stepwise = keeps_plain_attention_cache(model) and "past_key_values" in self._accepted

    @torch.inference_mode()
    def __call__(self, rows: Sequence[Row], give_up: threading.Event | None = None) -> list[Written]:
        """Continue each row. Once `give_up` is set, rows end at the next token."""
        asked = [row for row in rows if row.cap > 0]
        written = iter(self._decoded(asked, give_up or threading.Event()) if asked else [])
        return [next(written) if row.cap > 0 else Written([], capped=True) for row in rows]

    def _decoded(self, rows: Sequence[Row], give_up: threading.Event) -> list[Written]:
        if self._remembers:
            self._model(input_ids=torch.tensor([[self._pad]], device=self._model.device))
        return self._step_by_step(rows, give_up) if self.stepwise else self._by_generate(rows)

    def _step_by_step(self, rows: Sequence[Row], give_up: threading.Event) -> list[Written]:
        tokens, mask = self._padded(rows)
        padded = not bool(mask.all())
        # Rows without padding are left to the model's own positions: in some models the first is not 0.
        positions = (mask.cumsum(-1) - 1).clamp(min=0) if padded else None
        capacity = tokens.shape[1] + max(row.cap for row in rows)
        cache = preallocated_cache(self._model, capacity)
        written: list[list[int]] = [[] for _ in rows]
        capped = [False] * len(rows)
        slots: list[int | None] = list(range(len(rows)))  # which row each line of the batch holds; None once it is done
        while True:
            logits = self._forward(tokens, mask if padded else None, positions, cache)[:, -1]
            chosen = self._choose(logits)
            for slot, token in enumerate(chosen.tolist()):
                if (row := slots[slot]) is not None:
                    done, capped[row] = self._take(written[row], token, rows[row].cap)
                    slots[slot] = None if done else row
            live = [slot for slot, row in enumerate(slots) if row is not None]
            if not live or give_up.is_set():
                return [Written(*each) for each in zip(written, capped, strict=True)]
            if len(live) <= _KEEP_WHILE_LIVE * len(slots):
                kept = torch.tensor(live, device=chosen.device)
                cache.reorder_cache(kept)
                chosen, mask = chosen[kept], mask[kept]
                positions = None if positions is None else positions[kept]
                slots = [slots[slot] for slot in live]
            tokens = chosen[:, None]
            if positions is not None:
                # Rows that are done stand still: a table of positions may have no more.
                growth = mask.new_tensor([[int(row is not None)] for row in slots])
                positions = positions[:, -1:] + growth
                mask = torch.cat([mask, growth], dim=1)

    def _take(self, written: list[int], token: int, cap: int) -> tuple[bool, bool]:
        """Add a token to a row; whether the row is done, and whether its cap ended it."""
        if token in self._ends:
            return True, False
        written.append(token)
        if self._stops is not None and self._stops(written):
            return True, False
        return (len(written) == cap,) * 2

    def _padded(self, rows: Sequence[Row]) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and mask, both of shape (rows, longest), filled up on the left."""
        width = max(len(row.tokens) for row in rows)
        fill = [width - len(row.tokens) for row in rows]
        tokens = [[self._pad] * empty + list(row.tokens) for empty, row in zip(fill, rows, strict=True)]
        mask = [[0] * empty + [1] * (width - empty) for empty in fill]
        device = self._model.device
        return torch.tensor(tokens, device=device), torch.tensor(mask, device=device)

    def _forward(
        self, tokens: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor | None, cache: DynamicCache
    ) -> torch.Tensor:
        """Logits of the last position, shape (rows, 1, vocabulary); of all positions where the model can't do less."""
        wanted = {"attention_mask": mask, "position_ids": positions, "logits_to_keep": 1}
        accepted = {name: value for name, value in wanted.items() if name in self._accepted}
        output = self._model(input_ids=tokens, past_key_values=cache, use_cache=True, **accepted)
        logits: torch.Tensor = output.logits
        return logits

    def _choose(self, logits: torch.Tensor) -> torch.Tensor:
        if self._watch is not None:
            self._watch(logits)
        return _likeliest(logits)

    def _checked(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """A processor for `generate` that changes nothing."""
        self._choose(scores)
        return scores

    def _by_generate(self, rows: Sequence[Row]) -> list[Written]:
        """The same with `generate`, for models whose state is not a plain attention cache (Mamba and its kind)."""
        tokens, mask = self._padded(rows)
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max(row.cap for row in rows),
            eos_token_id=sorted(self._ends) or None,
            pad_token_id=self._pad,
        )
        stopping = StoppingCriteriaList([_RowStops(self._stops, tokens.shape[1])] if self._stops else [])
        with _bare_settings(self._model):
            output = self._model.generate(
                input_ids=tokens,
                attention_mask=mask,
                generation_config=config,
                stopping_criteria=stopping,
                logits_processor=LogitsProcessorList([self._checked]),
            )
        return [self._cut(new, row.cap) for new, row in zip(output[:, tokens.shape[1] :].tolist(), rows, strict=True)]

    def _cut(self, new: list[int], cap: int) -> Written:
        """What a row would hold had it been decoded alone."""
        written: list[int] = []
        for token in new:
            done, capped = self._take(written, token, cap)
            if done:
                return Written(written, capped)
        return Written(written, capped=False)


def _likeliest(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row, shape (rows,), of logits of shape (rows, vocabulary).

    Raises:
        LgbenchError: The logits of a row are not numbers.
    """
    chosen = logits.argmax(-1)
    if logits.gather(-1, chosen[:, None]).isnan().any():  # argmax takes them for the greatest
        raise LgbenchError(_NO_NUMBERS.format(dtype=str(logits.dtype).removeprefix("torch.")))
    return chosen


@contextlib.contextmanager
def _bare_settings(model: Any) -> Iterator[None]:
    """Keep a model's own generation settings from `generate`, which would take all that its caller leaves open.

    They can hold penalties, forbidden, forced and suppressed tokens, a shortest length, a longest time, and more.
    """
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


class _RowStops(StoppingCriteria):
    """Tells `generate` which rows have stopped."""

    def __init__(self, stops: Callable[[list[int]], bool], width: int) -> None:
        self._stops = stops
        self._width = width

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **_: Any) -> torch.Tensor:
        flags = [self._stops(new) for new in input_ids[:, self._width :].tolist()]
        return torch.tensor(flags, device=input_ids.device)
