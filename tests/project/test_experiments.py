"""The sweep, the ablation and the trials that docs/ tells of: its numbers are those of the committed records."""

from __future__ import annotations

import re
import statistics
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.data.suites import load_suite
from lgbench.experiments.ablate import by_choice
from lgbench.scoring.display import one_decimal
from lgbench.scoring.measures import SUCCESS
from lgbench.training.points import dev_gap
from lgbench.training.record import read_training_record
from lgbench.training.spec import Recipe

ROOT = Path(__file__).parents[2]
ABLATIONS = ROOT / "docs" / "ablations"
MINI = load_suite("mini-v1")


def test_the_gaps_are_those_of_the_sweep() -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    sweep = ROOT / "docs" / "sweeps" / "mini-v1-capitalize-reverse"
    heads = [int(each) for each in re.findall(r"auxiliaries to (\d+) \|", text)]
    rows = re.findall(r"^\| (\d+) \| (0\.\d{3} .*) \|$", text, flags=re.MULTILINE)
    told = {(int(main), aux): gap for main, gaps in rows for aux, gap in zip(heads, gaps.split(" | "), strict=True)}
    gaps = [dev_gap(read_training_record(path.parent)) for path in sweep.rglob("training.json")]
    assert told == {(each.main_length, each.aux_length): f"{float(each.gap):.3f}" for each in gaps}
    assert len(told) == 9
    grid = MINI.group("capitalize-reverse").grid
    left = re.findall(r"^\| (\d+) \| ([-\d].*%.*) \|$", text, flags=re.MULTILINE)
    shares = {
        (int(main), aux): share for main, row in left for aux, share in zip(heads, row.split(" | "), strict=False)
    }
    for each in gaps:
        between = sum(
            min(each.main_length, each.aux_length) < length <= max(each.main_length, each.aux_length) for length in grid
        )
        without_transfer = Fraction(between, len(grid))
        expected = f"{float(100 * each.gap / without_transfer):.0f} %" if between else "-"
        assert shares[each.main_length, each.aux_length] == expected


@pytest.mark.parametrize("group", [path.name.removeprefix("mini-v1-") for path in sorted(ABLATIONS.iterdir())])
def test_an_ablation_is_as_its_runs_have_it(group: str) -> None:
    text = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    section = text[text.index(f"`lgbench ablate {group} ") :].partition("\n\nEvery auxiliary")[0]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| (\d.*) \|$", section, flags=re.MULTILINE)
    told = {tuple(re.findall(r"`(\w+)`", names)): numbers.split(" | ") for names, numbers in rows}
    records = [read_training_record(run) for run in (ABLATIONS / f"mini-v1-{group}").iterdir()]
    choices = by_choice(sorted(records, key=lambda record: record.plan.seed))
    assert told.keys() == choices.keys()
    for choice, seeds in choices.items():
        shares = [share for seed in seeds if (share := seed.zones["transfer"]) is not None]
        mean = [statistics.mean(shares)] if len(shares) > 1 else []
        assert told[choice] == [one_decimal(share) for share in [*shares, *mean]]
        assert all(seed.auxiliaries >= SUCCESS for seed in seeds), "every auxiliary was learned"
    for record in records:
        if record.plan.is_of_its_arm:
            board = ROOT / "docs" / "runs" / "reference-rope" / f"mini-v1-{group}-transfer-seed{record.plan.seed}"
            assert record.curve == read_training_record(board).curve


def test_the_trials_are_as_their_records_have_them() -> None:
    text = (ROOT / "docs" / "finding-mini.md").read_text("utf-8")
    row = r"^\| `([a-z-]+)` \| (?:the preset|`(\w+)=([\w.]+)`) \| (\d) \| ([\d, ]+) \| ([\d, ]+) \|$"
    rows = re.findall(row, text, flags=re.MULTILINE)
    trials = {path.parent.name for path in (ROOT / "docs" / "trials").rglob("training.json")}
    for name, setting, value, seed, *told in rows:
        group = MINI.group(name)
        board = ROOT / "docs" / "runs" / "reference-rope" / f"mini-v1-{name}-transfer-seed{seed}"
        folder = ROOT / "docs" / "trials" / f"mini-v1-{name}-{setting}{value}-seed{seed}" if setting else board
        trials.discard(folder.name)
        record = read_training_record(folder)
        changes = [f"{setting}={value}", "precision=bfloat16"] if setting else ["precision=bfloat16"]
        assert record.plan == Recipe(MINI, preset="mini", changes=changes).plan(name, "transfer", int(seed))
        assert record.finished
        right = record.curve[-1].correct
        (auxiliary,) = group.auxiliaries
        lengths = group.zone_lengths("transfer")
        assert told == [", ".join(str(right[task][length]) for length in lengths) for task in (group.main, auxiliary)]
    assert not trials, "every record has its row"
    assert len(rows) == 12
