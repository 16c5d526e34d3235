"""Finding an experiment by name, here and in the processes that finish its runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from lgbench.experiments.base import Experiment, Run
from lgbench.experiments.monitor import Monitor
from lgbench.util.errors import LgbenchError
from lgbench.util.overriding import check_overrides

_OVERRIDDEN = (
    *("runs", "report", "finish", "build", "last_step", "prepare", "milestones", "notes", "title", "needs_output"),
    *("takes_hooks", "plans_again"),
)
"""What a subclass of `Experiment` may define."""


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An experiment and the place that another process can build it from.

    Attributes:
        experiment: The experiment with its options.
        reference: `package.module:attribute` or `file.py:attribute` of its class.
    """

    experiment: Experiment
    reference: str

    @classmethod
    def of(cls, experiment: Experiment) -> Loaded:
        """An experiment whose class can be imported by its module's name."""
        kind = type(experiment)
        return cls(experiment=experiment, reference=f"{kind.__module__}:{kind.__qualname__}")


def load_experiment(reference: str) -> type[Experiment]:
    """The class of an experiment: `file.py:attribute` or `package.module:attribute`.

    Raises:
        LgbenchError: There is none, or a name in its class is mistyped.
        ModelError: The user's file raised when it was imported.
    """
    from lgbench.util.users_code import load_named

    module, _, attribute = reference.partition(":")
    if module.startswith("lgbench.experiments."):
        found: Any = getattr(importlib.import_module(module), attribute)
    else:
        found = load_named(reference, what="experiment", valid="file.py:CLASS or package.module:CLASS")
    if not (isinstance(found, type) and issubclass(found, Experiment)):
        raise LgbenchError(
            f"{reference!r} is not an experiment: it must be a subclass of lgbench.experiments.Experiment."
        )
    ours = next(each for each in found.__mro__ if each.__module__.partition(".")[0] == "lgbench")
    check_overrides(found, ours, _OVERRIDDEN, what=f"The experiment {found.__name__}")
    return found


def finish_elsewhere(reference: str, options: Mapping[str, Any], run: Run, *, device: str, quiet: bool) -> None:
    """Finish a run in the process that an executor calls this in."""
    experiment = load_experiment(reference)(**options)
    experiment.prepare()
    with closing(Monitor(run.name, quiet=quiet)) as monitor:
        experiment.finish(run, device, monitor)
