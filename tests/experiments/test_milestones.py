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
