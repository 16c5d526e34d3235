"""Layer 5: the pictures of the paper, from results and training records. The same input gives the same bytes."""

from __future__ import annotations

import io
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lgbench.errors import LgbenchError
from lgbench.files import write_atomically
from lgbench.looks import ARM_LOOKS, ZONE_SHADES
from lgbench.results import Result
from lgbench.scoring.comparison import serving
from lgbench.scoring.curves import axis_ends, curve, zone_spans
from lgbench.scoring.measures import counts_by_task
from lgbench.series import by_step
from lgbench.suites import TRAINED_ARMS, ZONES, Group, Suite, Zone, load_suite
from lgbench.training.plans import difference
from lgbench.training.points import dev_gap, zone_accuracies
from lgbench.training.record import TrainingRecord

ZONE_COLORS: Mapping[Zone, str] = {"in_distribution": "#1b9e77", "transfer": "#1f77b4", "beyond": "#d95f02"}
# No creation date, no version of the program that wrote it.
_METADATA: Mapping[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lgbench",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.spines.right": False,
}
_STYLE |= {"axes.spines.top": False, "legend.frameon": False, "font.family": "DejaVu Sans"}


def picture(figure: Figure, kind: str) -> bytes:
    """A figure as the content of an `svg`, `png` or `pdf` file.

    Raises:
        LgbenchError: It is none of these.
    """
    if kind not in _METADATA:
        raise LgbenchError(f"No picture can be written as {kind!r}. Name a file that ends in .svg, .png or .pdf.")
    content = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure.savefig(content, format=kind, dpi=150, metadata=_METADATA[kind])
    return content.getvalue()


def length_curves(results: Sequence[Result]) -> Figure:
    """Accuracy of the main task by length, a panel for each group: each seed thin, the mean of an arm bold.

    The zones are shaded; dashed lines stand at the training lengths: Figures 3 to 8 of the paper.

    Args:
        results: Of trained arms of one suite.

    Raises:
        LgbenchError: There is none, they are of several suites, or two are of the same arm, group and seed.
    """
    suites = {result.suite for result in results if result.group is not None}
    if len(suites) != 1:
        raise LgbenchError("Curves need results of trained arms, all of one suite. Name folders of such results.")
    _refuse_twice((f"arm {each.arm!r} of group {each.group!r}", each.seed) for each in results)
    suite = load_suite(suites.pop())
    named = {result.group for result in results}
    groups = [group for group in suite.groups if group.name in named]
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(groups))
        for group, axes in zip(groups, panels, strict=True):
            _draw_lengths(axes, suite, group, results)
    return figure


def _refuse_twice(runs: Iterable[tuple[str, int | None]]) -> None:
    """Refuse two runs that are of the same, in words, with the same seed."""
    if repeated := [run for run, count in Counter(runs).items() if count > 1]:
        what, seed = repeated[0]
        raise LgbenchError(
            f"Two runs are of {what} with seed {seed}: a picture is of one system, which has one run of each seed. "
            "Name fewer folders."
        )


def _panels(count: int) -> tuple[Figure, list[Axes]]:
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for spare in grid.flat[count:]:
        spare.remove()
    return figure, list(grid.flat[:count])


def _draw_lengths(axes: Axes, suite: Suite, group: Group, results: Sequence[Result]) -> None:
    _shade_zones(axes, group)
    for arm in TRAINED_ARMS:
        own = serving(results, suite, arm, group)
        if not own:
            continue
        shown = curve(arm, own, group.main, group.grid)
        color, dashes = ARM_LOOKS[arm]
        look: dict[str, Any] = {"color": color, "linestyle": (0, dashes) if dashes else "-"}
        for seed in shown.seeds if len(shown.seeds) > 1 else []:
            axes.plot(group.grid, [float(100 * share) for share in seed], **look, linewidth=0.6, alpha=0.6)
        mean = [float(100 * share) for share in shown.mean]
        axes.plot(group.grid, mean, **look, linewidth=2.0, marker="o", markersize=3, label=shown.label)
    title = f"{group.name}: {group.main}"
    axes.set(title=title, xlabel="length", ylabel="exact match in %", ylim=(-3, 113))
    axes.set_xticks(group.grid)
    axes.set_yticks(range(0, 101, 20))
    _legend(axes, columns=2)


def _legend(axes: Axes, *, columns: int, title: str | None = None) -> None:
    """Below the panel, where no curve can be."""
    axes.legend(
        title=title, fontsize=7, title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns
    )


def _shade_zones(axes: Axes, group: Group) -> None:
    for zone, left, right in zone_spans(group):
        axes.axvspan(left, right, color=ZONE_SHADES[zone], linewidth=0)
        look: dict[str, Any] = {"fontsize": 7, "color": "#555555", "ha": "center", "va": "top"}
        across = axes.get_xaxis_transform()  # the height as a share of the panel's
        axes.text((left + right) / 2, 0.985, zone.replace("_", "-"), transform=across, **look)
    for length, label in ((group.main_length, "training lengths"), (group.aux_length, None)):
        axes.axvline(length, color="#555555", linewidth=0.8, linestyle="--", label=label)
    axes.set_xlim(*axis_ends(group.grid))


