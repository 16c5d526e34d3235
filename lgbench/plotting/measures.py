"""What methods measured while runs trained: a panel for each family of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.training.record import TrainingRecord
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

_MOST_LINES = 12
"""Of a panel with a legend: more lines are drawn without."""
_STYLES = ("-", "--", ":", "-.")
_LONGEST_LABEL = 60


def measure_curves(records: Sequence[TrainingRecord]) -> Figure:
    """The measures of runs by training step, a panel for each family, such as `share` of `share/reverse 1-5`.

    Of several runs, a family of one number has a panel with a line for each run. A family of more numbers has a panel
    for each run, with the same axes. A run is named by what distinguishes it: group, arm, method, seed or settings.

    Raises:
        LgbenchError: A record has no measures.
    """
    if not records or not all(record.measures for record in records):
        raise LgbenchError("A picture of measures needs runs whose method measured something.")
    runs = dict(zip(_run_names([record.plan for record in records]), records, strict=True))
    panels = [(family, own) for family in _families(records) for own in _drawn_together(family, runs)]
    with mpl.rc_context(STYLE):
        figure, all_axes = make_panels(len(panels))
        first: dict[str, Axes] = {}
        for ((family, *names), own), axes in zip(panels, all_axes, strict=True):
            if family in first:
                axes.sharex(first[family])
                axes.sharey(first[family])
            first.setdefault(family, axes)
            _draw(axes, names, own, by_run=len(names) == 1 and len(runs) > 1)
            title = f"{family}: {next(iter(own))}" if len(names) > 1 and len(runs) > 1 else family
            axes.set_title(plain(title, limit=_LONGEST_LABEL), parse_math=False)
            axes.set(xlabel="step")
    return figure


def _families(records: Sequence[TrainingRecord]) -> list[tuple[str, ...]]:
    """Each family of measures: its name, then those of its numbers."""
    families: dict[str, list[str]] = {}
    for name in dict.fromkeys(name for record in records for name in _measured(record)):
        families.setdefault(name.partition("/")[0], []).append(name)
    return [(family, *names) for family, names in families.items()]


def _measured(record: TrainingRecord) -> dict[str, None]:
    return dict.fromkeys(name for measured in record.measures for name in measured.values)


def _drawn_together(family: tuple[str, ...], runs: Mapping[str, TrainingRecord]) -> list[dict[str, TrainingRecord]]:
    """The runs of each panel of a family, without those that measured none of it."""
    names = family[1:]
    own = {run: record for run, record in runs.items() if _measured(record).keys() & set(names)}
    return [own] if len(names) == 1 else [{run: record} for run, record in own.items()]


def _draw(axes: Axes, names: Sequence[str], runs: Mapping[str, TrainingRecord], *, by_run: bool) -> None:
    lines = [(run, name) for run in runs for name in names]
    for number, (run, name) in enumerate(lines):
        points = [(each.step, each.values[name]) for each in runs[run].measures if name in each.values]
        if not points:
            continue
        axes.plot(
            [step for step, _ in points],
            [value for _, value in points],
            color=f"C{number % 10}",
            linestyle=_STYLES[number // 10 % len(_STYLES)],
            linewidth=1.2,
            marker="." if len(points) < 20 else "",
            label=_label(run if by_run else name.partition("/")[2] or name),
        )
    if len(lines) <= _MOST_LINES or by_run:
        legend(axes, columns=1 if by_run and len(lines) <= 6 else 2)


def _label(text: str) -> str:
    """A name of the user's: an underscore in front would hide it from the legend, and dollars would be mathematics."""
    shown = plain(text, limit=_LONGEST_LABEL).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def _run_names(plans: Sequence[RunSpec]) -> list[str]:
    """Each run by what distinguishes it from the others: by a number where nothing in its plan does."""
    methods = [(plan.method.name, plan.method.options) if plan.method else ("no method", {}) for plan in plans]
    parts = [
        [plan.suite for plan in plans],
        [plan.group for plan in plans],
        [plan.arm for plan in plans],
        _with_options(methods),
        _with_options([(f"model {plan.model}", plan.model_options) for plan in plans]),
        [f"seed {plan.seed}" for plan in plans],
    ]
    names = _joined(parts)
    if len(set(names)) < len(names):  # not before: methods change settings
        parts.append(_with_options([("", plan.settings.model_dump(mode="json")) for plan in plans]))
        names = _joined(parts)
    counts = Counter(names)
    return [
        f"{name} ({names[: place + 1].count(name)})" if counts[name] > 1 else name for place, name in enumerate(names)
    ]


def _joined(parts: Sequence[Sequence[str]]) -> list[str]:
    """For each run, those parts of its name that are not the same for all runs."""
    telling = [part for part in parts if len(set(part)) > 1] or [["run"] * len(parts[0])]
    return [", ".join(filter(None, of_run)) for of_run in zip(*telling, strict=True)]


def _with_options(named: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Each name, with those of its options that differ among the runs of this name."""
    texts = []
    for name, own in named:
        others = [options for other, options in named if other == name]
        differing = [f"{key}={value}" for key, value in own.items() if any(each.get(key) != value for each in others)]
        texts.append(" ".join(filter(None, [name, *differing])))
    return texts
