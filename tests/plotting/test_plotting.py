"""Pictures: what they show, and that the same input gives the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent import futures
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import matplotlib  # after the skip
from matplotlib.colors import to_hex

from lgbench import plotting
from lgbench.cli.plot import command as plot
from lgbench.data.suites import Cell, load_suite
from lgbench.experiments.base import Run
from lgbench.experiments.monitor import Monitor
from lgbench.experiments.sweep import Sweep
from lgbench.results.schema import Result, SystemInfo
from lgbench.scoring.styles import ZONE_SHADES
from lgbench.training.planned import PlannedMethod
from lgbench.training.points import Gap, dev_gap
from lgbench.training.record import CurvePoint, Machine, Measured, TrainingRecord, read_training_record
from lgbench.util.errors import LgbenchError
from tests.full_disk import full_disk
from tests.made_up import make_result

MINI = load_suite("mini-v1")
GROUP = MINI.group("copy-mqar")


def results() -> list[Result]:
    def right(to: int, seed: int) -> Callable[[Cell], int]:
        return lambda cell: 256 if cell.length <= to else 64 * seed

    return [
        make_result(right(to, seed), arm=arm, group=GROUP.name, seed=seed)
        for arm, to in (("main_only", 8), ("transfer", 16), ("control", 10))
        for seed in range(2)
    ]


def sweep(
    root: Path, main_lengths: Sequence[int], aux_lengths: Sequence[int], *, changes: Sequence[str], seeds: int = 1
) -> list[Run]:
    mains, auxiliaries = tuple(main_lengths), tuple(aux_lengths)
    found = Sweep(group=GROUP.name, main_lengths=mains, aux_lengths=auxiliaries, seeds=seeds, change=tuple(changes))
    return list(found.runs(root, "cpu"))


def record(main: int, aux: int, counts: dict[str, dict[int, int]], *, seed: int = 0) -> TrainingRecord:
    (run,) = sweep(Path(), [main], [aux], changes=["steps=10", "evaluate_every=5"])
    plan = run.plan.model_copy(update={"seed": seed})
    points = tuple(CurvePoint(step=step, loss=1.0, correct=counts) for step in (5, 10))
    return TrainingRecord(plan=plan, machine=Machine.current("cpu"), parameters=1, steps_done=10, curve=points)


class Drawn(NamedTuple):
    """A line of a panel as it was drawn."""

    points: tuple[tuple[float, float], ...]
    style: str
    width: float
    color: str
    label: str


def lines(axes: Any) -> list[Drawn]:
    """The curves of a panel, in the order they were drawn; without the upright lines at the training lengths."""
    drawn = [
        Drawn(
            tuple((float(x), float(y)) for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)),
            line.get_linestyle(),
            line.get_linewidth(),
            to_hex(line.get_color()),
            "" if line.get_label().startswith("_") else line.get_label(),
        )
        for line in axes.get_lines()
    ]
    return [line for line in drawn if line.points[0][0] != line.points[-1][0]]


def at_lengths(*values: float) -> tuple[tuple[float, float], ...]:
    return tuple(zip(map(float, GROUP.grid), values, strict=True))


def test_length_curves_show_each_seed_thin_and_the_mean_bold() -> None:
    axes = plotting.length_curves(results()).axes[0]
    shown = [(line.points, line.width, line.style, line.label) for line in lines(axes)]
    assert shown == [
        (at_lengths(*[100] * 4, *[0] * 6), 0.6, "-", ""),
        (at_lengths(*[100] * 4, *[25] * 6), 0.6, "-", ""),
        (at_lengths(*[100] * 4, *[12.5] * 6), 2.0, "-", "main_only (2 seeds)"),
        (at_lengths(*[100] * 8, *[0] * 2), 0.6, "-", ""),
        (at_lengths(*[100] * 8, *[25] * 2), 0.6, "-", ""),
        (at_lengths(*[100] * 8, *[12.5] * 2), 2.0, "-", "transfer (2 seeds)"),
        (at_lengths(*[100] * 5, *[0] * 5), 0.6, "--", ""),
        (at_lengths(*[100] * 5, *[25] * 5), 0.6, "--", ""),
        (at_lengths(*[100] * 5, *[12.5] * 5), 2.0, "--", "control (2 seeds)"),
    ]
    assert len({line.color for line in lines(axes)}) == 3
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "training lengths",
        *(each[-1] for each in shown if each[-1]),
    ]


def test_length_curves_stand_on_their_zones() -> None:
    axes: Any = plotting.length_curves(results()).axes[0]
    shades = [
        (patch.get_x(), patch.get_x() + patch.get_width(), to_hex(patch.get_facecolor())) for patch in axes.patches
    ]
    assert shades == [
        (1, 8, ZONE_SHADES["in_distribution"]),
        (8, 16, ZONE_SHADES["transfer"]),
        (16, 21, ZONE_SHADES["beyond"]),
    ]
    upright = [line for line in axes.get_lines() if line.get_xdata()[0] == line.get_xdata()[-1]]
    assert [(line.get_xdata()[0], line.get_linestyle()) for line in upright] == [(8, "--"), (16, "--")]
    assert axes.get_xlim() == (1, 21)
    named = [(text.get_position()[0], text.get_text()) for text in axes.texts]
    assert named == [(4.5, "in-distribution"), (12, "transfer"), (18.5, "beyond")]


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_same_input_gives_the_same_bytes_at_any_time(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two times as matplotlib takes them from the environment, and the time of now."""
    drawn = []
    for time in ("0", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)
        drawn.append(plotting.picture(plotting.length_curves(results()), kind))
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    drawn.append(plotting.picture(plotting.length_curves(results()), kind))
    assert drawn[0] == drawn[1] == drawn[2]
    assert matplotlib.__version__.encode() not in drawn[0]


