"""What `reproduce` says of a group as soon as it is finished."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.experiments.reproduce import Reproduce
from tests.made_up import make_result


def test_a_group_has_its_verdict_when_its_last_run_ends_unless_the_report_follows(tmp_path: Path) -> None:
    experiment = Reproduce(group=("copy-mqar", "capitalize-reverse"), arm=("main_only", "transfer"), seeds=1)
    runs = list(experiment.runs(tmp_path, "cpu"))
    assert [run.name for run in runs][1] == "copy-mqar transfer seed 0"
    for run in runs:
        result = make_result(lambda cell: 9, arm=run.plan.arm, group=run.plan.group, seed=run.plan.seed)
        (run.folder / "result").mkdir(parents=True)
        (run.folder / "result" / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    said = [experiment.milestones(runs, runs[:count]) for count in range(1, len(runs) + 1)]
    assert said == [[], ["copy-mqar is finished. So far: not testable."], [], []]


def test_a_group_whose_only_run_bears_another_name_has_none(tmp_path: Path) -> None:
    """`main_only` of add-subtract is that of add-carry."""
    experiment = Reproduce(group=("add-carry", "add-subtract"), arm=("main_only",), seeds=2)
    runs = list(experiment.runs(tmp_path, "cpu"))
    first = runs[0]
    result = make_result(lambda cell: 9, arm="main_only", group="add-carry", seed=0)
    (first.folder / "result").mkdir(parents=True)
    (first.folder / "result" / "result.json").write_text(result.model_dump_json(), encoding="utf-8")
    unfinished = runs[1].plan.model_copy(update={"arm": "direct"})
    alone = [first, runs[1]._replace(folder=tmp_path / "another", plan=unfinished)]
    assert experiment.milestones(alone, [first]) == ["add-carry is finished. So far: not testable."]
