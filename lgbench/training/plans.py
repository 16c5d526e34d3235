"""Layer 4: what a training run depends on, as `training.json` records it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from lgbench.errors import UnknownNameError
from lgbench.models.importing import split_place
from lgbench.models.loading import check_texts
from lgbench.results import Seed
from lgbench.suites import TRAINED_ARMS, Arm, ArmTask, Group, Suite, load_suite
from lgbench.tasks import get_task
from lgbench.training.settings import Natural, TrainingSettings, preset_settings

MOST_LENGTH = 10_000
"""The longest examples that a run may train on: more than a hundred times the suites' own."""
_MOST_SHARES = 1000
_REFERENCE = "reference"


class TrainedPart(BaseModel):
    """One task of the arm: lengths up to `max_length`, and its share of the examples, as in "1/3"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: Annotated[str, AfterValidator(lambda name: get_task(name).name)]
    task_version: int
    max_length: Annotated[int, Field(le=MOST_LENGTH)]
    share: Annotated[Fraction, Field(gt=0, le=1)]

    @field_validator("share")
    @classmethod
    def _is_simple(cls, share: Fraction) -> Fraction:
        """The stream of examples holds each task as often as its share has in the common denominator."""
        if share.denominator > _MOST_SHARES:
            raise ValueError(f"must have a denominator of at most {_MOST_SHARES}")
        return share


class TrainingPlan(BaseModel):
    """What a run depends on. With the same plan, machine and thread count, two runs end in the same weights.

    Of what `model` names, only a user's file is hashed: what it imports, or a pretrained model, must be the same too.

    Attributes:
        suite: The suite's name.
        group: The group's name.
        arm: The arm's name.
        parts: What the arm trains on.
        seed: Of the weights' initial values.
        preset: The preset that the settings started from.
        settings: Every hyperparameter.
        model: `reference`; a user's module as given to `--model`; or, of `lgbench finetune`, `hf:FOLDER_OR_ID`.
        model_sha256: Of the file of a user's module, where it is `file.py:function`.
        lora_rank: Of the adapters that are trained on a pretrained model; 0 where all its weights are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: Annotated[str, AfterValidator(lambda name: load_suite(name).name)]
    group: str
    arm: str
    parts: tuple[TrainedPart, ...]
    seed: Seed
    preset: str
    settings: TrainingSettings
    model: str = _REFERENCE
    model_sha256: str | None = None
    lora_rank: Natural = 0

    @field_validator("group")
    @classmethod
    def _is_of_the_suite(cls, name: str, info: ValidationInfo) -> str:
        return load_suite(info.data["suite"]).group(name).name if "suite" in info.data else name

    @field_validator("arm")
    @classmethod
    def _is_trained(cls, name: str) -> str:
        if name not in TRAINED_ARMS:
            raise UnknownNameError("trained arm", name, TRAINED_ARMS)
        return name

    @model_validator(mode="after")
    def _trains_the_main_task(self) -> Self:
        """Whatever a sweep or an ablation changes: a run is of tasks of its group, the main task first."""
        tasks, main = [part.task for part in self.parts], self.suite_group.main
        if tasks[:1] != [main] or len(set(tasks)) < len(tasks) or not set(tasks) <= set(self.suite_group.tasks):
            raise ValueError(f"parts must be of tasks of {self.group}, each once and {main} first")
        if sum(part.share for part in self.parts) != 1:
            raise ValueError("the shares of the parts must add up to 1")
        return self

    @property
    def suite_group(self) -> Group:
        """The group as the suite defines it."""
        return load_suite(self.suite).group(self.group)

    @property
    def is_of_its_arm(self) -> bool:
        """Whether the run trains what the suite's arm does: a sweep or an ablation may not."""
        return self.trained_arm() == self.suite_group.arm(self.arm)

    @property
    def other_model(self) -> str | None:
        """`model` where it is not the reference model."""
        return None if self.model == _REFERENCE else self.model

    @property
    def is_pretrained(self) -> bool:
        """Whether a pretrained model is finetuned."""
        return self.model.startswith("hf:")

    def trained_arm(self) -> Arm:
        """What the run trains on."""
        return tuple(ArmTask(part.task, part.max_length, part.share) for part in self.parts)


@dataclass(frozen=True)
class Recipe:
    """What the runs of an experiment have in common, whichever group, arm and seed they are of.

    Attributes:
        suite: The suite whose arms are trained.
        preset: `mini` or `paper`.
        changes: Of its settings: each `name=value`, as given to `--set`.
        model: As in `TrainingPlan`; the reference model if null.
        lora_rank: As in `TrainingPlan`.
        device: Decides what the precision `auto` is.
    """

    suite: Suite
    preset: str = "mini"
    changes: Sequence[str] = ()
    model: str | None = None
    lora_rank: int = 0
    device: str = "cpu"

    def plan(self, group: str, arm: str, seed: int) -> TrainingPlan:
        """The plan of a run.

        Args:
            group: A group of the suite.
            arm: A trained arm.
            seed: Of the initial weights.

        Raises:
            UnknownNameError: No such group, arm, preset or setting.
            LgbenchError: A value that a setting cannot have, the shape of another model, or a module's name that could
                not be recorded.
        """
        if self.model is not None:
            check_texts({"--model": self.model})
        found = self.suite.group(group)
        return TrainingPlan(
            suite=self.suite.name,
            group=group,
            arm=arm,
            parts=tuple(_trained_part(part) for part in found.arm(arm)),
            seed=seed,
            preset=self.preset,
            settings=self._settings(found),
            model=self.model or _REFERENCE,
            model_sha256=file_sha256(self.model) if self.model else None,
            lora_rank=self.lora_rank,
        )

    def _settings(self, group: Group) -> TrainingSettings:
        settings = preset_settings(self.preset, group, self.changes, reference=self.model is None)
        if settings.precision != "auto":
            return settings
        from lgbench.models.devices import fast_bfloat16  # loads PyTorch, which no reader of plans needs

        return settings.model_copy(update={"precision": "bfloat16" if fast_bfloat16(self.device) else "float32"})


def _trained_part(part: ArmTask) -> TrainedPart:
    version = get_task(part.task).version
    return TrainedPart(task=part.task, task_version=version, max_length=part.max_length, share=part.share)


def file_sha256(model: str) -> str | None:
    """The SHA-256 of the file of `file.py:function`; None where the module is named otherwise or there is no file."""
    path = Path(split_place(model)[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" and path.is_file() else None


def difference(old: TrainingPlan, new: TrainingPlan) -> str | None:
    """Where two plans differ first, in words; None where they end in the same weights, so that one may go on.

    The number of worker processes changes no example.
    """
    before, after = (
        plan.model_dump(mode="json", exclude={"settings"}) | plan.settings.model_dump(exclude={"workers"})
        for plan in (old, new)
    )
    if old.model_sha256 is not None and old.model_sha256 == new.model_sha256:  # however the file's path is spelled
        before["model"], after["model"] = split_place(old.model)[1], split_place(new.model)[1]
    name = next((name for name in before if before[name] != after[name]), None)
    if name == "model_sha256":
        return f"the file of {new.model} has changed since"
    if name == "parts":
        return f"it trains {_in_words(old)} there and {_in_words(new)} here"
    return None if name is None else f"{name} is {before[name]!r} there and {after[name]!r} here"


def _in_words(plan: TrainingPlan) -> str:
    return ", ".join(f"{part.share} {part.task} to {part.max_length}" for part in plan.parts)