def test_training_curves_show_each_zone_by_step() -> None:
    """In distribution are the lengths to 8, transfer those to 16, beyond the last two."""

    def point(step: int, known: int, transfer: int, beyond: int) -> CurvePoint:
        right = {each: known if each <= 8 else transfer if each <= 16 else beyond for each in GROUP.grid}
        none = dict.fromkeys(GROUP.grid, 0)
        return CurvePoint(step=step, loss=1.0, correct={"string_copy": right, "mqar": none})

    counts = point(5, 0, 0, 0).correct
    runs = [record(8, 16, counts), record(8, 16, counts, seed=1)]
    curves = [point(5, 32, 16, 0), point(10, 64, 48, 8)], [point(5, 64, 0, 0), point(10, 64, 64, 64)]
    runs = [run.model_copy(update={"curve": tuple(points)}) for run, points in zip(runs, curves, strict=True)]
    main_only = runs[0].model_copy(update={"plan": runs[0].plan.model_copy(update={"arm": "main_only"})})
    figure = plotting.training_curves([*runs, main_only])
    assert [axes.get_title() for axes in figure.axes] == [
        "copy-mqar, main_only: string_copy",
        "copy-mqar, transfer: string_copy",
    ]
    assert [(line.points, line.style, line.label) for line in lines(figure.axes[1])] == [
        (((5, 50), (10, 100)), "-", "in-distribution"),
        (((5, 100), (10, 100)), "-", ""),
        (((5, 25), (10, 75)), "-", "transfer"),
        (((5, 0), (10, 100)), "-", ""),
        (((5, 0), (10, 12.5)), "--", "beyond"),
        (((5, 0), (10, 100)), "--", ""),
    ]
    assert len({line.color for line in lines(figure.axes[1])}) == 3
    assert lines(figure.axes[0]) == lines(figure.axes[1])[::2]


def checkpoint(step: int, right: Callable[[Cell], int], arm: str = "transfer") -> Result:
    system = SystemInfo(model=f"hf:me/tiny@step-{step}", kind="hf")
    return make_result(right, arm=arm, group=GROUP.name, seed=0, system=system)


