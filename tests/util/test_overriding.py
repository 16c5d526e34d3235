"""A name that is nearly one that a subclass could override is refused; other names are left alone."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from lgbench.util.errors import LgbenchError
from lgbench.util.overriding import check_overrides, overrides

NAMES = ("start", "before_step", "step", "end", "state", "title", "division")


class Base:
    division: ClassVar[str] = "closed"

    def start(self) -> None: ...
    def before_step(self) -> None: ...
    def step(self) -> None: ...
    def end(self) -> None: ...
    def state(self) -> None: ...
    def other(self) -> None: ...

    @property
    def title(self) -> str:
        return ""


def defining(name: str, value: Any, *bases: type) -> type:
    return type("Mine", bases or (Base,), {name: value})


def function(*_: object) -> None: ...


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *(("steps", "step"), ("before_steps", "before_step"), ("on_step", "step"), ("on_train_start", "start")),
        *(("on_step_end", "step"), ("on_states", "state")),
    ],
)
def test_a_near_miss_is_refused(name: str, meant: str) -> None:
    for kind in (
        defining(name, function),
        defining("start" if meant != "start" else "end", function, defining(name, function)),
    ):
        with pytest.raises(
            LgbenchError, match=rf"The hook Mine defines '{name}', .* Did you mean '{meant}'\? .*'_{name}'"
        ):
            check_overrides(kind, Base, NAMES, what="The hook Mine")


def test_a_property_and_a_value_are_told_as_well() -> None:
    for name, value in (("titles", property(function)), ("divisions", "open")):
        with pytest.raises(LgbenchError, match=f"Did you mean '{name[:-1]}'"):
            check_overrides(defining(name, value), Base, NAMES, what="It")


def test_names_of_ones_own_are_left_alone() -> None:
    for name in (
        "stop",
        "restart",
        "stats",
        "send",
        "_steps",
        "step_size",
        "reset_state",
        "on_disk",
        "others",
        "print",
    ):
        check_overrides(defining(name, function), Base, NAMES, what="It")
    check_overrides(defining("steps", 3), Base, NAMES, what="It")
    check_overrides(defining("titles", function), Base, NAMES, what="It")
    check_overrides(Base, Base, NAMES, what="It")
    both = type(
        "Mine", (Base,), {"steps": function, "step": function}
    )  # the right name is there, so the other is no mistake
    check_overrides(both, Base, NAMES, what="It")


def test_what_a_class_between_overrides_counts() -> None:
    between = defining("step", function)
    assert overrides(defining("x", 1, between), Base, ["step"])
    assert not overrides(defining("x", 1, between), Base, ["start", "other"])
    assert not overrides(Base, Base, NAMES)
