"""Loading a Hugging Face checkpoint: tokenizer, model and adapter, with errors that say what to change."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

from lgbench.models.huggingface.folder import check_adapter, check_folder, find_folder
from lgbench.models.huggingface.sizes import check_sizes
from lgbench.models.huggingface.weights import adapter_weights, model_weights, sha256
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.models.huggingface.options import Options

_CODE_OPTION = "--model-option trust_remote_code=true"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded model with its tokenizer.

    Attributes:
        folder: Where it came from.
        adapter: Where its adapter came from, if it has one.
        model: The `transformers` causal model, in evaluation mode.
        tokenizer: Its tokenizer.
    """

    folder: Path
    adapter: Path | None
    model: Any
    tokenizer: Any

    @property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer has a chat template."""
        return bool(getattr(self.tokenizer, "chat_template", None))


def open_checkpoint(path_or_id: str, options: Options) -> Checkpoint:
    """Load a model for inference.

    Raises:
        LgbenchError: It cannot be had or loaded.
    """
    folder = find_folder(path_or_id, revision=options.revision, code=options.trust_remote_code)
    check_folder(folder)
    adapter = None
    if options.adapter is not None:
        adapter = find_folder(options.adapter, revision=None)
        check_adapter(adapter)
    model, tokenizer = load_folder(
        folder,
        code=options.trust_remote_code,
        code_option=_CODE_OPTION,
        dtype=options.dtype,
        device_map=options.device_map,
        attn_implementation=options.attn_implementation,
    )
    if adapter is not None:
        with _as_user_error(adapter, None):
            model = _with_adapter(model, adapter)
    with _as_user_error(folder, _CODE_OPTION):
        if options.device_map is None:
            model = model.to(_best_device())
    return Checkpoint(folder=folder, adapter=adapter, model=model.eval(), tokenizer=tokenizer)


def load_folder(folder: Path, *, code: bool = False, code_option: str | None = None, **options: Any) -> tuple[Any, Any]:
    """The causal model and the tokenizer of a checked folder.

    Args:
        folder: The folder.
        code: Whether code that comes with the model may run.
        code_option: What lets it run, for messages; None where nothing does.
        options: Of `from_pretrained`, for the model.

    Raises:
        LgbenchError: It cannot be loaded, or weights are missing.
    """
    with _as_user_error(folder, code_option):
        check_sizes(folder, code=code)
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=code)
        model, loading = AutoModelForCausalLM.from_pretrained(
            folder, output_loading_info=True, trust_remote_code=code, use_safetensors=True, **options
        )
        if loading["missing_keys"]:  # transformers would go on with random numbers in their place
            raise LgbenchError(f"The weights in {str(folder)!r} lack {_some(sorted(loading['missing_keys']))}.")
    return model, tokenizer


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        # Without memory for what the adapter's configuration describes, but for the weights that it has.
        adapted = PeftModel.from_pretrained(model, adapter, low_cpu_mem_usage=True)
    # peft only warns of weights that are missing, and goes on with the model as if it had no adapter.
    if any("missing adapter keys" in str(each.message) for each in told):
        raise LgbenchError(f"The adapter {str(adapter)!r} is not one of this model: it has no weights for its layers.")
    return adapted.merge_and_unload()


def _some(names: list[str]) -> str:
    return f"{', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextlib.contextmanager
def _as_user_error(folder: Path, code_option: str | None) -> Iterator[None]:
    """Turn what `transformers` raises while loading into a sentence."""
    try:
        yield
    except LgbenchError:
        raise
    except Exception as error:  # it raises nearly everything: OSError, ValueError, ImportError, KeyError
        raise LgbenchError(f"{str(folder)!r} cannot be loaded: {_reason(error, code_option)}") from error


# What the libraries say, in lower case, and what it means.
_MEANINGS = {
    "header ?too ?large": "one of its weight files is not a safetensors file. If Git cloned it, run `git lfs pull`.",
    "incomplete ?metadata": "a file of its weights is cut short. Download it again.",
    "ignore_mismatched_sizes|size mismatch": "its weights have other shapes than the model's configuration says. "
    "Do both belong together?",
    "unrecognized configuration class": "it is not a causal language model.",
}


def _reason(error: Exception, code_option: str | None) -> str:
    """What to change, where it is known; else the first line of what was raised."""
    message = str(error).strip()
    if "trust_remote_code" in message:
        more = f". If you trust that code, add {code_option}." if code_option else ", which is not run here."
        return f"it needs the Python code that comes with it{more}"
    for pattern, meaning in _MEANINGS.items():
        if re.search(pattern, message.lower()):
            return meaning
    if isinstance(error, KeyError):
        return f"{error} is missing in one of its files. Download it again."
    return message.splitlines()[0] if message else type(error).__name__


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Keep the progress bars and advice of `transformers` off the screen."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def weights_sha256(checkpoint: Checkpoint) -> tuple[str, ...]:
    """One SHA-256 over the weights of a checkpoint and of its adapter, file by file in the order of their names."""
    of_adapter = adapter_weights(checkpoint.adapter) if checkpoint.adapter is not None else []
    return (sha256([*model_weights(checkpoint.folder), *of_adapter]),)
