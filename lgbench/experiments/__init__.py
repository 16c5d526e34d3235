"""Experiments as values: which runs there are, how one is finished, and how all of them are reported.

`base` says what an experiment is, `launching` runs one through an executor of `executors`, and every other module here
holds one experiment. A user's own is a class in a file: `lgbench run my_study.py:Study` (docs/experiments.md).

Importing this package loads neither NumPy nor pydantic nor PyTorch, so that `--help` stays fast.
"""

from lgbench.experiments.base import ArmExperiment, Experiment, Option, Report, Run
from lgbench.util.tables import Table

__all__ = ["ArmExperiment", "Experiment", "Option", "Report", "Run", "Table"]
