"""Opens models for analysis: a checkpoint or run of a reference model, or a Hugging Face model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lgbench.analysis.hooked import HookedModel, HookedTransformer
from lgbench.analysis.records import ModelSource
from lgbench.data.drafts import open_suite
from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite, load_suite
from lgbench.models.checkpoint import WEIGHTS, load_module, read_checkpoint_record
from lgbench.models.devices import choose_device
from lgbench.models.folders import checkpoint_folder
from lgbench.models.transformer import Transformer
from lgbench.util.errors import LgbenchError
from lgbench.util.files import sha256_of


class Opened(NamedTuple):
    """A model that can be analyzed.

    Attributes:
        hooked: The model.
        suite: The suite of its tasks.
        source: Its description in records.
    """

    hooked: HookedModel
    suite: Suite
    source: ModelSource


def open_model(
    name: str,
    *,
    device: str = "auto",
    group: str | None = None,
    suite: str = "mini-v1",
    options: Mapping[str, str] | None = None,
) -> Opened:
    """Open a model by the folder of its checkpoint or run, as `tiny:transfer`, or as `hf:PATH_OR_ID`.

    Args:
        name: The model.
        device: Where to run a reference model; a Hugging Face model has the option `device_map`.
        group: Of a Hugging Face model: the group whose tasks it is asked, to the lengths of arm `transfer`.
        suite: Of the group.
        options: Of a Hugging Face model, as in `eval`.

    Raises:
        LgbenchError: There is none, it is damaged, or its heads cannot be separated; or a Hugging Face model without a
            group, or another model with one.
    """
    if name.startswith("hf:"):
        return _open_hf(name, group, open_suite(suite), options or {})
    if group is not None or options:
        raise LgbenchError(
            f"{name!r} says itself what it was trained on. --group and --model-option are for Hugging Face models, "
            "as in hf:FOLDER."
        )
    folder = checkpoint_folder(name)
    record = read_checkpoint_record(folder)
    if record.architecture is None:
        raise LgbenchError(
            f"{name!r} is a module that {record.build!r} builds. Heads are told apart in reference models only, not in "
            "modules of your own, which may have none."
        )
    record, module = load_module(folder)
    assert isinstance(module, Transformer)
    of_record = load_suite(record.suite)
    hooked = HookedTransformer(module.to(choose_device(device)), record.tokens)
    source = ModelSource(
        model=name,
        weights_sha256=sha256_of(folder / WEIGHTS),
        group=record.group,
        arm=record.arm,
        seed=record.seed,
        steps=record.steps,
        layers=hooked.layers,
        heads=hooked.heads,
        tasks=_trained(of_record, record.group, record.arm),
    )
    return Opened(hooked, of_record, source)


def _open_hf(name: str, group: str | None, suite: Suite, options: Mapping[str, str]) -> Opened:
    from lgbench.util.extras import require_extra

    require_extra("hf", purpose=f"MODEL {name!r}")
    if group is None:
        raise LgbenchError(
            f"{name!r} does not say which tasks it knows. Name a group of {suite.name} with --group: "
            f"{', '.join(each.name for each in suite.groups)}."
        )
    from lgbench.analysis.hooked_hf import HookedHuggingFace
    from lgbench.models.construction import arguments_for
    from lgbench.models.huggingface.checkpoint import open_checkpoint, quiet_loading, weights_sha256
    from lgbench.models.huggingface.options import Options
    from lgbench.models.prompting import prompt_style

    eager = {"attn_implementation": "eager"}  # the others give no attention
    chosen = Options(**arguments_for(Options, {**options, **eager}, name))
    with quiet_loading():
        checkpoint = open_checkpoint(name.removeprefix("hf:"), chosen)
    style = prompt_style(
        chosen.style,
        chat=chosen.chat,
        has_chat=checkpoint.has_chat_template,
        template=chosen.template,
        shots=chosen.shots,
    )
    hooked = HookedHuggingFace(checkpoint, style, suite, name=name)
    source = ModelSource(
        model=name,
        weights_sha256=weights_sha256(checkpoint)[0],
        group=group,
        arm=OPEN_ARM,
        seed=None,
        steps=None,
        layers=hooked.layers,
        heads=hooked.heads,
        tasks=_trained(suite, group, OPEN_ARM),
        prompt=style,
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
