"""Where models of ours lie: in the folder of a training run, and in the package."""

from __future__ import annotations

from pathlib import Path

from lgbench.util.errors import UnknownNameError

CHECKPOINT = "checkpoint"
"""The folder, within a run's, that holds its checkpoint."""
RESULT = "result"
"""The folder, within a run's, that holds the evaluation of its checkpoint."""
MODEL = "model"
"""The folder, within a run's of `lgbench finetune`, that transformers opens."""


def checkpoint_folder(name: str) -> Path:
    """The folder of the checkpoint that is meant by `tiny:NAME`, by itself, or by the training run that it lies in.

    Raises:
        UnknownNameError: No such checkpoint is bundled.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "tiny":
        return _bundled_checkpoint(rest)
    inner = Path(name) / CHECKPOINT
    return inner if inner.is_dir() else Path(name)


def _bundled_checkpoint(name: str) -> Path:
    """The folder of a checkpoint that comes with the package, as `transfer` for `tiny:transfer`.

    Raises:
        UnknownNameError: There is none of this name.
    """
    folder = Path(__file__).parent.parent / "checkpoints" / "tiny"
    names = sorted(path.name for path in folder.iterdir())
    if name not in names:
        raise UnknownNameError("bundled checkpoint", name, names)
    return folder / name
