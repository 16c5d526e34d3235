"""Which settings learn the string groups soonest, under every arm? The second tuning study, registered before it ran.

What it does otherwise than `strings.py`, and why, is in studies/README.md: every trial gets the full time of a preset,
about a third of the preset `mini`'s, and trains all four arms; rates are lower for small batches; most trials let the
rate fall from the end of the warm-up on. Six trials, all set by hand after what the first study showed.
"""

from typing import ClassVar

from lgbench.experiments.halving import Rung, Trial
from lgbench.experiments.tune import TuningStudy


class Strings(TuningStudy):
    """Choose the settings of strings by successive halving over four arms."""

    domain: ClassVar[str] = "strings"
    trains: ClassVar = tuple(
        (group, arm)
        for group in ("copy-mqar", "capitalize-reverse")
        for arm in ("main_only", "transfer", "control", "short_aux")
    )
    seeds: ClassVar = (202,)
    rungs: ClassVar = (
        Rung(percent=40, seeds=1, keep=2),
        Rung(percent=100, seeds=1, keep=1),
    )
    trials: ClassVar = (
        Trial.of("two-layers", 2300, "layers=2 learning_rate=2e-3"),
        Trial.of("linear", 2300, "layers=2 learning_rate=2e-3 schedule=linear"),
        Trial.of("higher", 2300, "layers=2 learning_rate=3e-3 schedule=linear warmup=0.1 initial_std=0.04"),
        Trial.of(
            "small-batch", 4200, "layers=2 batch=32 learning_rate=1.5e-3 schedule=linear warmup=0.1 initial_std=0.04"
        ),
        Trial.of("two-heads", 2600, "layers=2 heads=2 head_size=32 learning_rate=2e-3 schedule=linear"),
        Trial.of("three-layers", 1700, "heads=2 head_size=32 learning_rate=2e-3 schedule=linear"),
    )
