"""The tables and the picture of docs/finding-methods.md, from the runs of studies/methods.py.

They are among the submissions where their system was submitted, and in studies/records/methods/ otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import cache
from itertools import product, starmap
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from lgbench.experiments.contrasts import Key, outcome_of
from lgbench.experiments.effects import Effect, Outcome, lowest_auxiliary
from lgbench.results.schema import Result
from lgbench.scoring.styles import ARM_STYLES
from lgbench.training.points import steps_to
from lgbench.training.record import TrainingRecord, read_training_record
from lgbench.util.records import read_record
from studies.methods import ARMS, SYSTEMS, Methods
from tests.findings.rows import ROOT, effect_cells, row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = ROOT / "docs" / "finding-methods.md"
PICTURE = ROOT / "docs" / "methods.svg"
LEARNED = Fraction(95, 100)
"""Of the main task's dev examples in distribution, as the source of procedural pretraining counts its steps."""


def tables() -> dict[str, list[str]]:
    """The lines of each generated part of the page, by its name."""
    return {
        "claims": [_claim_row(effect) for effect in effects()],
        "systems": list(_system_rows()),
        "costs": list(_cost_rows()),
        "labels": list(_label_rows()),
        "trits": list(_trit_rows()),
        "shares": list(_share_rows()),
    }


def folder_of(system: str, group: str, arm: str, seed: int) -> Path:
    """Where a run of the study is, if it is there."""
    submitted = ROOT / "submissions" / ("reference-tuned" if system == "plain" else f"tuned-{system}")
    if submitted.is_dir():
        return submitted / f"mini-v1-{group}-{arm}-seed{seed}"
    return ROOT / "studies" / "records" / "methods" / system / f"{group}-{arm}-seed{seed}"


def result_of(folder: Path) -> Result | None:
    """The result of a run; None where it stopped before its end."""
    files = [each for each in (folder / "result.json", folder / "result" / "result.json") if each.is_file()]
    return read_record(files[0], Result) if files else None


@cache
def runs() -> Mapping[Key, Mapping[int, tuple[TrainingRecord, Result | None]]]:
    """Record and result of each run by seed, in the order of the page."""
    found: dict[Key, dict[int, tuple[TrainingRecord, Result | None]]] = {}
    for key in starmap(Key, product(Methods.groups, SYSTEMS, ARMS)):
        for seed in Methods.seeds:
            folder = folder_of(key.condition, key.group, key.arm, seed)
            if folder.is_dir():
                found.setdefault(key, {})[seed] = (read_training_record(folder), result_of(folder))
    return found


@cache
def outcomes() -> Mapping[Key, Mapping[int, Outcome]]:
    """What the runs that came to their end have learned, by seed."""
    found: dict[Key, dict[int, Outcome]] = {}
    for key, seeds in runs().items():
        for seed, (record, result) in seeds.items():
            if result is not None:
                found.setdefault(key, {})[seed] = outcome_of(result, record)
    return found


def effects() -> list[Effect]:
    """The registered tests whose runs are all there."""
    return Methods().effects(outcomes())


def _claim_row(effect: Effect) -> str:
    contrast = effect.contrast
    claim = f"`{contrast.higher}` over `{contrast.lower}`"
    return row(claim, f"`{contrast.arm}`", f"`{effect.group}`", *effect_cells(effect))


def _system_rows() -> Iterator[str]:
    for key, seeds in outcomes().items():
        each = list(seeds.values())
        auxiliaries = lowest_auxiliary(each)
        beyond = [one.beyond for one in each if one.beyond is not None]
        yield row(
            f"`{key.group}`",
            f"`{key.condition}`",
            f"`{key.arm}`",
            _percent([one.in_distribution for one in each]),
            _percent(auxiliaries) if auxiliaries else "-",
            _percent([one.transfer for one in each]),
            ", ".join(f"{100 * float(one.transfer):.0f}" for one in each),
            _percent(beyond),
        )


def _cost_rows() -> Iterator[str]:
    for key, seeds in runs().items():
        if key.arm == "control":
            continue
        found = [record for record, _ in seeds.values()]
        steps = [steps_to(each, LEARNED) for each in found]
        reached = ", ".join("never" if step is None else f"{step:,}" for step in steps)
        extras = [each.extra_cost for each in found if each.extra_cost is not None]
        more = (_span(each.steps for each in extras), _span(each.tokens for each in extras))
        spans = (_span(each.steps_done for each in found), _span(each.tokens for each in found))
        yield row(f"`{key.group}`", f"`{key.condition}`", f"`{key.arm}`", reached, *spans, *more)


