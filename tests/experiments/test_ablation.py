"""`lgbench ablate`: the arm transfer with some of its auxiliaries left out."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.experiments.ablate import Ablate, by_choice
from lgbench.experiments.monitor import Monitor
from lgbench.training.record import read_training_record
from lgbench.training.spec import Recipe
from lgbench.util.errors import LgbenchError
from tests.shell import Shell
from tests.tiny_training import MINI, STRINGS, TINY

RECIPE = Recipe(MINI, changes=TINY)
SHORT = [part for change in TINY for part in ("--set", change)]


def test_every_choice_of_auxiliaries_is_trained_with_equal_shares(tmp_path: Path) -> None:
    runs = list(Ablate(group="add-carry", seeds=2, change=TINY).runs(tmp_path, "cpu"))
    assert [run.folder.name for run in runs] == [
        *("no_carry-seed0", "carry_only-seed0", "no_carry+carry_only-seed0"),
        *("no_carry-seed1", "carry_only-seed1", "no_carry+carry_only-seed1"),
    ]
    half, third = Fraction(1, 2), Fraction(1, 3)
    assert [tuple(part) for part in runs[1].plan.mixture.parts] == [("reverse_add", 8, half), ("carry_only", 16, half)]
    assert {part.share for part in runs[2].plan.parts} == {third}
    assert [run.plan.seed for run in runs] == [0, 0, 0, 1, 1, 1]
    assert runs[5].plan == RECIPE.plan("add-carry", "transfer", 1), "with all auxiliaries it is the arm itself"


@pytest.mark.parametrize("group", [group.name for group in MINI.groups if len(group.auxiliaries) == 1])
def test_groups_with_one_auxiliary_are_refused(group: str, tmp_path: Path) -> None:
    with pytest.raises(
        LgbenchError, match=f"{group} has one auxiliary, .*more: add-carry, capitalize-reverse"
    ) as refused:
        list(Ablate(group=group).runs(tmp_path, "cpu"))
    assert MINI.group(group).auxiliaries[0] in str(refused.value)


def test_only_what_was_trained_is_examined(tmp_path: Path) -> None:
    ablation = Ablate(group=STRINGS.name, seeds=1, change=TINY)
    runs = list(ablation.runs(tmp_path, "cpu"))
    for run in runs:
        ablation.finish(run, "cpu", Monitor(run.name))
    records = [read_training_record(run.folder) for run in runs]
    tasks = [list(record.curve[-1].correct) for record in records]
    assert tasks == [
        ["capitalize", "capitalize_reverse"],
        ["reverse", "capitalize_reverse"],
        ["reverse", "capitalize", "capitalize_reverse"],
    ]
    right = {task: dict.fromkeys(STRINGS.grid, 64 if task == STRINGS.main else 0) for task in tasks[1]}
    right["reverse"] |= dict.fromkeys((2, 4, 6, 8), 64)
    point = records[1].curve[-1].model_copy(update={"correct": right})
    choices = by_choice([records[0], records[1].model_copy(update={"curve": (point,)})])
    assert list(choices) == [("capitalize",), ("reverse",)]
    (learned,) = choices["reverse",]
    assert learned.zones == dict.fromkeys(("in_distribution", "transfer", "beyond"), 1)
    assert learned.auxiliaries == Fraction(4, 8), "the lengths beyond its training do not count"
    arms = [json.loads((run.folder / "checkpoint" / "checkpoint.json").read_text("utf-8"))["arm"] for run in runs]
    assert arms == ["open", "open", "transfer"], "what lacks an auxiliary is not the suite's arm"


def know(run: Path, main: dict[int, int], auxiliaries: dict[int, int]) -> None:
    """Make a run right in so many dev examples of some lengths, and in none of the others."""
    record = json.loads((run / "training.json").read_text("utf-8"))
    for task, right in record["curve"][-1]["correct"].items():
        right.update({length: (main if task == STRINGS.main else auxiliaries).get(int(length), 0) for length in right})
    (run / "training.json").write_text(json.dumps(record), "utf-8")


@pytest.mark.nightly
def test_ablate_as_a_user_types_it(lgbench: Shell) -> None:
    command = ["ablate", STRINGS.name, *SHORT, "--seeds", "2", "--output", "a"]
    done = lgbench(*command)
    assert done.status == 0, done.err
    assert "[6/6] capitalize and reverse, seed 1: done" in done.err
    for seed, main in ((0, {2: 32, 10: 64, 12: 64}), (1, {})):
        know(Path(f"a/capitalize-seed{seed}"), main, dict.fromkeys(range(2, 14, 2), 64))
    for name in ("reverse", "capitalize+reverse"):
        for seed in (0, 1):
            know(Path(f"a/{name}-seed{seed}"), {}, {})
    lines = lgbench(*command).out.splitlines()
    assert lines[0].startswith("capitalize-reverse: capitalize_reverse on dev examples by zone, in %")
    rows = [line.split() for line in lines if line.strip().startswith(("capitalize ", "reverse ", "capitalize, "))]
    assert [row[: row.index("2")] for row in rows] == [["capitalize"], ["reverse"], ["capitalize,", "reverse"]]
    nothing = ["2", "0", "0", "0", "0", "0", "0"]
    numbers = [row[row.index("2") :] for row in rows]
    assert numbers == [["2", "6.2", "25.0", "0", "0", "50.0", "75.0"], nothing, nothing]
    assert lgbench(*command, "--jobs", "2").out.splitlines() == lines, "nothing is trained again"
    opened = lgbench("eval", "a/reverse-seed0", "--task", "reverse", "--length", "2", "--limit", "2")
    assert "trained for capitalize-reverse in mini-v1, seed 0, but not as an arm of it is." in opened.err
    pytest.importorskip("matplotlib")
    unfit = lgbench("plot", "a/reverse-seed0", "a/capitalize-seed1", "--kind", "gap", "-o", "gap.svg")
    assert unfit.status == 1
    assert "Left out: a/reverse-seed0, as an ablation left out an auxiliary of it." in unfit.err
    refused = lgbench("eval", "a/reverse-seed0", "--group", STRINGS.name, "--arm", "transfer", "--limit", "2")
    assert refused.status == 1
    assert "trained as arm 'open'" in refused.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["copy-mqar"], "copy-mqar has one auxiliary, mqar"),
        (["copy"], "Did you mean 'copy-mqar'"),
        ([STRINGS.name, "--set", "steps=9"], "name their folder with --output"),
    ],
)
def test_ablate_refuses(lgbench: Shell, arguments: list[str], sentence: str) -> None:
    done = lgbench("ablate", *arguments)
    assert done.status == 1
    assert sentence in " ".join(done.err.split())
    assert not Path("runs").exists()
