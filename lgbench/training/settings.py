"""Every hyperparameter of a training run, and the presets. Where the values come from: docs/settings.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lgbench.data.task import Domain, Family
from lgbench.models.architecture import Architecture, Position, Use
from lgbench.util.errors import LgbenchError, UnknownNameError

# Larger numbers are no counts of anything; Python computes with them, but neither floats nor files of tensors can.
Positive = Annotated[int, Field(ge=1, lt=2**63)]
Natural = Annotated[int, Field(ge=0, lt=2**63)]
PositiveReal = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
# More is a mistake, or a stranger's record that would keep whoever trains it again busy for ever.
MOST_STEPS, MOST_EXAMPLES, MOST_WORKERS = 10**8, 2**20, 256
_SHAPE = tuple(field.name for field in fields(Architecture) if field.name != "main_tag")
_OF_THE_REFERENCE_MODEL = (*_SHAPE, "initial_std")
KINDS = frozenset(_OF_THE_REFERENCE_MODEL) - {"layers", "heads", "width", "hidden", "head_size"}
"""What, beyond its size, makes the reference model another model."""


class TrainingSettings(BaseModel):
    """The hyperparameters of a run. With a user's module, `initial_std` and those of `Architecture` are unused.

    Attributes:
        layers: Number of blocks.
        heads: Attention heads of a block.
        width: Size of a token's vector between blocks.
        hidden: Size of the feed-forward layer's inner vector.
        theta: Base of the rotary wavelengths.
        position: `rope`, `half-rope`, `alibi` or `nope`.
        position_range: In training each row's positions are random increasing numbers below this, with `rope` and
            `half-rope`; 0 for 0, 1, 2, ...
        weights: Of the blocks' matrices: `float`, or `ternary` for weights that are -s, 0 or s.
        head_size: Size of a head's queries, keys and values; `width / heads` if null, which `--set` takes as well.
        task_heads: Which heads of each layer the tasks use: `all`; `half`, every task the first half; or `disjoint`,
            the main task the first half and every other task the second, so that they share none.
        task_units: Likewise which units of each feed-forward layer.
        initial_std: Standard deviation of the reference model's fresh matrices.
        steps: Optimizer steps.
        warmup: Share of the steps, at the start, in which the learning rate rises linearly from 0.
        rate_cut: What the learning rate is multiplied by from half of the steps on.
        decay_until: Share of the steps after which weights no longer decay.
        decay: Share of the steps, at the end, in which it falls to 0 along half a cosine.
        schedule: Of the learning rate after the warm-up: `trapezoid` holds it and then decays along half a cosine;
            `cosine` and `linear` decay from the end of the warm-up on, and do not use `decay`.
        rounds: How often, at the end of the run, the learning rate starts at its highest again; the schedule is that of
            the steps before.
        round_steps: Steps of such a round.
        round_decay: Those at its end in which the learning rate falls, in a line, to a hundredth.
        batch: Examples of a step.
        optimizer: `adamw`, or `muon` for the matrices inside the model and AdamW for everything else.
        learning_rate: At its highest.
        matrix_learning_rate: Muon's, at its highest.
        beta1: AdamW's decay rate of the gradient's running mean.
        beta2: AdamW's decay rate of the squared gradient's running mean.
        weight_decay: AdamW's, applied to matrices.
        gradient_clip: Greatest norm of the whole gradient.
        precision: Of matrix products in training; weights are float32 either way. `auto` is bfloat16 where the device
            multiplies it faster; a run records which it was.
        length_chunks: A step's batch is sorted by length and passed in so many parts, whose gradients are summed. It
            saves padding; batch and gradient stay the same.
        packed: Whether all parts of a batch pass the reference model's layers together on a CPU, and only the positions
            with a label what follows the last attention. It saves time; the gradient stays the same, but for rounding.
            Of a user's module, on a GPU and with `compile` it is false, and `length_chunks` 2 unless it is set.
        evaluate_every: Steps between points of the training curve, at each of which the state is saved.
        workers: Processes that draw examples ahead; 0 draws them in between. The examples do not depend on it.
        compile: Whether to compile the module with `torch.compile`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layers: Positive
    heads: Positive
    width: Positive
    hidden: Positive
    theta: PositiveReal = 10_000.0
    position: Position = "rope"
    position_range: Natural = 0
    weights: Literal["float", "ternary"] = "float"
    head_size: Annotated[Positive | None, BeforeValidator(lambda given: None if given == "null" else given)] = None
    task_heads: Use = "all"
    task_units: Use = "all"
    initial_std: PositiveReal = 0.02
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    warmup: Share = 0.1
    decay: Share = 0.4
    rate_cut: Annotated[float, Field(gt=0, le=1)] = 1.0
    decay_until: Annotated[float, Field(ge=0, le=1)] = 1.0
    batch: Annotated[int, Field(ge=1, le=MOST_EXAMPLES)]
    rounds: Natural = 0
    round_steps: Natural = 0
    round_decay: Natural = 0
    schedule: Literal["trapezoid", "cosine", "linear"] = "trapezoid"
    optimizer: Literal["adamw", "muon"] = "adamw"
    learning_rate: PositiveReal
    matrix_learning_rate: PositiveReal = 0.02
    beta1: Share = 0.9
    beta2: Share = 0.98
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
    gradient_clip: PositiveReal = 1.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    length_chunks: Positive = 2
    packed: bool = False
    evaluate_every: Positive = 300
    workers: Annotated[int, Field(ge=0, le=MOST_WORKERS)] = 0
    compile: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.warmup + self.decay > 1:
            raise ValueError(
                f"Warm-up ({self.warmup}) and decay ({self.decay}) are shares of the steps: together at most 1."
            )
        if self.rounds * self.round_steps > self.steps or self.round_decay > self.round_steps:
            raise ValueError(
                f"{self.rounds} rounds of {self.round_steps} steps, of which {self.round_decay} decay, must fit into "
                f"{self.steps} steps."
            )
        self.architecture  # noqa: B018  # raises where the sizes do not
        return self

    @property
    def architecture(self) -> Architecture:
        """The reference model's shape, without the main task's tag, which is the group's."""
        return Architecture(**{name: getattr(self, name) for name in _SHAPE})


