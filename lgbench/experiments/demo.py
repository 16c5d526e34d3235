"""The phenomenon in a minute: three bundled checkpoints, evaluated side by side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.loop import Progress
from lgbench.evaluation.rescoring import Rescored, rescore
from lgbench.models.loading import load_model
from lgbench.util.links import refuse_links

SUITE, GROUP, SEED = "mini-v1", "capitalize-reverse", 0
ARMS = ("main_only", "transfer", "control")


def run_demo(folder: Path, *, on_progress: Callable[[Progress], None] | None = None) -> list[Rescored]:
    """Evaluate the bundled checkpoints and leave a result for each arm in `folder`; take up what is there already.

    The checkpoints were trained by `lgbench reproduce` and rounded to bfloat16; the replies are those of the rounded
    weights.

    Raises:
        LgbenchError: The folder holds something else, or the extra `torch` is not installed.
    """
    refuse_links(folder, ARMS)
    runs = []
    for arm in ARMS:
        evaluate(
            load_model(f"tiny:{arm}"),
            suite=SUITE,
            arm=arm,
            group=GROUP,
            seed=SEED,
            output=folder / arm,
            resume=True,
            on_progress=on_progress,
        )
        runs.append(rescore(folder / arm))
    return runs
