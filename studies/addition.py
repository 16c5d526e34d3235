"""Which settings learn the groups of addition soonest? A tuning study, registered before it ran: studies/README.md.

It is made as `strings_second.py` is: every trial gets the full time of a preset, here half of the preset `mini`'s, and
trains all four arms. `steps` is what fits into that time: the steps of each trial were timed in turn with those of
`mini`, on one thread.
"""

from typing import ClassVar

from lgbench.experiments.halving import Rung, Trial
from lgbench.experiments.tune import TuningStudy


class Addition(TuningStudy):
    """Choose the settings of addition by successive halving over four arms.

    `main_only` of `add-subtract` is that of `add-carry`. Of `add-subtract` one arm is trained, as `mini` shows no
    transfer there; `add-multiply` is left out, for its time.
    """

    domain: ClassVar[str] = "arithmetic"
    trains: ClassVar = (
        ("add-carry", "main_only"),
        ("add-carry", "transfer"),
        ("add-carry", "control"),
        ("add-carry", "short_aux"),
        ("add-subtract", "transfer"),
    )
    seeds: ClassVar = (203,)
    rungs: ClassVar = (
        Rung(percent=40, seeds=1, keep=2),
        Rung(percent=100, seeds=1, keep=1),
    )
    trials: ClassVar = (
        Trial.of("mini", 3300),
        Trial.of("linear", 3300, "learning_rate=2e-3 schedule=linear warmup=0.1"),
        Trial.of("four-layers", 4600, "layers=4 learning_rate=2e-3 schedule=linear warmup=0.1"),
        Trial.of("two-heads", 5200, "layers=4 heads=2 head_size=32 learning_rate=2e-3 schedule=linear warmup=0.1"),
        Trial.of("three-layers", 6600, "layers=3 learning_rate=2e-3 schedule=linear warmup=0.1"),
        Trial.of(
            "small-batch", 8700, "layers=4 batch=32 learning_rate=1.5e-3 schedule=linear warmup=0.1 initial_std=0.04"
        ),
    )