_MINI_STRINGS = TrainingSettings(
    layers=3, heads=4, width=128, hidden=384, steps=3000, warmup=0.05, batch=64, learning_rate=1e-3
)
_MINI: Mapping[Family, TrainingSettings] = {
    "strings": _MINI_STRINGS,
    "arithmetic": _MINI_STRINGS.model_copy(
        update={"layers": 6, "theta": 100_000.0, "initial_std": 0.06, "steps": 4500}
    ),
    "mazes": _MINI_STRINGS.model_copy(update={"layers": 6, "initial_std": 0.06, "steps": 4500, "workers": 1}),
}
_PACKED = {"packed": True, "length_chunks": 8}
_TUNED: Mapping[Family, TrainingSettings] = {
    # Chosen by the second study of strings: studies/README.md.
    "strings": _MINI_STRINGS.model_copy(
        update={
            "layers": 2,
            "batch": 32,
            "steps": 4200,
            "evaluate_every": 420,
            "learning_rate": 1.5e-3,
            "schedule": "linear",
            "warmup": 0.1,
            "initial_std": 0.04,
        }
        | _PACKED
    ),
    # No study of these has run yet.
    "arithmetic": _MINI["arithmetic"].model_copy(update=_PACKED),
    "mazes": _MINI["mazes"].model_copy(update=_PACKED),
}
_PAPER = TrainingSettings(
    layers=6,
    heads=6,
    width=384,
    hidden=1536,
    theta=100_000.0,
    steps=20_000,
    batch=1200,
    learning_rate=1e-3,
    precision="bfloat16",
    length_chunks=1,
    evaluate_every=500,
    workers=4,
    compile=True,
)
PRESETS: Mapping[str, Mapping[Family, TrainingSettings]] = {
    "tuned": _TUNED,
    "mini": _MINI,
    "paper": {"strings": _PAPER, "arithmetic": _PAPER, "mazes": _PAPER},
}
DEFAULT_PRESET = "tuned"


