"""What a training run depends on, as `training.json` records it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from lgbench.data.groups import TRAINED_ARMS, Group
from lgbench.data.mixtures import Mixture, Part, Parts, Stage
from lgbench.data.suites import Suite, load_suite
from lgbench.models.architecture import Architecture
from lgbench.models.loading import check_texts
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.results.schema import Draft, Seed, Text
from lgbench.training.method import ChosenMethod
from lgbench.training.planned import Division as Division  # for the board, which knows plans
from lgbench.training.planned import PlannedHook, PlannedMethod, Start, hooks_difference
from lgbench.training.settings import (
    DEFAULT_PRESET,
    KINDS,
    Natural,
    TrainingSettings,
    changed_settings,
    preset_settings,
)
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.users_code import file_sha256, split_place

MOST_LENGTH = 10_000
"""The longest examples that a run may train on: more than a hundred times the suites' own."""
_MOST_SHARES = 1000
_REFERENCE = "reference"
_LEFT_OUT = ("draft", "stages", "model_options", "start", "hooks", "method")


class TrainedPart(BaseModel):
    """One task of the arm: lengths up to `max_length`, and its share of the examples, as in "1/3"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
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


class TrainedStage(BaseModel):
    """A list of tasks that some of the steps train on, and their share of the steps, as in "1/4"."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[TrainedPart, ...]
    share: Annotated[Fraction, Field(gt=0, le=1)]


class RunSpec(BaseModel):
    """What a run depends on. With the same plan, machine and thread count, two runs end in the same weights.

    Of what `model` names, only a user's file is hashed: what it imports, or a pretrained model, must be the same too.

    Attributes:
        draft: Where a draft suite came from; left out for a published one.
        suite: The suite's name.
        group: The group's name.
        arm: The arm's name.
        parts: What the run trains on; empty where it trains in stages.
        stages: What it trains on in each stage; left out where there is one list.
        seed: Of the weights' initial values.
        preset: The preset that the settings started from.
        settings: Every hyperparameter.
        model: `reference`; a user's module as given to `--model`; or, of `lgbench finetune`, `hf:FOLDER_OR_ID`.
        model_sha256: Of the file of a user's module, where it is `file.py:function`.
        model_options: Arguments of the function that builds it, as text, as given to `--model-option`.
        lora_rank: Of the adapters that are trained on a pretrained model; 0 where all its weights are.
        start: The checkpoint whose weights it starts from; null where all are fresh.
        hooks: Those named on the command line. What a Python program passes to `train` beside them is not recorded.
        method: The method that changes the run; left out where there is none. Settings are those with its changes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    draft: Draft | None = None  # before the suite, which is not to be looked up without it
    suite: str
    group: str
    arm: str
    parts: tuple[TrainedPart, ...] = ()
    stages: tuple[TrainedStage, ...] = ()
    seed: Seed
    preset: str
    settings: TrainingSettings
    model: str = _REFERENCE
    model_sha256: str | None = None
    model_options: dict[str, Text] = {}
    lora_rank: Natural = 0
    start: Start | None = None
    hooks: tuple[PlannedHook, ...] = ()
    method: PlannedMethod | None = None

    @field_validator("suite")
    @classmethod
    def _is_open(cls, name: str, info: ValidationInfo) -> str:
        return load_suite(name, info.data.get("draft")).name

    @field_validator("group")
    @classmethod
    def _is_of_the_suite(cls, name: str, info: ValidationInfo) -> str:
        if not {"draft", "suite"} <= info.data.keys():  # one that is invalid has its own problem
            return name
        return load_suite(info.data["suite"], info.data["draft"]).group(name).name

    @field_validator("arm")
    @classmethod
    def _is_trained(cls, name: str, info: ValidationInfo) -> str:
        if not {"draft", "suite", "group"} <= info.data.keys():
            if info.data.get("draft", ...) is None and name not in TRAINED_ARMS:
                raise UnknownNameError("trained arm", name, TRAINED_ARMS)
            return name
        return load_suite(info.data["suite"], info.data["draft"]).group(info.data["group"]).arm(name).name

    @model_validator(mode="after")
    def _trains_the_main_task(self) -> Self:
        """Whatever a sweep or an ablation changes: a run is of tasks of its group, and the main task is one of them."""
        group = self.suite_group
        try:
            mixture = self.mixture
        except LgbenchError as error:
            raise ValueError(str(error)) from None
        for task in mixture.tasks:
            self.loaded_suite.task(task)
        is_first = not self.parts or self.parts[0].task == group.main
        if not set(mixture.tasks) <= set(group.tasks) or group.main not in mixture.tasks or not is_first:
            place = f"each once and {group.main} first" if self.parts else f"{group.main} among them"
            raise ValueError(f"parts must be of tasks of {self.group}, {place}")
        for _ in mixture.spans(self.settings.steps) if self.stages else ():
            pass  # each stage has steps
        return self

    @model_serializer(mode="wrap")
    def _as_ever(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What few plans have is left out of the others: their records stay as they always were."""
        record: dict[str, Any] = dump(self)
        return {name: value for name, value in record.items() if value or name not in _LEFT_OUT}

    @property
    def loaded_suite(self) -> Suite:
        """The suite that it is of."""
        return load_suite(self.suite, self.draft)

    @property
    def suite_group(self) -> Group:
        """The group as the suite defines it."""
        return self.loaded_suite.group(self.group)

    @property
    def architecture(self) -> Architecture:
        """The reference model's shape, with the main task's tag where heads or units are divided by it."""
        shape = self.settings.architecture
        if not shape.needs_main_tag:
            return shape
        return replace(shape, main_tag=suite_vocabulary(self.loaded_suite).task_tag(self.suite_group.main))

    @property
    def is_of_its_arm(self) -> bool:
        """Whether the run trains what the suite's arm does: a sweep or an ablation may not."""
        return self.mixture == self.suite_group.mixture(self.arm)

    @property
    def division(self) -> Division:
        """`closed` where the run trains on its arm's own stream from fresh weights, else `open`."""
        if self.method is not None and self.method.division == "open":
            return "open"
        return "closed" if self.is_of_its_arm and self.start is None and not self.is_pretrained else "open"

    def with_settings(self, **changes: Any) -> RunSpec:
        """The same plan with other settings.

        Raises:
            LgbenchError: A setting cannot have the value, or they do not fit together.
        """
        return self.model_copy(update={"settings": changed_settings(self.settings, changes)})

    @property
    def other_model(self) -> str | None:
        """`model` where it is not the reference model."""
        return None if self.model == _REFERENCE else self.model

    @property
    def is_pretrained(self) -> bool:
        """Whether a pretrained model is finetuned."""
        return self.model.startswith("hf:")

    @property
    def mixture(self) -> Mixture:
        """What the run trains on.

        Raises:
            LgbenchError: It is not a mixture.
        """
        stages = tuple(Stage(_parts(stage.parts), stage.share) for stage in self.stages)
        return Mixture(_parts(self.parts), stages)