def test_series_curves_show_each_length_by_step() -> None:
    early, late = checkpoint(500, lambda cell: 64), checkpoint(2000, lambda cell: 2 * cell.length)
    figure = plotting.series_curves([late, early])
    assert [axes.get_title() for axes in figure.axes] == ["string_copy", "mqar"]
    for axes in figure.axes:
        assert [(line.points, line.label) for line in lines(axes)] == [
            (((500, 25), (2000, 100 * 2 * length / 256)), str(length)) for length in GROUP.grid
        ]
        assert len({line.color for line in lines(axes)}) == len(GROUP.grid)


def test_a_series_of_other_cells_is_refused() -> None:
    with pytest.raises(LgbenchError, match="must hold the same cells"):
        plotting.series_curves([checkpoint(1, lambda cell: 1), checkpoint(2, lambda cell: 1, arm="main_only")])
    with pytest.raises(LgbenchError, match="Two results are of step 1"):
        plotting.series_curves([checkpoint(1, lambda cell: 1), checkpoint(1, lambda cell: 1)])


def test_training_curves_and_gaps(tmp_path: Path) -> None:
    counts = {
        "string_copy": {length: 64 if length <= 8 else 0 for length in GROUP.grid},
        "mqar": {length: 64 if length <= 16 else 32 for length in GROUP.grid},
    }
    run = record(4, 16, counts)
    assert dev_gap(run) == Gap(4, 16, Fraction(4 * 64 + 2 * 32, 64 * 10), learned=True)
    for odd in ({"steps_done": 5}, {"plan": run.plan.model_copy(update={"arm": "control"})}):
        with pytest.raises(LgbenchError, match="A gap needs a finished run of arm transfer"):
            dev_gap(run.model_copy(update=odd))
    plotting.write_picture(plotting.training_curves([run]), tmp_path / "deep" / "training.svg")
    none = {task: dict.fromkeys(lengths, 0) for task, lengths in counts.items()}
    figure = plotting.gap_map([run, record(4, 16, none, seed=1), record(2, 8, none)])
    # Of the two runs of the first cell one has learned nothing, which leaves no gap either.
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["0.00*", "0.25*"]
    assert figure.axes[0].get_xlabel() == "auxiliary trained to\n* not every task was learned"
    figure = plotting.gap_map([run])
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.50"]
    assert figure.axes[0].get_xlabel() == "auxiliary trained to"
    assert figure.axes[0].get_title() == f"{GROUP.name}: generalization gap"
    other = run.model_copy(update={"plan": run.plan.model_copy(update={"preset": "paper"})})
    with pytest.raises(LgbenchError, match="of one sweep, and these runs are not: preset is 'tuned' there"):
        plotting.gap_map([run, other])
    with pytest.raises(LgbenchError, match="Two runs are of lengths 4 and 16 with seed 0"):
        plotting.gap_map([run, run])
    with pytest.raises(
        LgbenchError, match="Two runs are of arm 'transfer' of group 'copy-mqar' in mini-v1 with seed 0"
    ):
        plotting.training_curves([run, other])
    plotting.write_picture(figure, tmp_path / "gap.png")
    with pytest.raises(LgbenchError, match=r"\.svg, \.png or \.pdf"):
        plotting.write_picture(figure, tmp_path / "gap.bmp")


def measuring(values: Sequence[dict[str, float]], **plan: Any) -> TrainingRecord:
    """A run whose method measured these values after each step."""
    counts = {task: dict.fromkeys(GROUP.grid, 0) for task in ("string_copy", "mqar")}
    run = record(4, 16, counts)
    measures = tuple(Measured(step=step, values=each) for step, each in enumerate(values, 1))
    return run.model_copy(update={"plan": run.plan.model_copy(update=plan), "measures": measures})