def preset_settings(
    preset: str, domain: Domain, changes: Sequence[str] = (), *, reference: bool = True
) -> TrainingSettings:
    """The settings of a preset for the domain of a main task, with changes.

    Args:
        preset: One of `PRESETS`.
        domain: The domain, whose family of the preset counts.
        changes: Each `name=value`, as given to `--set`.
        reference: Whether the reference model is trained, whose shape settings then count.

    Raises:
        LgbenchError: No such preset or setting, a value that a setting cannot have, or the shape of another model.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    return with_changes(PRESETS[preset][domain.preset], changes, reference=reference)


def with_changes(usual: TrainingSettings, changes: Sequence[str], *, reference: bool = True) -> TrainingSettings:
    """Settings with the changes that a user asks for.

    Args:
        usual: Those without changes.
        changes: Each `name=value`, as given to `--set`.
        reference: Whether the reference model is trained, whose shape settings then count.

    Raises:
        LgbenchError: No such setting, a value that a setting cannot have, or the shape of another model.
    """
    values: dict[str, Any] = usual.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise LgbenchError(f"{change!r} sets nothing. Write --set name=value, as in --set steps=500.")
        if name not in values:
            usable = [each for each in values if reference or each not in _OF_THE_REFERENCE_MODEL]
            raise UnknownNameError("setting", name, usable)
        if name in _OF_THE_REFERENCE_MODEL and not reference:
            raise LgbenchError(f"--set {name} shapes the reference model only. Shape your own where it is built.")
        values[name] = value
    try:
        return TrainingSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise LgbenchError(str(first["ctx"]["error"])) from None
        name = str(first["loc"][0])
        has = getattr(usual, name)
        raise LgbenchError(f"--set {name}={first['input']}: {first['msg']}. The preset has {name}={has}.") from None


def changed_settings(settings: TrainingSettings, changes: Mapping[str, Any]) -> TrainingSettings:
    """The settings with some changed, validated again.

    Raises:
        LgbenchError: One cannot have the value, or they do not fit together.
    """
    try:
        return TrainingSettings.model_validate(settings.model_dump() | dict(changes))
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            raise UnknownNameError("setting", str(first["loc"][0]), tuple(TrainingSettings.model_fields)) from None
        name = f"The setting {first['loc'][0]} would be {first['input']!r}: " if first["loc"] else ""
        raise LgbenchError(f"{name}{first['msg'].removeprefix('Value error, ')}".rstrip(".") + ".") from None


def learning_rate(settings: TrainingSettings, step: int, *, highest: float | None = None) -> float:
    """The learning rate of step number `step`, from 0: linear warm-up, then as `settings.schedule` says.

    Args:
        settings: The run's.
        step: The step's number.
        highest: The rate at the end of the warm-up; `settings.learning_rate` if None.
    """
    highest = settings.learning_rate if highest is None else highest
    steps = settings.steps - settings.rounds * settings.round_steps
    if 2 * step >= steps > step:
        highest *= settings.rate_cut
    if settings.rounds and step >= steps:
        left = settings.round_steps - 1 - (step - steps) % settings.round_steps  # after this one, in its round
        return highest * min(1.0, 0.01 + 0.99 * left / max(1, settings.round_decay))
    warmup = round(settings.warmup * steps)
    if step < warmup:
        return highest * (step + 1) / warmup
    decay = round(settings.decay * steps) if settings.schedule == "trapezoid" else steps - warmup
    into_decay = step + 1 - (steps - decay)
    if into_decay <= 0:
        return highest
    if settings.schedule == "linear":
        return highest * (1 - into_decay / (decay + 1))
    return highest * (1 + math.cos(math.pi * into_decay / (decay + 1))) / 2
