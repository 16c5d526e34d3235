"""The benchmark for length generalization transfer.

Does a model that learned a task on short inputs solve longer ones because a related task was trained on longer
inputs? The command line is `lgbench`; this is the same from Python:

    result = lgbench.evaluate(MyModel(), suite="mini-v1")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lgbench.version import __version__

if TYPE_CHECKING:
    from lgbench.drafts import open_suite
    from lgbench.errors import LgbenchError, ModelError
    from lgbench.evaluation import evaluate
    from lgbench.models.contract import CappedReply, Predictor
    from lgbench.models.loaded import Model
    from lgbench.models.loading import load_model
    from lgbench.rescoring import Rescored, rescore
    from lgbench.results import Result
    from lgbench.running.loop import Progress
    from lgbench.suites import Suite, load_suite
    from lgbench.task import Example
    from lgbench.training_data import training_stream

__all__ = [
    "CappedReply",
    "Example",
    "LgbenchError",
    "Model",
    "ModelError",
    "Predictor",
    "Progress",
    "Rescored",
    "Result",
    "Suite",
    "__version__",
    "evaluate",
    "load_model",
    "load_suite",
    "open_suite",
    "rescore",
    "training_stream",
]

# Names are imported on first use, so that `lgbench --help` does not wait for NumPy and pydantic.
_HOMES = {
    "CappedReply": "lgbench.models.contract",
    "Example": "lgbench.task",
    "LgbenchError": "lgbench.errors",
    "Model": "lgbench.models.loaded",
    "ModelError": "lgbench.errors",
    "Predictor": "lgbench.models.contract",
    "Progress": "lgbench.running.loop",
    "Rescored": "lgbench.rescoring",
    "Result": "lgbench.results",
    "Suite": "lgbench.suites",
    "evaluate": "lgbench.evaluation",
    "load_model": "lgbench.models.loading",
    "load_suite": "lgbench.suites",
    "open_suite": "lgbench.drafts",
    "rescore": "lgbench.rescoring",
    "training_stream": "lgbench.training_data",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lgbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
