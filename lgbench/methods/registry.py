"""Finds methods: those of lgbench by name, a user's own by `file.py:attribute`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from lgbench.methods.positions import Positions
from lgbench.methods.procedural import Procedural
from lgbench.methods.rnb import RnB
from lgbench.methods.self_improvement import SelfImprovement
from lgbench.methods.shares import Shares
from lgbench.methods.state_space import StateSpace
from lgbench.methods.ternary import Ternary
from lgbench.models.loading import check_texts
from lgbench.training.method import ChosenMethod, Method
from lgbench.training.planned import Division, PlannedMethod
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.text import key_values
from lgbench.util.users_code import file_sha256, load_named, user_code

METHODS: Mapping[str, type[Method]] = {
    "ternary": Ternary,
    "positions": Positions,
    "state-space": StateSpace,
    "procedural": Procedural,
    "self-improvement": SelfImprovement,
    "rnb": RnB,
    "shares": Shares,
}
"""Those of lgbench, in the order in which they are listed."""


def find_method(name: str) -> type[Method]:
    """A method by name: one of `METHODS`, or the user's, as in `file.py:attribute`.

    Raises:
        LgbenchError: There is none.
        ModelError: The user's file raised when imported.
    """
    if name in METHODS:
        return METHODS[name]
    if ":" not in name and not name.endswith(".py"):
        raise UnknownNameError("method", name, [*METHODS, "file.py:attribute"])
    found = load_named(name, what="method", valid=f"{', '.join(METHODS)}, or file.py:attribute")
    if not (isinstance(found, type) and issubclass(found, Method)):
        raise LgbenchError(f"{name!r} is not a method: it must be a subclass of lgbench.training.method.Method.")
    return found


def choose_method(name: str | None, options: Sequence[str] = ()) -> ChosenMethod | None:
    """The method that a user names, with its options; None where none is named.

    Args:
        name: As given to `--method`.
        options: As given to `--method-option`, each `key=value`.

    Raises:
        LgbenchError: There is no such method, an option does not fit, options are given without a method, or the
            user's class changes nothing.
        ModelError: The user's file raised when imported.
    """
    given = key_values(options, flag="--method-option")
    if name is None:
        if given:
            raise LgbenchError(f"--method-option {next(iter(given))} needs --method NAME, the method that has it.")
        return None
    check_texts({"--method": name} | {f"--method-option {key}": text for key, text in given.items()})
    method = _made(name, given)
    if method.division not in get_args(Division):
        raise LgbenchError(
            f"The division of the method {name!r} is {method.division!r}; valid: {', '.join(get_args(Division))}."
        )
    type(method).check_names()
    planned = PlannedMethod(name=name, options=method.texts(), division=method.division, sha256=file_sha256(name))
    return ChosenMethod(planned, method)


def method_of(plan: RunSpec) -> Method | None:
    """The method of a plan; None where it has none.

    The plan must be one that the user asked for: the code that it names is run.

    Raises:
        LgbenchError: There is none of its name, or an option does not fit.
        ModelError: The user's file raised.
    """
    return None if plan.method is None else _made(plan.method.name, plan.method.options)


def not_to_submit(plans: Iterable[RunSpec]) -> list[str]:
    """A sentence for each group in which the method of a plan gives answers that the arm withholds.

    The plans must be ones that the user asked for: the code that they name is run.

    Raises:
        LgbenchError: There is no method of a plan's name, or an option does not fit.
        ModelError: The user's file raised.
    """
    found = []
    for plan in plans:
        method = method_of(plan)
        if method is None or plan.method is None:
            continue
        with user_code(f"`answers_beyond` of the method {plan.method.name!r}"):
            given = method.answers_beyond(plan)
        if given:
            found.append(
                f"Warning: in {plan.group} the method {plan.method.name} gives answers to inputs longer than the arm's "
                f"({given}), so its runs cannot be submitted."
            )
    return list(dict.fromkeys(found))


def _made(name: str, options: Mapping[str, str]) -> Method:
    kind = find_method(name)
    with user_code(f"Making the method {name!r}"):
        return kind.of_texts(options, name)