def legend_of(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_measures_of_one_run_are_a_panel_for_each_family() -> None:
    figure = plotting.measure_curves([measuring([{"share/a": 0.1, "share/b": 0.2, "loss": 3}, {"share/a": 0.3}])])
    shares, loss = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["share", "loss"]
    assert (legend_of(shares), legend_of(loss)) == (["a", "b"], ["loss"])
    assert lines(shares)[0].points == ((1.0, 0.1), (2.0, 0.3))


def test_measures_of_several_runs_say_which_run_a_line_is_of() -> None:
    values = [{"loss": 2.0, "share/a": 0.1, "share/b": 0.2}, {"loss": 1.0, "share/a": 0.4, "share/b": 0.3}]
    method = PlannedMethod(name="rnb", options={"target": "main", "floor": "0.01"}, division="open")
    uniform = method.model_copy(update={"options": {"target": "uniform", "floor": "0.01"}})
    runs = [
        measuring(values, method=method),
        measuring(values, method=uniform),
        measuring(values[::-1], method=uniform, seed=1, arm="control"),
    ]
    names = [
        "transfer, rnb target=main, seed 0",
        "transfer, rnb target=uniform, seed 0",
        "control, rnb target=uniform, seed 1",
    ]
    loss, *shares = plotting.measure_curves(runs).axes
    assert legend_of(loss) == names
    assert len({(line.color, line.style) for line in lines(loss)}) == len(runs)
    assert [axes.get_title() for axes in shares] == [f"share: {name}" for name in names]
    assert all(legend_of(axes) == ["a", "b"] for axes in shares)
    assert len({axes.get_ylim() for axes in shares}) == 1
    assert lines(shares[2])[0].points == ((1.0, 0.4), (2.0, 0.1))


def test_runs_of_one_plan_but_for_settings_are_told_apart_by_these_or_numbered() -> None:
    values = [{"loss": 2.0}, {"loss": 1.0}]
    run = measuring(values)
    faster = run.model_copy(update={"plan": run.plan.with_settings(learning_rate=0.25)})
    (axes,) = plotting.measure_curves([run, faster]).axes
    rate = run.plan.settings.learning_rate
    assert legend_of(axes) == [f"learning_rate={rate}", "learning_rate=0.25"]
    (axes,) = plotting.measure_curves([run, run]).axes
    assert legend_of(axes) == ["run (1)", "run (2)"]
    many = [measuring(values, seed=seed) for seed in range(15)]
    (axes,) = plotting.measure_curves(many).axes
    assert legend_of(axes) == [f"seed {seed}" for seed in range(15)]
    assert len({(line.color, line.style) for line in lines(axes)}) == 15


def test_names_of_measures_are_drawn_as_they_are() -> None:
    (axes,) = plotting.measure_curves([measuring([{"$x/_y": 1.0, "$x/$z": 2.0}, {"$x/_y": 1.0}])]).axes
    assert axes.get_title() == "$x"
    assert legend_of(axes) == [" _y", r"\$z"]
    assert plotting.picture(axes.figure, "svg").startswith(b"<?xml")  # type: ignore[arg-type]


def test_runs_without_a_number_of_a_family_have_no_panel_of_it() -> None:
    runs = [measuring([{"a/x": 1.0, "a/y": 1.0}] * 2), measuring([{"loss": 1.0}] * 2, seed=1)]
    assert [axes.get_title() for axes in plotting.measure_curves(runs).axes] == ["a: seed 0", "loss"]
    with pytest.raises(LgbenchError, match="needs runs whose method measured something"):
        plotting.measure_curves([runs[0], measuring([])])


def test_a_picture_that_cannot_be_written_leaves_the_one_before(tmp_path: Path) -> None:
    figure = plotting.length_curves(results())
    plotting.write_picture(figure, tmp_path / "curves.svg")
    before = (tmp_path / "curves.svg").read_bytes()
    with full_disk(room=100), pytest.raises(LgbenchError, match=r"Cannot write to .*curves\.svg': File too large\."):
        plotting.write_picture(figure, tmp_path / "curves.svg")
    assert (tmp_path / "curves.svg").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["curves.svg"]


def test_a_picture_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "curves.svg").symlink_to(mine := tmp_path / "mine")
    with pytest.raises(LgbenchError, match=r"curves\.svg' is a link"):
        plotting.write_picture(plotting.length_curves(results()), tmp_path / "curves.svg")
    assert not mine.exists()


