"""Which settings learn the groups of addition soonest? A tuning study, registered before it ran: studies/README.md.

Five trials are drawn at random from `CHOICES`; three are set by hand: the preset `mini` with fewer steps, and two
changes of it. The time of a run is that of 2,000 steps of `mini`; `steps` is what fits into it, as in strings.py.
"""

from collections.abc import Mapping
from typing import ClassVar

from lgbench.experiments.halving import Rung, Trial
from lgbench.experiments.tune import TuningStudy

CHOICES: Mapping[str, tuple[str, ...]] = {
    "learning_rate": ("1e-3", "2e-3", "3e-3", "5e-3"),
    "warmup": ("0.05", "0.1", "0.2"),
    "batch": ("32", "64", "128"),
    "heads": ("heads=2 head_size=32", "heads=4 head_size=32", "heads=2 head_size=64", "heads=1 head_size=64"),
    "layers": ("3", "4", "6"),
    "initial_std": ("0.02", "0.04", "0.06"),
    "weight_decay": ("0.01", "0.1"),
}
"""Of each setting; `draw("addition", number, CHOICES)` gives the changes of the trial drawn-NUMBER."""


class Addition(TuningStudy):
    """Choose the settings of addition by successive halving.

    `main_only` of `add-subtract` is that of `add-carry`. `add-multiply` is left out, for its time.
    """

    domain: ClassVar[str] = "arithmetic"
    trains: ClassVar = (
        ("add-carry", "main_only"),
        ("add-carry", "transfer"),
        ("add-subtract", "transfer"),
    )
    seeds: ClassVar = (200, 201)
    rungs: ClassVar = (
        Rung(percent=30, seeds=1, keep=3),
        Rung(percent=100, seeds=1, keep=2),
        Rung(percent=100, seeds=2, keep=1),
    )
    trials: ClassVar = (
        Trial.of("mini", 2000),
        Trial.of("rate", 2000, "learning_rate=3e-3 warmup=0.1"),
        Trial.of("two-heads", 2500, "learning_rate=3e-3 heads=2 head_size=32"),
        Trial.of(
            "drawn-0",
            5260,
            "learning_rate=3e-3 warmup=0.1 batch=32 heads=1 head_size=64 layers=6 initial_std=0.04 weight_decay=0.01",
        ),
        Trial.of(
            "drawn-1",
            2380,
            "learning_rate=5e-3 warmup=0.05 batch=128 heads=1 head_size=64 layers=3 initial_std=0.06 weight_decay=0.01",
        ),
        Trial.of(
            "drawn-2",
            1440,
            "learning_rate=5e-3 warmup=0.1 batch=128 heads=2 head_size=32 layers=4 initial_std=0.06 weight_decay=0.01",
        ),
        Trial.of(
            "drawn-3",
            5260,
            "learning_rate=5e-3 warmup=0.05 batch=64 heads=1 head_size=64 layers=3 initial_std=0.06 weight_decay=0.1",
        ),
        Trial.of(
            "drawn-4",
            8000,
            "learning_rate=3e-3 warmup=0.1 batch=32 heads=2 head_size=64 layers=3 initial_std=0.02 weight_decay=0.1",
        ),
    )
