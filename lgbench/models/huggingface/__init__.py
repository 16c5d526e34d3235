"""MODEL `hf:PATH_OR_ID`: a causal language model in the format of Hugging Face `transformers`.

Importing this package loads neither torch nor transformers; `load` does.
"""

from __future__ import annotations

from functools import partial

from lgbench.models.huggingface.options import Options
from lgbench.models.loaded import Model
from lgbench.models.prompting import prompt_style
from lgbench.results.schema import SystemInfo
from lgbench.util.extras import require_extra


def load(name: str, rest: str, options: Options) -> Model:
    """Load `hf:PATH_OR_ID` or `hf:PATH_OR_ID@REVISION`.

    Raises:
        LgbenchError: The extra is missing, options do not fit together, or there is no such model that can be loaded.
    """
    require_extra("hf", purpose=f"MODEL {name!r}")
    if options.adapter is not None:
        require_extra("hf", "peft", purpose="The model option adapter")
    styled = partial(prompt_style, options.style, chat=options.chat, template=options.template, shots=options.shots)
    styled(has_chat=True)  # what is wrong in any case is told before a model takes minutes to load

    from lgbench.models.huggingface.checkpoint import open_checkpoint, quiet_loading, weights_sha256
    from lgbench.models.huggingface.predictor import HuggingFacePredictor

    with quiet_loading():
        checkpoint = open_checkpoint(rest, options)
    style = styled(has_chat=checkpoint.has_chat_template)
    predictor = HuggingFacePredictor(checkpoint, style, chat_template=options.chat_template)
    system = SystemInfo(
        model=name,
        kind="hf",
        source_sha256=weights_sha256(checkpoint),
        parameters=predictor.parameters,
        prompt=style,
    )
    return Model(predictor, system)