def _parts(trained: Iterable[TrainedPart]) -> Parts:
    return tuple(Part(part.task, part.max_length, part.share) for part in trained)


@dataclass(frozen=True)
class Recipe:
    """What the runs of an experiment have in common, whichever group, arm and seed they are of.

    Attributes:
        suite: The suite whose arms are trained.
        preset: One of `lgbench.training.settings.PRESETS`.
        changes: Of its settings: each `name=value`, as given to `--set`.
        model: As in `RunSpec`; the reference model if null.
        lora_rank: As in `RunSpec`.
        model_options: As in `RunSpec`.
        start: As in `RunSpec`.
        hooks: As in `RunSpec`.
        method: What changes the runs; None for plain ones.
        device: Decides what the precision `auto` is.
    """

    suite: Suite
    preset: str = DEFAULT_PRESET
    changes: Sequence[str] = ()
    model: str | None = None
    lora_rank: int = 0
    model_options: Mapping[str, str] = field(default_factory=dict)
    start: Start | None = None
    hooks: Sequence[PlannedHook] = ()
    method: ChosenMethod | None = None
    device: str = "cpu"

    def plan(self, group: str, arm: str, seed: int) -> RunSpec:
        """The plan of a run.

        Args:
            group: A group of the suite.
            arm: A trained arm.
            seed: Of the initial weights.

        Raises:
            UnknownNameError: No such group, arm, preset or setting.
            LgbenchError: A value that a setting cannot have, the shape of another model, options of the reference
                model, a module's name that could not be recorded, or a method that does not fit.
        """
        options = dict(self.model_options)
        if self.model is not None:
            check_texts({"--model": self.model} | {f"--model-option {key}": text for key, text in options.items()})
        elif options:
            raise LgbenchError(
                f"--model-option {next(iter(options))} is for a module of your own, named with --model. The "
                "reference model is shaped by --set, as in --set layers=4."
            )
        found = self.suite.group(group)
        mixture = found.mixture(arm)
        plain = RunSpec(
            draft=Draft.of(self.suite.draft),
            suite=self.suite.name,
            group=group,
            arm=arm,
            parts=self._trained(mixture.parts),
            stages=tuple(TrainedStage(parts=self._trained(parts), share=share) for parts, share in mixture.stages),
            seed=seed,
            preset=self.preset,
            settings=self._settings(found),
            model=self.model or _REFERENCE,
            model_sha256=file_sha256(self.model) if self.model else None,
            model_options=options,
            lora_rank=self.lora_rank,
            start=self.start,
            hooks=tuple(self.hooks),
        )
        if self.method is None:
            return plain
        planned = self.method.apply(plain)
        for change in self.changes:
            self._check_has_effect(change, plain, planned)
        return planned

    def _check_has_effect(self, change: str, plain: RunSpec, planned: RunSpec) -> None:
        """Make sure that a change of the settings still has an effect with the method: it would be recorded in vain.

        Raises:
            LgbenchError: It has none.
        """
        assert self.method is not None
        name, method = change.partition("=")[0], self.method.planned.name
        advice = f"Leave it out; the method's own options: `lgbench methods show {method}`."
        if name in KINDS and self.model is None and planned.other_model is not None:
            raise LgbenchError(f"--set {name} shapes the reference model, which the method {method} replaces. {advice}")
        asked, has = (getattr(each.settings, name) for each in (plain, planned))
        if has == asked:
            return
        # A value that the method derives its own from has an effect, also where it happens to be the preset's: ask for
        # the next one, or where that is no value of the setting, for the preset's.
        others = [each for each in self.changes if each.partition("=")[0] != name]
        is_number = isinstance(asked, int | float) and not isinstance(asked, bool)
        for changes in ([*others, f"{name}={asked + 1}"] if is_number else others, others):
            try:
                recipe = replace(self, changes=changes, method=None)
                without = self.method.apply(recipe.plan(plain.group, plain.arm, plain.seed))
                break
            except LgbenchError:
                continue
        else:  # it needs the change
            return
        if has == getattr(without.settings, name):
            raise LgbenchError(
                f"--set {change} is overridden by the method {method}, which sets {name}={has}. {advice}"
            )

    def _trained(self, parts: Parts) -> tuple[TrainedPart, ...]:
        return tuple(
            TrainedPart(
                task=task, task_version=self.suite.task(task).version, max_length=max_length, share=Fraction(share)
            )
            for task, max_length, share in parts
        )

    def _settings(self, group: Group) -> TrainingSettings:
        settings = preset_settings(self.preset, self.suite.domain(group), self.changes, reference=self.model is None)
        if settings.packed and (self.model is not None or self.device != "cpu" or settings.compile):
            chunks = {} if any(each.startswith("length_chunks=") for each in self.changes) else {"length_chunks": 2}
            settings = settings.model_copy(update={"packed": False, **chunks})
        if settings.precision != "auto":
            return settings
        from lgbench.models.devices import fast_bfloat16  # loads PyTorch, which no reader of plans needs

        return settings.model_copy(update={"precision": "bfloat16" if fast_bfloat16(self.device) else "float32"})