def training_curves(records: Sequence[TrainingRecord]) -> Figure:
    """Dev accuracy of the main task by zone over the steps, a panel for each arm of each group, as in Figure 11.

    Raises:
        LgbenchError: A record has no points, or two are of the same arm, group and seed.
    """
    if not records or not all(record.curve for record in records):
        raise LgbenchError("A training curve needs runs of `lgbench train` that have reached their first point.")
    plans = [record.plan for record in records]
    _refuse_twice((f"arm {plan.arm!r} of group {plan.group!r} in {plan.suite}", plan.seed) for plan in plans)
    ordered = sorted(records, key=lambda record: TRAINED_ARMS.index(record.plan.arm))
    arms = list(dict.fromkeys((record.plan.suite, record.plan.group, record.plan.arm) for record in ordered))
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(arms))
        for (suite, group, arm), axes in zip(arms, panels, strict=True):
            own = [each for each in records if (each.plan.suite, each.plan.group, each.plan.arm) == (suite, group, arm)]
            _draw_training(axes, load_suite(suite).group(group), own)
            axes.set_title(f"{group}, {arm}: {load_suite(suite).group(group).main}")
    return figure


def _draw_training(axes: Axes, group: Group, records: Sequence[TrainingRecord]) -> None:
    for zone in ZONES:
        if not group.zone_lengths(zone):
            continue
        for number, record in enumerate(records):
            steps = [point.step for point in record.curve]
            shares = [float(100 * (zone_accuracies(group, point)[zone] or 0)) for point in record.curve]
            label = zone.replace("_", "-") if number == 0 else None
            # Where both are 0, as they are without transfer, both are seen.
            style: Any = (0, (2, 2)) if zone == "beyond" else "-"
            axes.plot(steps, shares, color=ZONE_COLORS[zone], linestyle=style, linewidth=1.2, alpha=0.8, label=label)
    axes.set(xlabel="step", ylabel="dev exact match in %", ylim=(-3, 103))
    _legend(axes, columns=3)


def series_curves(results: Sequence[Result]) -> Figure:
    """Accuracy by pretraining step, a panel for each task and a line for each length: Figure 9 of the paper.

    Args:
        results: Of one series of checkpoints, with the same cells.

    Raises:
        LgbenchError: A result names no step, or the cells differ.
    """
    counts = {step: counts_by_task(result) for step, result in by_step(results).items()}
    first, *others = counts.values()
    if any(
        {task: list(lengths) for task, lengths in each.items()} != {t: list(n) for t, n in first.items()}
        for each in others
    ):
        raise LgbenchError("The results of a series must hold the same cells.")
    with mpl.rc_context(_STYLE):
        figure, panels = _panels(len(first))
        for task, axes in zip(first, panels, strict=True):
            shades = mpl.colormaps["viridis_r"].resampled(max(len(first[task]), 2))
            for number, length in enumerate(first[task]):
                cells = [each[task][length] for each in counts.values()]
                values = [100 * cell.correct / cell.total for cell in cells]
                axes.plot(list(counts), values, color=shades(number), marker="o", markersize=3, label=str(length))
            axes.set(title=task, xlabel="pretraining step", ylabel="exact match in %", ylim=(-3, 103))
            _legend(axes, columns=5, title="length")
    return figure


def gap_map(records: Sequence[TrainingRecord]) -> Figure:
    """The generalization gap by training lengths, mean over seeds: auxiliary length across, main length upwards.

    Args:
        records: The finished runs of one sweep.

    Raises:
        LgbenchError: They are of several sweeps, or two are of the same lengths and seed.
    """
    gaps = [dev_gap(record) for record in records]
    of_all = [record.plan.model_copy(update={"parts": (), "seed": 0}) for record in records]
    for plan in of_all[1:]:
        if (differs := difference(of_all[0], plan)) is not None:
            raise LgbenchError(f"A map of gaps is of one sweep, and these runs are not: {differs}. Name fewer folders.")
    pairs = zip(gaps, records, strict=True)
    _refuse_twice((f"lengths {gap.main_length} and {gap.aux_length}", record.plan.seed) for gap, record in pairs)
    mains = sorted({each.main_length for each in gaps})
    auxes = sorted({each.aux_length for each in gaps})
    with mpl.rc_context(_STYLE):
        figure = Figure(
            figsize=(max(3.4, 1.6 + 0.7 * len(auxes)), max(2.2, 1.2 + 0.6 * len(mains))), layout="constrained"
        )
        axes = figure.subplots()
        for row, main in enumerate(mains):
            for column, aux in enumerate(auxes):
                values = [each.gap for each in gaps if (each.main_length, each.aux_length) == (main, aux)]
                if values:
                    mean = float(statistics.mean(values))
                    axes.add_patch(_square(column, row, mean))
                    axes.text(
                        column, row, f"{mean:.2f}", ha="center", va="center", color="white" if mean > 0.5 else "black"
                    )
        axes.set(xlim=(-0.5, len(auxes) - 0.5), ylim=(-0.5, len(mains) - 0.5))
        axes.set_xticks(range(len(auxes)), [str(each) for each in auxes])
        axes.set_yticks(range(len(mains)), [str(each) for each in mains])
        axes.set(
            xlabel="auxiliary trained to",
            ylabel="main task trained to",
            title=f"{records[0].plan.group}: generalization gap",
        )
    return figure


def _square(column: int, row: int, share: float) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, color=mpl.colormaps["Blues"](0.1 + 0.8 * share))


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the name's ending says as what.

    Raises:
        LgbenchError: The ending is none of .svg, .png, .pdf, or the file cannot be written.
    """
    content = picture(figure, path.suffix.removeprefix(".").lower())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise LgbenchError(f"Cannot write {str(path)!r}: {error.strerror or error}.") from error
