"""MODEL `hf:PATH_OR_ID`: a causal language model in the format of Hugging Face `transformers`.

Importing this package loads neither torch nor transformers; `load` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lgbench.extras import require_extra
from lgbench.models.construction import arguments_for
from lgbench.models.loaded import Model
from lgbench.models.prompting import prompt_style
from lgbench.results import SystemInfo


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
    template: str | None = None
    shots: int | None = None


def load(name: str, rest: str, given: dict[str, str]) -> Model:
    """Load `hf:PATH_OR_ID` or `hf:PATH_OR_ID@REVISION`.

    Raises:
        LgbenchError: The extra is missing, an option does not fit, or there is no such model that can be loaded.
    """
    options = Options(**arguments_for(Options, given, name))
    require_extra("hf", "torch", "transformers", "accelerate", "safetensors", purpose=f"MODEL {name!r}")
    if options.adapter is not None:
        require_extra("hf", "peft", purpose="The model option adapter")

    from lgbench.models.huggingface.checkpoint import open_checkpoint, quiet_loading, weights_sha256
    from lgbench.models.huggingface.predictor import HuggingFacePredictor

    with quiet_loading():
        checkpoint = open_checkpoint(rest, options)
    style = prompt_style(
        options.style,
        chat=options.chat,
        has_chat=checkpoint.has_chat_template,
        template=options.template,
        shots=options.shots,
    )
    predictor = HuggingFacePredictor(checkpoint, style)
    system = SystemInfo(
        model=name,
        kind="hf",
        options=given,
        source_sha256=weights_sha256(checkpoint),
        parameters=predictor.parameters,
        prompt=style,
    )
    return Model(predictor, system)
