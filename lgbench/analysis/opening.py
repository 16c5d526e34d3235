"""Opening a model to look inside: a checkpoint of a reference model, or a run that holds one."""

from __future__ import annotations

from typing import NamedTuple

from lgbench.analysis.hooked import HookedModel, HookedTransformer
from lgbench.analysis.records import ModelSource, file_sha256
from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite, load_suite
from lgbench.models.checkpoint import WEIGHTS, load_module, read_checkpoint_record
from lgbench.models.devices import choose_device
from lgbench.models.folders import checkpoint_folder
from lgbench.models.transformer import Transformer
from lgbench.util.errors import LgbenchError


class Opened(NamedTuple):
    """A model that can be looked into.

    Attributes:
        hooked: The model.
        suite: What it was trained for.
        source: What a record says of it.
    """

    hooked: HookedModel
    suite: Suite
    source: ModelSource


def open_model(name: str, *, device: str = "auto") -> Opened:
    """Open a model by the folder of its checkpoint or run, or as `tiny:transfer`.

    Raises:
        LgbenchError: There is none, it is damaged, or its heads cannot be told apart.
    """
    folder = checkpoint_folder(name)
    record = read_checkpoint_record(folder)
    if record.architecture is None:
        raise LgbenchError(
            f"{name!r} is a module that {record.build!r} builds. Heads are told apart in reference models only, not in "
            "modules of your own, which may have none."
        )
    record, module = load_module(folder)
    assert isinstance(module, Transformer)
    suite = load_suite(record.suite)
    hooked = HookedTransformer(module.to(choose_device(device)), record.tokens)
    source = ModelSource(
        model=name,
        weights_sha256=file_sha256(folder / WEIGHTS),
        group=record.group,
        arm=record.arm,
        seed=record.seed,
        steps=record.steps,
        layers=hooked.layers,
        heads=hooked.heads,
        tasks=_trained(suite, record.group, record.arm),
    )
    return Opened(hooked, suite, source)


def _trained(suite: Suite, group: str, arm: str) -> dict[str, int]:
    """The tasks that a model was trained on, the main task first, each with its greatest length.

    A sweep or an ablation trains on the tasks of arm `transfer`, to other lengths or without some of them.
    """
    parts = suite.group(group).mixture("transfer" if arm == OPEN_ARM else arm).parts
    lengths: dict[str, int] = {}
    for part in parts:
        lengths[part.task] = max(lengths.get(part.task, 0), part.max_length)
    return lengths
