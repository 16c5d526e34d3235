"""A user's experiment is found by name, and a mistyped name in it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgbench.experiments.loading import load_experiment
from lgbench.util.errors import LgbenchError

_STUDY = """
from dataclasses import dataclass

from lgbench.experiments import ArmExperiment


@dataclass(frozen=True, kw_only=True)
class Study(ArmExperiment):
    {}

    def runs(self, root, device):
        return []

    def report(self, runs):
        return None
"""


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ("def note(self): return []", "notes"),
        ("def finnish(self, run, device, monitor): pass", "finish"),
        ("takes_hook = False", "takes_hooks"),
    ],
)
def test_a_mistyped_name_of_an_experiment_is_refused(body: str, meant: str, tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(_STUDY.format(body), "utf-8")
    with pytest.raises(LgbenchError, match=rf"The experiment Study defines .* Did you mean '{meant}'\?"):
        load_experiment(f"{tmp_path / 'study.py'}:Study")


def test_options_and_names_of_its_own_are_the_users(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(_STUDY.format("note: str = ''\n    def best(self): pass"), "utf-8")
    assert load_experiment(f"{tmp_path / 'study.py'}:Study").__name__ == "Study"