def test_a_picture_goes_into_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "curves.svg")
    with futures.ThreadPoolExecutor() as pool:
        received = pool.submit(pipe.read_bytes)
        plotting.write_picture(plotting.length_curves(results()), pipe)
        assert received.result().rstrip().endswith(b"</svg>")


def test_a_sweep_trains_to_its_own_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["layers=1", "heads=2", "width=8", "hidden=8", "batch=64", "steps=2", "precision=float32"]
    runs = sweep(tmp_path, [2, 4], [6], changes=changes, seeds=2)
    assert [(run.folder.name, read_lengths(run.plan.mixture.parts)) for run in runs] == [
        ("main2-aux6-seed0", {"string_copy": 2, "mqar": 6}),
        ("main4-aux6-seed0", {"string_copy": 4, "mqar": 6}),
        ("main2-aux6-seed1", {"string_copy": 2, "mqar": 6}),
        ("main4-aux6-seed1", {"string_copy": 4, "mqar": 6}),
    ]
    Sweep(group=GROUP.name, main_lengths=(2, 4), aux_lengths=(6,)).finish(runs[0], "cpu", Monitor(runs[0].name))
    gap = dev_gap(read_training_record(runs[0].folder))
    assert (gap.main_length, gap.aux_length) == (2, 6)
    assert "main to 2, auxiliaries to 6, seed 0, step 2/2: loss" in (told := capsys.readouterr().err)
    assert f"; gap {float(gap.gap):.3f}; over all lengths " in told
    with pytest.raises(LgbenchError, match="mqar has no prompts of length 1"):
        sweep(tmp_path, [2], [1], changes=changes)
    with pytest.raises(LgbenchError, match=r"Length 10001 is more than the 10000 that a run may train on\."):
        sweep(tmp_path, [10_001], [2], changes=changes)


def read_lengths(arm: Any) -> dict[str, int]:
    return {part.task: part.max_length for part in arm}


def test_results_that_make_no_curves_are_refused() -> None:
    with pytest.raises(LgbenchError, match="results of trained arms"):
        plotting.length_curves([])
    with pytest.raises(LgbenchError, match="results of trained arms"):
        plotting.length_curves([make_result(lambda cell: 1)])
    with pytest.raises(LgbenchError, match="Two runs are of arm 'main_only' of group 'copy-mqar' with seed 0"):
        plotting.length_curves([*results(), results()[0]])


def test_a_shared_main_only_run_is_drawn_in_both_groups() -> None:
    own = make_result(lambda cell: 64, arm="main_only", group="add-carry", seed=0)
    other = make_result(lambda cell: 128, arm="transfer", group="add-subtract", seed=0)
    panels = plotting.length_curves([own, other]).axes
    labels = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels]  # type: ignore[union-attr]
    common = ["training lengths", "main_only (1 seed)"]
    assert labels == [common, [*common, "transfer (1 seed)"]]


@pytest.mark.parametrize(
    ("name", "folder", "kind"),
    [
        ("demo", "lgbench/checkpoints/results", "lengths"),
        ("gap", "docs/sweeps/mini-v1-capitalize-reverse", "gap"),
    ],
)
def test_the_pictures_in_docs_are_what_plot_draws(name: str, folder: str, kind: str, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    drawn = tmp_path / f"{name}.svg"
    plot([str(root / folder)], drawn, kind)
    assert drawn.read_bytes() == (root / "docs" / f"{name}.svg").read_bytes()
