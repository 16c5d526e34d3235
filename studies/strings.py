"""Which settings learn the string groups soonest? A tuning study, registered before it ran: studies/README.md.

Eight trials are drawn at random from `CHOICES`; four are set by hand: the preset `mini` with fewer steps, two changes
of it that pilots suggested, and Muon. The time of a run is that of 800 steps of `mini`, about a quarter of its 3,000.
`steps` is what fits into it: the steps of each trial were timed in turn with those of `mini`, on one thread.
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
    "layers": ("2", "3", "4"),
    "initial_std": ("0.02", "0.04"),
    "weight_decay": ("0.01", "0.1"),
}
"""Of each setting; `draw("strings", number, CHOICES)` gives the changes of the trial drawn-NUMBER."""


class Strings(TuningStudy):
    """Choose the settings of strings by successive halving."""

    domain: ClassVar[str] = "strings"
    trains: ClassVar = (
        ("copy-mqar", "main_only"),
        ("copy-mqar", "transfer"),
        ("capitalize-reverse", "main_only"),
        ("capitalize-reverse", "transfer"),
    )
    seeds: ClassVar = (200, 201)
    rungs: ClassVar = (
        Rung(percent=30, seeds=1, keep=3),
        Rung(percent=100, seeds=1, keep=2),
        Rung(percent=100, seeds=2, keep=1),
    )
    trials: ClassVar = (
        Trial.of("mini", 800),
        Trial.of("rate", 800, "learning_rate=3e-3"),
        Trial.of("two-heads", 920, "learning_rate=3e-3 heads=2 head_size=32"),
        Trial.of("muon", 160, "optimizer=muon matrix_learning_rate=0.02 learning_rate=3e-3"),
        Trial.of(
            "drawn-0",
            1250,
            "learning_rate=2e-3 warmup=0.05 batch=64 heads=4 head_size=32 layers=2 initial_std=0.02 weight_decay=0.01",
        ),
        Trial.of(
            "drawn-1",
            640,
            "learning_rate=1e-3 warmup=0.1 batch=128 heads=2 head_size=32 layers=2 initial_std=0.04 weight_decay=0.1",
        ),
        Trial.of(
            "drawn-2",
            800,
            "learning_rate=5e-3 warmup=0.05 batch=64 heads=1 head_size=64 layers=4 initial_std=0.04 weight_decay=0.01",
        ),
        Trial.of(
            "drawn-3",
            350,
            "learning_rate=3e-3 warmup=0.2 batch=128 heads=4 head_size=32 layers=3 initial_std=0.02 weight_decay=0.1",
        ),
        Trial.of(
            "drawn-4",
            290,
            "learning_rate=1e-3 warmup=0.05 batch=128 heads=2 head_size=64 layers=4 initial_std=0.04 weight_decay=0.1",
        ),
        Trial.of(
            "drawn-5",
            280,
            "learning_rate=2e-3 warmup=0.05 batch=128 heads=4 head_size=32 layers=4 initial_std=0.04 weight_decay=0.1",
        ),
        Trial.of(
            "drawn-6",
            2580,
            "learning_rate=2e-3 warmup=0.1 batch=32 heads=1 head_size=64 layers=2 initial_std=0.04 weight_decay=0.01",
        ),
        Trial.of(
            "drawn-7",
            2290,
            "learning_rate=3e-3 warmup=0.1 batch=32 heads=4 head_size=32 layers=2 initial_std=0.04 weight_decay=0.01",
        ),
    )
