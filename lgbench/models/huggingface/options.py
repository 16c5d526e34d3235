"""What can be set of a Hugging Face model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Options:
    """The model options of `hf:`, as text that `--model-option` gives.

    Attributes:
        revision: A branch, tag or commit on the Hub; of a local folder, the subfolder that holds the checkpoint.
        dtype: `auto` (as stored), `float32`, `bfloat16` or `float16`.
        device_map: Where the model goes: a device such as `cpu` or `cuda:1`, or `auto` to spread it over all.
        attn_implementation: `eager`, `sdpa`, `flash_attention_2`, ...; the model's own choice if not given.
        trust_remote_code: Whether Python code that comes with the model may run.
        adapter: A PEFT adapter on top of the model: a folder or Hub id.
        style: `raw` or `instruct`; `instruct` for models with a chat template if not given.
        chat: Whether to use the chat template; where there is one, `instruct` does if not given.
        chat_template: Which of the tokenizer's chat templates to use, where it has several with names.
        template: The text of style `raw`, with `{prompt}` and, where wanted, `{task}` in it.
        shots: The worked examples of style `instruct`.
    """

    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device_map: str | None = None
    attn_implementation: str | None = None
    trust_remote_code: bool = False
    adapter: str | None = None
    style: Literal["raw", "instruct"] | None = None
    chat: bool | None = None
    chat_template: str | None = None
    template: str | None = None
    shots: int | None = None
