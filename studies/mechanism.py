"""How alike are the tasks inside the models of `reference-tuned`? Measures them; studies/README.md has the question.

`python -m studies.mechanism RUNS`, where RUNS is the folder of `lgbench reproduce --preset tuned`. Rerun to resume.
With `--kept KEPT` it follows runs over training, from a folder of runs that kept their weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.analysis.opening import Opened

RECORDS = Path(__file__).parent / "records" / "mechanism"
GROUPS = ("copy-mqar", "capitalize-reverse")
SEEDS = range(5)
KEPT = (("transfer", 0), ("control", 0))
"""Arms and seeds that are followed over training."""
LEARNED = 8
"""The length of the head maps: the longest to which every task of every arm was trained."""


def distances(opened: Opened, *, examples: int = 256) -> pd.DataFrame:
    """The paper's two measures between the main task and each other one."""
    from lgbench.analysis import analyze_heads

    record = analyze_heads(opened, lengths=[LEARNED], ablations=["mean", "resample"], examples=examples)
    found = record.distances()
    return found[found["first"] == record.group.main].drop(columns=["first", "length"])


def sources(opened: Opened, *, examples: int = 128) -> pd.DataFrame:
    """How much each task's best head attends to the source, up to the main task's training length and beyond it."""
    import pandas as pd

    from lgbench.analysis import analyze_attention

    record = analyze_attention(opened, lengths=[LEARNED, 12, 16], examples=examples)
    rows: list[dict[str, Any]] = []
    for each in record.shares:
        layer, head = record.best(each.task)
        known = {"task": each.task, "length": each.length, "layer": layer, "head": head}
        for part, bounds in {"inside": {"inside": LEARNED}, "beyond": {"beyond": LEARNED}}.items():
            share, uniform = each.mean((layer, head), **bounds), each.mean_uniform(**bounds)
            if share is not None:
                rows.append({**known, "positions": part, "share": share, "uniform": uniform})
    return pd.DataFrame(rows)


def reuse(opened: Opened, *, examples: int = 128) -> pd.DataFrame:
    """Tests 1 to 4 of `lgbench analyze reuse`."""
    from lgbench.analysis import analyze_reuse

    return analyze_reuse(opened, examples=examples).frame()


def confidence(opened: Opened, *, examples: int = 128) -> pd.DataFrame:
    """The main task's accuracy and confidence by zone, and how well confidence tells its right replies from wrong ones.

    `auroc` is the mean over the cells of the zone in which 5 to 95 % are right, `cells` their number.
    """
    from lgbench.analysis import analyze_confidence

    main = next(iter(opened.source.tasks))
    record = analyze_confidence(opened, tasks=[main], examples=examples, resamples=200)
    zones = record.answers("calibration")
    zones = zones[~zones["tempered"]][["zone", "examples", "accuracy", "confidence", "ece"]]
    cells = [each for each in record.selection if each.score == "sum_logprob"]
    by_zone = {
        zone: [each.auroc.value for each in cells if record.zone(main, each.length) == zone] for zone in zones["zone"]
    }
    zones["auroc"] = [sum(found) / len(found) if (found := by_zone[zone]) else None for zone in zones["zone"]]
    zones["cells"] = [len(by_zone[zone]) for zone in zones["zone"]]
    return zones


MEASURES: Mapping[str, tuple[Callable[..., pd.DataFrame], tuple[str, ...]]] = {
    "distances": (distances, ("transfer", "short_aux", "control")),
    "sources": (sources, ("transfer", "short_aux", "control", "main_only")),
    "reuse": (reuse, ("transfer", "short_aux", "control")),
    "confidence": (confidence, ("transfer", "main_only")),
}
"""What is measured, and in which arms."""


def measure(runs: Path, records: Path = RECORDS, **options: Any) -> None:
    """Measure every run that is not measured yet, and keep the tables in `records`, one row for each number.

    Raises:
        LgbenchError: A run is missing or damaged.
    """
    from lgbench.analysis import open_model

    for name, (of_model, arms) in MEASURES.items():

        def measured(folder: str, of_model: Callable[..., pd.DataFrame] = of_model) -> pd.DataFrame:
            return of_model(open_model(str(runs / folder)), **options)

        _keep(
            records / f"{name}.csv",
            [(group, arm, seed) for group in GROUPS for arm in arms for seed in SEEDS],
            measured,
        )


def follow(kept: Path, records: Path = RECORDS, **options: Any) -> None:
    """Follow the runs of `KEPT` over training, likewise.

    Raises:
        LgbenchError: A run is missing or damaged, or kept no weights.
    """
    from lgbench.analysis import analyze_points

    keys = [(group, arm, seed) for arm, seed in KEPT for group in GROUPS]
    _keep(records / "points.csv", keys, lambda folder: analyze_points(kept / folder, **options).frame())


def _keep(path: Path, keys: Sequence[tuple[str, str, int]], measured: Callable[[str], pd.DataFrame]) -> None:
    """Add the rows of the runs that a table does not have yet, saving it after each."""
    import pandas as pd

    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.read_csv(path) if path.exists() else pd.DataFrame({"group": [], "arm": [], "seed": []})
    done = set(zip(table["group"], table["arm"], table["seed"], strict=True))
    for group, arm, seed in keys:
        if (group, arm, seed) in done:
            continue
        print(f"{path.stem}: {group} {arm} seed {seed}", flush=True)
        found = measured(f"{group}-{arm}-seed{seed}").assign(group=group, arm=arm, seed=seed)
        found = found[["group", "arm", "seed", *found.columns.difference(["group", "arm", "seed"], sort=False)]]
        table = pd.concat([table, found], ignore_index=True) if len(table) else found
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="?", help="folder of the finished runs")
    parser.add_argument("--kept", type=Path, help="folder of runs that kept their weights")
    given = parser.parse_args()
    if given.runs is None and given.kept is None:
        parser.error("name a folder of runs, --kept or both")
    if given.runs is not None:
        measure(given.runs)
    if given.kept is not None:
        follow(given.kept)


if __name__ == "__main__":
    main()
