"""What `declaration.json` and `weights.json` of a submission hold: how settings were chosen, and where weights are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lgbench.data.groups import TRAINED_ARMS
from lgbench.results.schema import Count, Link, Seed, Sha256
from lgbench.submissions.system import check_system_name
from lgbench.submissions.visible_text import check_visible
from lgbench.util.errors import LgbenchError

DECLARATION_FILE = "declaration.json"
WEIGHTS_FILE = "weights.json"
MAX_DECLARATION_BYTES, MAX_WEIGHTS_BYTES = 20_000, 2_000
_MostTold = StringConstraints(min_length=1, max_length=4000)
_Paragraphs = Annotated[str, _MostTold, AfterValidator(lambda text: check_visible(text, allowed="\n"))]
Selection = Literal["nothing", "in_distribution", "transfer_zone", "test"]
"""What settings were chosen on: nothing at all, dev examples up to the main task's training length, dev examples of the
transfer zone, or test examples, which no rule allows."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Declaration(_Record):
    """How the settings of a system were chosen, and what it was trained on: the content of `declaration.json`.

    Attributes:
        schema_version: Of this format.
        trials: Trainings that were tried before the submitted ones, those stopped early included.
        selected_on: What the settings were chosen on, among these trials; `nothing` without any.
        tuned_arms: The arms that the trials trained.
        tuning_seeds: Their seeds.
        open_data: In the open division, what was used beside the arm's stream, and how much of it; else null.
        first_seed: The lowest seed of every arm: 0, or where `same_recipe_as` names a system a multiple of 1,000.
        same_recipe_as: The system on the board with the same model and settings, whose runs the seeds from 0 on would
            repeat; else null.
    """

    schema_version: Literal[1] = 1
    trials: Count
    selected_on: Selection
    tuned_arms: Annotated[tuple[Literal[TRAINED_ARMS], ...], Field(max_length=len(TRAINED_ARMS))]  # type: ignore[valid-type]
    tuning_seeds: Annotated[tuple[Seed, ...], Field(max_length=1000)]
    open_data: _Paragraphs | None
    first_seed: Annotated[int, Field(ge=0, le=9000, multiple_of=1000)] = 0
    same_recipe_as: Annotated[str, AfterValidator(check_system_name)] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.trials == 0) != (self.selected_on == "nothing"):
            raise ValueError("selected_on is 'nothing' exactly where trials is 0: whatever was tried, something chose")
        if self.trials and not (self.tuned_arms and self.tuning_seeds):
            raise ValueError("trials need tuned_arms and tuning_seeds: those that they trained")
        if not self.trials and (self.tuned_arms or self.tuning_seeds):
            raise ValueError("tuned_arms and tuning_seeds are empty where trials is 0")
        if (self.first_seed > 0) != (self.same_recipe_as is not None):
            raise ValueError("first_seed is above 0 exactly where same_recipe_as names a system")
        for name in ("tuned_arms", "tuning_seeds"):
            given = getattr(self, name)
            if len(set(given)) < len(given):
                raise ValueError(f"{name} names one twice")
        return self


class WeightsRecord(_Record):
    """Where the weights of a run can be had: the content of `weights.json`.

    Attributes:
        schema_version: Of this format.
        url: Of a safetensors file, by http or https.
        sha256: Of that file.
    """

    schema_version: Literal[1] = 1
    url: Link
    sha256: Sha256


_FLAGS = {"tuned_arms": "--tuned-arm", "tuning_seeds": "--tuning-seed"}
"""Options of `lgbench submit` that are not named as their field."""


def _flag(field: str) -> str:
    return _FLAGS.get(field, f"--{field.replace('_', '-')}")


def told(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `declaration.json` that say something. A later `submit` may fill the others."""
    return {
        name: value
        for name, value in record.items()
        if value not in (None, "", []) and not (name == "first_seed" and value == 0)
    }


def declared(before: Mapping[str, Any] | None = None, /, **given: Any) -> Declaration | None:
    """The declaration that a submitter's options make; None without any.

    Args:
        before: What the system's `declaration.json` holds: it says what no option does.
        given: Every field, None for those not given.

    Raises:
        LgbenchError: An option is missing, or they do not fit together.
    """
    if all(value is None for value in given.values()):
        return None
    known = told(before or {})
    stated = {name: known.get(name) if value is None else value for name, value in given.items()}
    stated = {name: tuple(value) if isinstance(value, list) else value for name, value in stated.items()}
    if stated["trials"] is None:
        raise LgbenchError("A declaration begins with --trials, the number of trainings tried; 0 if there were none.")
    if stated["trials"]:
        needed = ("selected_on", "tuned_arms", "tuning_seeds")
        if missing := [_flag(name) for name in needed if not stated[name]]:
            raise LgbenchError(
                f"A declaration of trials needs {' and '.join(filter(None, [', '.join(missing[:-1]), missing[-1]]))} "
                "too: what the settings were chosen on, and the arms and seeds that the trials trained."
            )
    usual: dict[str, Any] = {"tuned_arms": (), "tuning_seeds": (), "first_seed": 0}
    usual["selected_on"] = None if stated["trials"] else "nothing"
    try:
        filled = {name: usual.get(name) if value is None else value for name, value in stated.items()}
        return Declaration.model_validate(filled)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        field = f"{_flag(name)}: " if name else ""
        raise LgbenchError(f"{field}{first['msg'].removeprefix('Value error, ')}.") from None
