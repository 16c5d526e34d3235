"""The files that hold a Hugging Face model's weights: those that `transformers` loads. Needs no torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_EXPLICIT = "transformers_weights"  # a key of config.json that names another file
_PLAIN_NAME = re.compile(r"[^/\\:\x00-\x1f]+\.safetensors")
_DISTRIBUTED = re.compile(r"shard-[0-9]{5}-model-[0-9]{5}-of-[0-9]{5}\.safetensors")
_MAX_JSON = 100_000_000  # bytes; an index has a line for each tensor, of which the largest models have 100,000


def model_weights(folder: Path) -> list[Path]:
    """The files that `transformers` loads a model's weights from, by name.

    Args:
        folder: With a `config.json`.

    Raises:
        LgbenchError: There are none, they are not plain files of this folder, or which are loaded depends on more.
    """
    _refuse_mixtures(folder)
    named = _json(folder / "config.json").get(_EXPLICIT)
    if isinstance(named, str) and named.endswith(".safetensors.index.json"):
        return _shards(folder, named)
    if named is not None:
        return _files(folder, [named], "config.json")
    if (folder / _SINGLE).is_file():
        return _files(folder, [_SINGLE], "transformers")
    if (folder / _INDEX).is_file():
        return _shards(folder, _INDEX)
    raise LgbenchError(
        f"{str(folder)!r} has neither {_SINGLE} nor {_INDEX}, one of which transformers loads. Name a folder that "
        "`save_pretrained` wrote."
    )


def adapter_weights(folder: Path) -> list[Path]:
    """The files that `peft` loads an adapter's weights from.

    Raises:
        LgbenchError: They are not plain files of this folder.
    """
    return _files(folder, [ADAPTER], "peft")


def sha256(paths: Iterable[Path]) -> str:
    """One SHA-256 over files, each hashed by itself."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _refuse_mixtures(folder: Path) -> None:
    """Refuse what `transformers` loads beside the model's own weights, depending on what is installed."""
    if (folder / ADAPTER_CONFIG).is_file():
        raise LgbenchError(
            f"{str(folder)!r} holds a model and a PEFT adapter, and transformers loads both where peft is installed. "
            "Move the files adapter_* to a folder of their own; add --model-option adapter=FOLDER to use the adapter."
        )
    if any(_DISTRIBUTED.fullmatch(path.name) for path in folder.iterdir()):
        raise LgbenchError(
            f"{str(folder)!r} holds the parts of a distributed checkpoint (shard-*.safetensors). Load it with "
            "transformers, and write it with `save_pretrained`."
        )


def _shards(folder: Path, index: str) -> list[Path]:
    """The files that a weights index names."""
    if "/" in index or "\\" in index:
        raise LgbenchError(_not_plain(folder, index, "config.json"))
    placed = _json(folder / index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise LgbenchError(f"{str(folder / index)!r} names no files: it has no weight_map. Download the model again.")
    return _files(folder, list(placed.values()), index)


def _files(folder: Path, names: list[Any], source: str) -> list[Path]:
    """Files of a folder by their names, each once, in order.

    Raises:
        LgbenchError: A name is not plain, or the file is missing or a link to somewhere else.
    """
    for name in names:
        if not isinstance(name, str) or not _PLAIN_NAME.fullmatch(name):
            raise LgbenchError(_not_plain(folder, name, source))
    paths = [folder / name for name in sorted(set(names))]
    allowed = _own_places(folder)
    for path in paths:
        if not path.is_file():
            raise LgbenchError(f"{str(folder)!r} lacks {path.name!r}, which {source} names. Download the model again.")
        real = path.resolve()
        if not any(real.is_relative_to(place) for place in allowed):
            raise LgbenchError(
                f"{str(path)!r} is a link to {str(real)!r}, outside the model's folder. Put the file itself there."
            )
    return paths


def _own_places(folder: Path) -> list[Path]:
    """Where a model's files may lie: in its folder; of the Hub's cache, whose snapshots are links, among its blobs."""
    real = folder.resolve()
    snapshots = next((parent for parent in real.parents if parent.name == "snapshots"), None)
    return [real] if snapshots is None else [real, snapshots.parent / "blobs"]


def _not_plain(folder: Path, name: object, source: str) -> str:
    return (
        f"The weights of {str(folder)!r} are not loaded: {source} names the file {plain(repr(name), limit=100)}. Only "
        "plain names such as 'model-00001-of-00002.safetensors' are allowed, of files in the same folder."
    )


def _json(path: Path) -> dict[str, Any]:
    """A JSON object of a model's folder, read as leniently as transformers does: some models' settings are `Infinity`.

    Links are followed; the Hub's cache consists of them.

    Raises:
        LgbenchError: There is none.
    """
    try:
        if path.is_file() and path.stat().st_size > _MAX_JSON:
            raise LgbenchError(f"{str(path)!r} has more than {_MAX_JSON:,} bytes: it is not a file of a model.")
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise LgbenchError(f"{str(path)!r} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise LgbenchError(f"{str(path)!r} is not valid JSON: {error}. Download the model again.") from None
    if not isinstance(content, dict):
        raise LgbenchError(f"{str(path)!r} is not a JSON object. Download the model again.")
    return content
