"""The hooks of a run, called one after another, and what they raise."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from lgbench.training.hooks import Hook, check_callbacks
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code


class HookCalls:
    """Hooks by the name of their class, numbered where several have the same.

    Args:
        hooks: The hooks, in the order in which they are called.
        step: Gives how many steps are done, for messages.

    Raises:
        LgbenchError: One is not a hook, or overrides none of a hook's methods.

    Attributes:
        at_work: The hook that is being called, if one is.
    """

    def __init__(self, hooks: Sequence[Hook], step: Callable[[], int]) -> None:
        self._hooks: dict[str, Hook] = {}
        self.at_work: Hook | None = None
        self._step = step
        for hook in hooks:
            if not isinstance(hook, Hook):
                raise LgbenchError(
                    f"{hook!r:.100} is not a hook: give an object of a subclass of lgbench.training.hooks.Hook."
                )
            check_callbacks(hook)
            name = type(hook).__qualname__
            again = sum(type(other).__qualname__ == name for other in self._hooks.values())
            self._hooks[f"{name} {again + 1}" if again else name] = hook

    def call(self, method: str, *arguments: Any) -> None:
        """Call a method of each.

        Raises:
            ModelError: One raised.
        """
        for name, hook in self._hooks.items():
            self.at_work = hook
            with self._code_of(name, method):
                getattr(hook, method)(*arguments)
        self.at_work = None

    def states(self) -> dict[str, dict[str, Any]]:
        """The states of the hooks that have one.

        Raises:
            LgbenchError: One cannot be saved.
            ModelError: One raised.
        """
        states = {}
        for name, hook in self._hooks.items():
            with self._code_of(name, "state"):
                states[name] = hook.state()
            _check_state(name, states[name])
        return {name: state for name, state in states.items() if state}

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the hooks that have some, each named `HOOK/NAME`.

        Raises:
            LgbenchError: One returned something else.
            ModelError: One raised.
        """
        found: dict[str, Tensor] = {}
        for name, hook in self._hooks.items():
            with self._code_of(name, "tensors"):
                own = hook.tensors()
            _check_tensors(name, own)
            found |= {f"{name}/{key}": tensor for key, tensor in own.items()}
        return found

    def check_saved(self) -> None:
        """Make sure that what the hooks must remember can be saved, before hours of training end at the first save.

        Raises:
            LgbenchError: It cannot.
            ModelError: One raised.
        """
        self.states()
        self.tensors()

    def load_tensors(self, tensors: Mapping[str, Tensor], *, of: str) -> None:
        """Give each hook its tensors. Arguments and errors as for `load_states`."""
        given: dict[str, dict[str, Tensor]] = {}
        for place, tensor in tensors.items():
            name, _, key = place.partition("/")
            given.setdefault(name, {})[key] = tensor
        self._check_known(given, of)
        for name, own in given.items():
            with self._code_of(name, "load_tensors"):
                self._hooks[name].load_tensors(own)

    def load_states(self, states: Mapping[str, dict[str, Any]], *, of: str) -> None:
        """Give each hook its state.

        Args:
            states: What `states` gave.
            of: The run's folder, for messages.

        Raises:
            LgbenchError: There is no hook to give one to.
            ModelError: One raised.
        """
        self._check_known(states, of)
        for name, state in states.items():
            with self._code_of(name, "load_state"):
                self._hooks[name].load_state(state)

    def _check_known(self, names: Iterable[str], of: str) -> None:
        if missing := [name for name in names if name not in self._hooks]:
            raise LgbenchError(
                f"{of!r} holds a run with the hook {missing[0]!r}, whose state was saved. Resume it "
                "with the same hooks."
            )

    def _code_of(self, name: str, method: str) -> contextlib.AbstractContextManager[None]:
        return user_code(f"The hook {name}, in {method} at step {self._step()},")


def _check_state(name: str, state: object) -> None:
    try:
        json.dumps(state, allow_nan=True)
        problem = "" if isinstance(state, dict) else f"it is of type {type(state).__name__}"
    except (TypeError, ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise LgbenchError(
            f"The state of the hook {name} cannot be saved: {problem}. Its `state` must return a dictionary of "
            "numbers, strings, lists and dictionaries of these; tensors belong into `tensors`."
        )


def _check_tensors(name: str, tensors: object) -> None:
    if not isinstance(tensors, Mapping):
        problem = f"they are of type {type(tensors).__name__}"
    elif other := [key for key, each in tensors.items() if not (isinstance(key, str) and isinstance(each, Tensor))]:
        problem = f"{other[0]!r:.60} is of type {type(tensors[other[0]]).__name__}"
    else:
        return
    raise LgbenchError(
        f"The tensors of the hook {name} cannot be saved: {problem}. Its `tensors` must return a dictionary from names "
        "to tensors; anything else belongs into `state`."
    )
