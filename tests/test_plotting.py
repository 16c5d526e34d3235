"""Pictures: what they show, and that the same input gives the same bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from collections.abc import Callable
from fractions import Fraction

from lgbench import plotting
from lgbench.cli.plotting import command as plot
from lgbench.errors import LgbenchError
from lgbench.results import Result
from lgbench.suites import Cell, load_suite
from lgbench.training.points import Gap, dev_gap
from lgbench.training.record import CurvePoint, Machine, TrainingRecord, read_training_record
from lgbench.training.sweep import finish_swept, list_sweep
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


def record(main: int, aux: int, counts: dict[str, dict[int, int]], *, seed: int = 0) -> TrainingRecord:
    options: dict[str, Any] = {"main_lengths": [main], "aux_lengths": [aux], "seeds": 1, "preset": "mini"}
    ((plan, _, _),) = list_sweep(MINI, GROUP.name, Path(), **options, changes=["steps=10"])
    plan = plan.model_copy(update={"seed": seed})
    points = tuple(CurvePoint(step=step, loss=1.0, correct=counts) for step in (5, 10))
    return TrainingRecord(plan=plan, machine=Machine.current("cpu"), parameters=1, steps_done=10, curve=points)


def test_length_curves_show_each_seed_and_the_mean() -> None:
    axes = plotting.length_curves(results()).axes[0]
    lines = [[float(y) for y in line.get_ydata()] for line in axes.get_lines()]  # type: ignore[union-attr, arg-type]
    main_only = [100.0] * 4 + [0.0] * 6, [100.0] * 4 + [25.0] * 6, [100.0] * 4 + [12.5] * 6
    for line in main_only:
        assert line in lines
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [  # type: ignore[union-attr]
        "main_only (2 seeds)",
        "transfer (2 seeds)",
        "control (2 seeds)",
    ]
    dashed = [line.get_xdata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 2]  # type: ignore[index, arg-type]
    assert dashed == [8, 16]


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_the_same_input_gives_the_same_bytes(kind: str) -> None:
    first, second = (plotting.picture(plotting.length_curves(results()), kind) for _ in range(2))
    assert first == second
    assert b"20" + b"26" not in first[:500], "no date"


def test_training_curves_and_gaps(tmp_path: Path) -> None:
    counts = {
        "string_copy": {length: 64 if length <= 8 else 0 for length in GROUP.grid},
        "mqar": {length: 64 if length <= 16 else 32 for length in GROUP.grid},
    }
    run = record(4, 16, counts)
    assert dev_gap(run) == Gap(4, 16, Fraction(4 * 64 + 2 * 32, 64 * 10))
    plotting.write_picture(plotting.training_curves([run]), tmp_path / "deep" / "training.svg")
    none = {task: dict.fromkeys(lengths, 0) for task, lengths in counts.items()}
    figure = plotting.gap_map([run, record(4, 16, none, seed=1), record(2, 8, none)])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["0.00", "0.25"]
    assert figure.axes[0].get_title() == f"{GROUP.name}: generalization gap"
    other = run.model_copy(update={"plan": run.plan.model_copy(update={"preset": "paper"})})
    with pytest.raises(LgbenchError, match="of one sweep, and these runs are not: preset is 'mini' there"):
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


def test_a_sweep_trains_to_its_own_lengths(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["layers=1", "heads=2", "width=8", "hidden=8", "batch=4", "steps=2", "precision=float32"]
    options: dict[str, Any] = {"seeds": 2, "preset": "mini", "changes": changes}
    runs = list_sweep(MINI, GROUP.name, tmp_path, main_lengths=[2, 4], aux_lengths=[6], **options)
    assert [(run.folder.name, read_lengths(run.plan.trained_arm())) for run in runs] == [
        ("main2-aux6-seed0", {"string_copy": 2, "mqar": 6}),
        ("main4-aux6-seed0", {"string_copy": 4, "mqar": 6}),
        ("main2-aux6-seed1", {"string_copy": 2, "mqar": 6}),
        ("main4-aux6-seed1", {"string_copy": 4, "mqar": 6}),
    ]
    finish_swept(runs[0], "cpu")
    gap = dev_gap(read_training_record(runs[0].folder))
    assert (gap.main_length, gap.aux_length) == (2, 6)
    assert "main to 2, auxiliaries to 6, seed 0, step 2/2: loss" in (told := capsys.readouterr().err)
    assert f"; gap {float(gap.gap):.3f}; over all lengths " in told
    with pytest.raises(LgbenchError, match="mqar has no prompts of length 1"):
        list_sweep(MINI, GROUP.name, tmp_path, main_lengths=[2], aux_lengths=[1], **options)


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
    assert labels == [["main_only (1 seed)"], ["main_only (1 seed)", "transfer (1 seed)"]]


@pytest.mark.parametrize(
    ("name", "folder", "kind"),
    [
        ("demo", "lgbench/checkpoints/results", "lengths"),
        ("gap", "docs/sweeps/mini-v1-capitalize-reverse", "gap"),
    ],
)
def test_the_pictures_in_docs_are_what_plot_draws(name: str, folder: str, kind: str, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    drawn = tmp_path / f"{name}.svg"
    plot([root / folder], drawn, kind)
    assert drawn.read_bytes() == (root / "docs" / f"{name}.svg").read_bytes()
