"""A Hugging Face model as a predictor."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lgbench.data.cells import draw_cell
from lgbench.data.suites import Suite, load_suite
from lgbench.models.contract import CappedReply, StreamingPredictor
from lgbench.models.huggingface.batching import Batcher
from lgbench.models.huggingface.checkpoint import Checkpoint
from lgbench.models.huggingface.decoding import Row, Written
from lgbench.models.huggingface.encoding import PromptEncoder
from lgbench.models.huggingface.limits import ContextLimit
from lgbench.models.huggingface.parallel import ParallelDecoder, make_decoder
from lgbench.models.huggingface.trial import find_together
from lgbench.models.huggingface.vocabulary import check_vocabulary
from lgbench.models.prompting import CLOSE_TAG, extract_reply, generation_cap, warn_of_confusion
from lgbench.results.schema import PromptStyle
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

_log = logging.getLogger(__name__)
# A stop is looked for in the last few tokens only: it is short, and it is looked for after every token.
_STOP_TOKENS = 12


class HuggingFacePredictor(StreamingPredictor):
    """Asks a causal language model in a prompt style, and decodes greedily.

    Args:
        checkpoint: The model and its tokenizer.
        style: How to ask.
        chat_template: Which of the tokenizer's chat templates to use, where they have names.

    Raises:
        LgbenchError: The style wants a chat template, and the tokenizer has none, or none of this name; or the model's
            end tokens are not numbers.
    """

    def __init__(self, checkpoint: Checkpoint, style: PromptStyle, *, chat_template: str | None = None) -> None:
        if style.chat and not checkpoint.has_chat_template:
            raise LgbenchError(
                f"The tokenizer in {str(checkpoint.folder)!r} has no chat template. Ask without one: "
                "--model-option chat=false."
            )
        self._tokenizer = checkpoint.tokenizer
        self._style = style
        self._model = checkpoint.model
        self._ends = end_tokens(checkpoint)
        self._encoder = PromptEncoder(self._tokenizer, style, ends=self._ends, template_name=chat_template)
        self._suite = load_suite("mini-v1")
        self._limit = ContextLimit(checkpoint.model)
        self._known: int = checkpoint.model.get_input_embeddings().weight.shape[0]
        self._told_of_context = False
        self._batcher = Batcher(checkpoint.model, self._limit)
        self._tried = False
        pad = self._tokenizer.pad_token_id
        self._pad: int = next(iter(self._ends), 0) if pad is None else pad
        self._decoder = make_decoder(
            checkpoint.model,
            ends=self._ends,
            pad=self._pad,
            stops=None if style.style == "raw" or style.chat else self._is_answered,
        )
        self.parameters: int = checkpoint.model.num_parameters()
        self.device = f"{checkpoint.model.device}, {str(checkpoint.model.dtype).removeprefix('torch.')}"

    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """Draw worked examples from this suite from now on, and check that the tasks can be asked of the model.

        Also finds out which prompts it may be asked together.

        Raises:
            LgbenchError: The vocabulary lacks characters of the suite, or is larger than the model's; or the chat
                template drops or changes the questions.
        """
        self._suite = suite
        check_vocabulary(self._tokenizer, suite, tasks, known=self._known)
        self._encoder.prepare(suite, tasks)
        warn_of_confusion(self._style, suite, tasks)
        if not self._ends:
            _log.warning("Neither the tokenizer nor the model names an end token: every reply will reach its cap.")
        if not self._tried:
            self._tried = True
            longest = draw_cell(suite, tasks[0], suite.grid(tasks[0])[-1], split="dev")[0]
            tokens = self._encoder.tokens(suite, longest.prompt, tasks[0])
            self._batcher.together = find_together(self._model, tokens, pad=self._pad, limit=self._limit)

    def stream(self, prompts: Sequence[str], task: str) -> Iterator[Mapping[int, str]]:
        """Reply to prompts of one task, a batch at a time, longest first."""
        rows = [self._row(prompt, task) for prompt in prompts]
        order = sorted(range(len(rows)), key=lambda position: -len(rows[position].tokens))
        for start, batch in self._batcher.run([rows[position] for position in order], self._decoder):
            positions = order[start : start + len(batch)]
            yield {
                position: self._reply(rows[position], written)
                for position, written in zip(positions, batch, strict=True)
            }

    def each_alone(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to prompts of one task, each in a batch of its own; several at once where the decoder has parts."""
        if not isinstance(self._decoder, ParallelDecoder):
            return super().each_alone(prompts, task)
        rows = [self._row(prompt, task) for prompt in prompts]
        return [self._reply(row, written) for row, written in zip(rows, self._decoder.each_alone(rows), strict=True)]

    def rows(self, prompts: Sequence[str], task: str) -> list[Row]:
        """The rows of tokens that the model is asked for prompts of one task."""
        return [self._row(prompt, task) for prompt in prompts]

    def read(self, row: Row, tokens: Sequence[int]) -> str:
        """The reply that the model gives where it writes these tokens, without an end, after a row."""
        return self._reply(row, Written(list(tokens), capped=False))

    def _row(self, prompt: str, task: str) -> Row:
        tokens = self._encoder.tokens(self._suite, prompt, task)
        return Row(tokens, self._cap(prompt, len(tokens)))

    def _cap(self, prompt: str, tokens: int) -> int:
        """The generation cap, or what room the context leaves after the prompt's tokens."""
        cap = generation_cap(prompt)
        limit = self._limit.below(tokens + cap)
        if limit is None:
            return cap
        if not self._told_of_context:
            self._told_of_context = True
            _log.warning(
                "The model reads at most %d tokens: where prompt and reply need more, the reply is cut there, empty "
                "if need be, and counted as capped.",
                limit,
            )
        return max(0, limit - tokens)

    def _reply(self, row: Row, written: Written) -> str:
        reply = extract_reply(self._style, self._new_text(row.tokens, written.tokens))
        return CappedReply(reply) if written.capped else reply

    def _new_text(self, before: Sequence[int], new: list[int]) -> str:
        """The text that the new tokens add. Decoded alone, they could lose a space at their beginning."""
        last = list(before[-1:])
        known = self._decode(last)
        both = self._decode(last + new)
        return both[len(known) :] if both.startswith(known) else self._decode(new)

    def _decode(self, tokens: list[int]) -> str:
        text: str = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text

    def _is_answered(self, new: list[int]) -> bool:
        return CLOSE_TAG in self._decode(new[-_STOP_TOKENS:])


def end_tokens(checkpoint: Checkpoint) -> frozenset[int]:
    """The end tokens that the tokenizer and the model's generation settings name.

    Raises:
        LgbenchError: The settings name something else.
    """
    configured: Any = checkpoint.model.generation_config.eos_token_id
    named = configured if isinstance(configured, list) else [configured]
    if odd := [token for token in named if token is not None and type(token) is not int]:
        raise LgbenchError(
            f"The end tokens of {str(checkpoint.folder)!r} are not numbers: {plain(repr(odd[0]), limit=60)}. Correct "
            "eos_token_id in its generation_config.json, or in its config.json if it has none."
        )
    return frozenset(token for token in [checkpoint.tokenizer.eos_token_id, *named] if token is not None)
