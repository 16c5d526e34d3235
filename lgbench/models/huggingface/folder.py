"""The files of a Hugging Face model: where they are, and whether they may be loaded. Needs no torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from lgbench.models.huggingface.weights import ADAPTER, ADAPTER_CONFIG, adapter_weights, model_weights
from lgbench.util.errors import LgbenchError

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
_CONVERT = (
    "from transformers import AutoModelForCausalLM as M, AutoTokenizer as T; "
    "M.from_pretrained({old!r}, use_safetensors=False).save_pretrained({new!r}); "
    "T.from_pretrained({old!r}).save_pretrained({new!r})"
)
# Without peft, which would have to find the base model.
_CONVERT_ADAPTER = (
    "import pathlib, shutil, torch; from safetensors.torch import save_file; "
    "old, new = pathlib.Path({old!r}), pathlib.Path({new!r}); "
    "weights = torch.load(old / 'adapter_model.bin', map_location='cpu', weights_only=True); new.mkdir(); "
    "save_file({{name: weights[name].contiguous().clone() for name in weights}}, new / 'adapter_model.safetensors'); "
    "shutil.copy(old / 'adapter_config.json', new)"
)


def typed_path(text: str) -> Path:
    """A path as a user types it: `~` is a user's home.

    Raises:
        LgbenchError: The home is not known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        user = Path(text).parts[0]
        raise LgbenchError(f"There is no folder {text!r}: no home of {user!r} is known. Write the path out.") from None


def find_folder(path_or_id: str, *, revision: str | None, code: bool = False) -> Path:
    """The local folder of a model: the folder named, its subfolder `revision`, or a download from the Hub.

    Args:
        path_or_id: A folder, or an id on the Hub such as `org/name`. `@REVISION` may follow either.
        revision: A branch, tag or commit on the Hub; of a local folder, a subfolder.
        code: Whether to download Python files too.

    Raises:
        LgbenchError: There is no such folder, or the Hub does not hand it out.
    """
    place, at, written = path_or_id.rpartition("@")
    if not at or typed_path(path_or_id).exists():
        place, written = path_or_id, ""
    if written and revision and written != revision:
        raise LgbenchError(f"{path_or_id!r} names the revision {written!r}, but the option says {revision!r}.")
    revision = written or revision
    folder = typed_path(place)
    if not folder.exists():
        if place.startswith((".", "/", "~")) or place.count("/") > 1:
            raise LgbenchError(f"There is no folder {place!r}.")
        return _download(place, revision, code=code)
    if not folder.is_dir():
        raise LgbenchError(f"{place!r} is a file. Name the folder that holds config.json and *.safetensors.")
    return _subfolder(folder, revision) if revision else folder


def _subfolder(folder: Path, revision: str) -> Path:
    if (folder / revision).is_dir():
        return folder / revision
    found = sorted(path.name for path in folder.iterdir() if (path / "config.json").is_file())
    valid = f"It has: {', '.join(found)}." if found else "It holds no checkpoints in subfolders."
    raise LgbenchError(f"{str(folder)!r} has no checkpoint {revision!r}. {valid}")


def _download(repository: str, revision: str | None, *, code: bool) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = [*_WANTED, "*.py"] if code else _WANTED
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except GatedRepoError:
        raise LgbenchError(f"{repository!r} is gated: accept its terms on its page, then run: hf auth login") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise LgbenchError(f"There is no folder {repository!r}, and no public model of that name on the Hub.") from None
    except RevisionNotFoundError:
        raise LgbenchError(f"{repository!r} has no revision {revision!r} on the Hub.") from None
    except LocalEntryNotFoundError:
        raise LgbenchError(
            f"There is no folder {repository!r}, and the Hub cannot be reached. Name a folder that holds config.json "
            "and *.safetensors, or go online."
        ) from None
    except OSError as error:
        raise LgbenchError(f"Downloading {repository!r} failed: {error}") from None


def check_revisions(path_or_id: str, revisions: Sequence[str]) -> None:
    """Make sure, of a local folder, that every checkpoint of a series can be loaded. The Hub is asked one by one later.

    Raises:
        LgbenchError: One cannot.
    """
    if typed_path(path_or_id).exists():
        for revision in revisions:
            check_folder(find_folder(path_or_id, revision=revision))


def check_folder(folder: Path) -> None:
    """Make sure that a folder holds a model whose weights are safetensors.

    Raises:
        LgbenchError: It lacks a config, a tokenizer or weights, is an adapter, has pickled weights only, or names
            weights outside of it.
    """
    if not (folder / "config.json").is_file():
        if (folder / ADAPTER_CONFIG).is_file():
            raise LgbenchError(
                f"{str(folder)!r} is a PEFT adapter. Name its base model, and add --model-option adapter={folder}."
            )
        advice = "Name a folder that `save_pretrained` wrote."
        if inside := sorted(path.parent.name for path in folder.glob("*/config.json")):
            advice = f"It holds models in folders of their own: name one, as in hf:{folder}@{inside[0]}"
        raise LgbenchError(f"{str(folder)!r} has no config.json: it is no Hugging Face model. {advice}")
    _check_weights(folder, "*.safetensors", PICKLED, _CONVERT)
    model_weights(folder)
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise LgbenchError(f"{str(folder)!r} has no tokenizer (tokenizer.json). Save the model's tokenizer there.")


def check_adapter(folder: Path) -> None:
    """Make sure that a folder holds a PEFT adapter whose weights are safetensors.

    Raises:
        LgbenchError: It lacks a config or weights, has pickled weights only, or weights that lie elsewhere.
    """
    if not (folder / ADAPTER_CONFIG).is_file():
        raise LgbenchError(f"{str(folder)!r} has no {ADAPTER_CONFIG}: it is no PEFT adapter.")
    _check_weights(folder, ADAPTER, ("adapter_model.bin",), _CONVERT_ADAPTER)
    adapter_weights(folder)


def _check_weights(folder: Path, pattern: str, pickled: Sequence[str], convert: str) -> None:
    if any(folder.glob(pattern)):
        return
    pickles = sorted(path.name for kind in pickled for path in folder.glob(kind) if path.name != "training_args.bin")
    if not pickles:
        raise LgbenchError(f"{str(folder)!r} has no weights ({pattern}). Copy or download the whole model.")
    code = convert.format(old=str(folder), new=f"{folder}-safetensors")
    raise LgbenchError(
        f"The weights in {str(folder)!r} are pickled ({pickles[0]}), and a pickle can run any code when it is loaded. "
        f"If you trust it, convert it to safetensors:\n  python -c {shlex.quote(code)}"
    )