def _span(counts: Iterable[int]) -> str:
    """The least and the greatest, which are one number unless some runs stopped before others."""
    each = set(counts)
    return " to ".join(f"{count:,}" for count in sorted({min(each), max(each)})) if each else "-"


def _measured(key: Key) -> list[dict[int, dict[str, float]]]:
    """What each seed's method measured, by step."""
    found = []
    for record, _ in runs().get(key, {}).values():
        by_step: dict[int, dict[str, float]] = {}
        for each in record.measures or ():
            by_step.setdefault(each.step, {}).update(each.values)
        found.append(by_step)
    return found


def _label_rows() -> Iterator[str]:
    """Accuracy of the labels of each round, in %, the mean over the runs that reached it."""
    for group in Methods.groups:
        rounds: dict[int, list[float]] = {}
        for seed in _measured(Key(group, "self-improvement", "main_only")):
            for values in seed.values():
                if "labels/length" in values:
                    rounds.setdefault(int(values["labels/length"]), []).append(values["labels/right"])
        for length, right in sorted(rounds.items()):
            yield row(f"`{group}`", length, len(right), _percent(right))


def _trit_rows() -> Iterator[str]:
    """The mean over matrices and seeds: zeros and dead outputs at the end, flips between the last two points."""
    for group in Methods.groups:
        for arm in ARMS:
            ends = [seed[max(seed)] for seed in _measured(Key(group, "ternary", arm)) if seed]
            if ends:
                kinds = ("zeros", "flips", "dead")
                shown = [
                    f"{100 * mean(value for end in ends for name, value in end.items() if name.startswith(kind)):.1f}"
                    for kind in kinds
                ]
                yield row(f"`{group}`", f"`{arm}`", *shown)


def _share_rows() -> Iterator[str]:
    """The share of each task in R&B's draws, in %: the mean over seeds of the first and of the last ten rounds."""
    for group in Methods.groups:
        for arm in ARMS:
            seeds = _measured(Key(group, "rnb", arm))
            parts = [_by_task(seed) for seed in seeds]
            for task in parts[0][0] if parts and len(parts[0][0]) > 1 else ():
                first = mean(each[task] for rounds in parts for each in rounds[:10])
                last = mean(each[task] for rounds in parts for each in rounds[-10:])
                yield row(f"`{group}`", f"`{arm}`", f"`{task}`", f"{100 * first:.0f}", f"{100 * last:.0f}")


def _by_task(seed: Mapping[int, Mapping[str, float]]) -> list[dict[str, float]]:
    """The shares of each round, summed over the domains of a task."""
    found = []
    for _, values in sorted(seed.items()):
        shares: dict[str, float] = {}
        for name, share in values.items():
            if name.startswith("share/"):
                task = name.removeprefix("share/").partition(" ")[0]
                shares[task] = shares.get(task, 0.0) + share
        if shares:
            found.append(shares)
    return found


def _percent(shares: Sequence[Fraction | float]) -> str:
    return f"{100 * mean(map(float, shares)):.1f}" if shares else "-"


def figure() -> Figure:
    """The transfer zone's accuracy of every seed under each arm."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from lgbench.plotting.canvas import STYLE

    colors = {arm: ARM_STYLES[arm][0] for arm in ARMS}
    shown = [name for name in SYSTEMS if any(key.condition == name for key in outcomes())]
    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(7.2, 4.6), layout="constrained")
        for axes, group in zip(drawn.subplots(2, 1, sharex=True, sharey=True), Methods.groups, strict=True):
            for place, system in enumerate(shown):
                for side, (arm, color) in zip((-0.27, 0.0, 0.27), colors.items(), strict=True):
                    seeds = outcomes().get(Key(group, system, arm), {})
                    found = [100 * float(each.transfer) for each in seeds.values()]
                    if found:
                        across = [place + side + 0.035 * (seed - 2) for seed in seeds]
                        axes.plot(across, found, "o", color=color, markersize=4, alpha=0.8, clip_on=False)
                        axes.plot([place + side - 0.11, place + side + 0.11], [mean(found)] * 2, color=color)
            axes.set_title(group, fontsize=9)
            axes.set_ylim(0, 100)
            axes.set_ylabel("transfer zone, % right")
        drawn.axes[1].set_xticks(range(len(shown)), [name.replace("-", "\n") for name in shown])
        marks = [mpl.lines.Line2D([], [], marker="o", color=color, label=arm) for arm, color in colors.items()]
        drawn.legend(handles=marks, loc="outside upper right", ncols=len(marks), fontsize=8)
    return drawn
