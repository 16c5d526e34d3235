"""Whether a tokenizer can express what the suite asks and wants to hear."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from lgbench.data.cells import draw_cell
from lgbench.data.suites import Suite
from lgbench.util.errors import LgbenchError

_log = logging.getLogger(__name__)


def check_vocabulary(tokenizer: Any, suite: Suite, tasks: Sequence[str], *, known: int) -> None:
    """Encode and decode texts of each task, and compare.

    The texts are the longest of the `dev` split: 64 prompts and targets hold every letter, digit and sign of the task.

    Args:
        tokenizer: Of `transformers`.
        suite: The suite.
        tasks: Those that will be asked.
        known: How many tokens the model has embeddings for.

    Raises:
        LgbenchError: Characters do not come back, with those of each task; or the model does not know their tokens.
    """
    lost: dict[str, str] = {}
    for task in tasks:
        examples = draw_cell(suite, task, suite.grid(task)[-1], split="dev")
        texts = [text for example in examples for text in (example.prompt, example.target)]
        encoded = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        if (highest := max((token for tokens in encoded for token in tokens), default=0)) >= known:
            raise LgbenchError(
                f"The tokenizer writes {task} with token {highest}, but the model knows only {known} tokens: is it the "
                "tokenizer of another model?"
            )
        returned = [_decoded(tokenizer, tokens) for tokens in encoded]
        missing = {sign for text, back in zip(texts, returned, strict=True) for sign in set(text) - set(back)}
        if missing:
            lost[task] = "".join(sorted(missing))
        elif changed := [pair for pair in zip(texts, returned, strict=True) if pair[0] != pair[1].strip()]:
            _log.warning(
                "The tokenizer turns %r into %r: replies to %s may never equal their targets.", *changed[0], task
            )
    if lost:
        lists = "; ".join(f"{task}: {signs}" for task, signs in lost.items())
        raise LgbenchError(
            f"The tokenizer's vocabulary lacks characters of {suite.name} ({lists}). Choose tasks that it can express "
            "with --task, or add the characters to it."
        )


def _decoded(tokenizer: Any, tokens: list[int]) -> str:
    back: str = tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return back
