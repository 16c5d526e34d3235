"""docs/reproduction.md says what the committed runs give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lgbench.rescoring import rescore
from lgbench.scoring import counts_by_task, zone_accuracy

DOCS = Path(__file__).parent.parent / "docs"
RUNS = sorted((DOCS / "runs" / "capitalize-reverse").iterdir())
ROWS = {
    (arm, int(seed)): cells.split(" | ")
    for arm, seed, cells in re.findall(
        r"^\| `(\w+)`, (\d) \| (.*) \|$", (DOCS / "reproduction.md").read_text("utf-8"), flags=re.MULTILINE
    )
}


def test_every_run_has_its_row() -> None:
    assert len(RUNS) == len(ROWS) == 9


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_row_is_what_its_run_re_scores_to(folder: Path) -> None:
    result = rescore(folder).result
    main = counts_by_task(result)["capitalize_reverse"]
    shares = [100 * counts.correct / counts.total for counts in main.values()]
    transfer = zone_accuracy(result, "capitalize_reverse", "transfer")
    assert result.seed is not None
    assert transfer is not None
    assert ROWS[result.arm, result.seed] == [f"{share:.1f}" for share in [*shares, 100 * float(transfer)]]