def difference(old: RunSpec, new: RunSpec) -> str | None:
    """Where two plans differ first, in words; None where they end in the same weights, so that one may go on.

    The number of worker processes changes no example.
    """
    before, after = (
        plan.model_dump(mode="json", exclude={"settings"}) | plan.settings.model_dump(exclude={"workers"})
        for plan in (old, new)
    )
    if old.model_sha256 is not None and old.model_sha256 == new.model_sha256:  # however the file's path is spelled
        before["model"], after["model"] = split_place(old.model)[1], split_place(new.model)[1]
    if old.draft is not None and new.draft is not None and old.draft.sha256 == new.draft.sha256:
        before["draft"] = after["draft"]  # however it was named
    before["hooks"], after["hooks"] = ([hook.identity for hook in plan.hooks] for plan in (old, new))
    before["start"], after["start"] = (None if plan.start is None else plan.start.identity for plan in (old, new))
    before["method"], after["method"] = (None if plan.method is None else plan.method.identity for plan in (old, new))
    if before["method"] != after["method"]:  # the settings that it changed are its doing
        return _method_difference(old.method, new.method)
    name = next((name for name in before | after if before.get(name) != after.get(name)), None)
    if name == "model_sha256":
        return f"the file of {new.model} has changed since"
    if name == "draft" and new.draft is not None:
        return f"the file of {new.draft.reference} has changed since"
    if name == "hooks":
        return hooks_difference(old.hooks, new.hooks)
    if name == "start":
        return f"it starts from {old.start or 'fresh weights'} there and from {new.start or 'fresh weights'} here"
    if name in ("parts", "stages"):
        return f"it trains {old.mixture} there and {new.mixture} here"
    return None if name is None else f"{name} is {before.get(name)!r} there and {after.get(name)!r} here"


def _method_difference(old: PlannedMethod | None, new: PlannedMethod | None) -> str:
    if old is not None and new is not None and (*old.identity[:2],) == (*new.identity[:2],):
        return f"the file of the method {new.name} has changed since"
    return f"its method is {old or 'none'} there and {new or 'none'} here"
