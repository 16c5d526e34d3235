"""What a method is: how training under an arm is changed. `lgbench.methods` holds those of lgbench."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from lgbench.training.planned import Division, PlannedMethod
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.overriding import check_overrides, overrides

if TYPE_CHECKING:
    from lgbench.training.hooks import Hook
    from lgbench.training.spec import RunSpec


class Method(BaseModel):
    """How training under an arm is changed. The fields of a subclass are its options, its docstring its definition.

    A method is a value without state. What it does is in the plan that `planned` gives, and in the hooks that are
    called while a run trains, one of which may be a `RowSource`. What a hook must remember over an interruption belongs
    into its `state` and `tensors`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    division: ClassVar[Division] = "closed"
    """`closed` where the run still trains on the arm's stream alone, from fresh weights; `open` for anything else."""

    def planned(self, plan: RunSpec) -> RunSpec:
        """The plan of a run with this method: the plain run's with other settings, another model or another start.

        Raises:
            LgbenchError: The method does not fit the plan.
        """
        return plan

    def hooks(self, plan: RunSpec) -> Sequence[Hook]:
        """The hooks that do what a plan cannot say, made anew in each process that trains the run."""
        return ()

    def answers_beyond(self, plan: RunSpec) -> str:
        """What gives a run answers to inputs longer than its arm's, as a phrase; empty where nothing does.

        Such a run is an upper bound to compare with. It breaks the rules of both divisions, and cannot be submitted.

        Args:
            plan: The run's plan, with the method.
        """
        return ""

    @classmethod
    def definition(cls) -> str:
        """The docstring, without its indentation; empty if the class has none of its own."""
        return inspect.cleandoc(cls.__doc__ or "")

    @classmethod
    def check_names(cls) -> None:
        """Refuse a method that changes nothing, or whose names are mistyped: its run would be the plain one.

        Raises:
            LgbenchError: It does not override `planned` or `hooks`, or defines a name that nearly is one of a method's.
        """
        needed = ("planned", "hooks")
        names = (*needed, "answers_beyond", "division")
        check_overrides(cls, Method, names, what=f"The method {cls.__name__}", near=0.7)
        if not overrides(cls, Method, needed):
            raise LgbenchError(
                f"The method {cls.__name__} changes nothing: it must define `planned(self, plan)`, `hooks(self, plan)` "
                "or both."
            )

    @classmethod
    def of_texts(cls, options: Mapping[str, str], name: str) -> Self:
        """The method with options given as text.

        Args:
            options: As given to `--method-option`.
            name: The method, for messages.

        Raises:
            LgbenchError: It has no such option, or a text is not a value of it.
        """
        for option in options:
            if option not in cls.model_fields:
                if not cls.model_fields:
                    raise LgbenchError(f"The method {name!r} has no option {option!r}: it takes none.")
                raise UnknownNameError(f"option of the method {name}", option, cls.model_fields)
        try:
            return cls.model_validate_strings(dict(options))
        except ValidationError as error:
            raise _unfit(error, name) from None

    @classmethod
    def described_options(cls) -> list[tuple[str, str]]:
        """Each option as `name=default`, and what it is for."""
        found = []
        for name, field in cls.model_fields.items():
            value = f"{field.default:.3g}" if isinstance(field.default, float) else field.default
            default = "" if field.is_required() else f"={'none' if value is None else value}"
            found.append((f"{name}{default}", field.description or ""))
        return found

    def texts(self) -> dict[str, str]:
        """Every option that is not None as text, defaults included: another version may have other defaults."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


class ChosenMethod(NamedTuple):
    """A method as the user chose it.

    Attributes:
        planned: What a plan records.
        method: The method with its options.
    """

    planned: PlannedMethod
    method: Method

    def apply(self, plan: RunSpec) -> RunSpec:
        """The plan of a run with the method, from that of the plain run.

        Raises:
            LgbenchError: The method does not fit the plan.
        """
        changed: object = self.method.planned(plan)
        if not isinstance(changed, type(plan)):
            raise LgbenchError(
                f"`planned` of the method {self.planned.name!r} returned a {type(changed).__name__}; it must return a "
                "plan, as in `return plan.with_settings(learning_rate=0.001)`."
            )
        return changed.model_copy(update={"method": self.planned})


def _unfit(error: ValidationError, name: str) -> LgbenchError:
    """The first problem of options, as a sentence."""
    first: Any = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ").rstrip(".")
    if not first["loc"]:
        return LgbenchError(f"The options of the method {name!r} do not fit together: {reason}.")
    option = first["loc"][0]
    if first["type"] == "missing":
        return LgbenchError(f"The method {name!r} needs the option {option!r}: add --method-option {option}=VALUE.")
    return LgbenchError(f"--method-option {option}={first['input']} of {name!r}: {reason}.")
