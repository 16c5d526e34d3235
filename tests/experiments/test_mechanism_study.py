"""What is measured inside finished runs: the tables of `studies/mechanism.py`, and that it goes on where it stopped."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("torch")

from lgbench.analysis import open_model
from studies import mechanism


def test_the_tables_of_a_model() -> None:
    opened = open_model("tiny:transfer")
    distances = mechanism.distances(opened, examples=8)
    assert set(distances["second"]) == {"capitalize", "reverse"}
    paper = distances[(distances["ablation"] == "mean") & (distances["metric"] == "exact")]
    assert paper["distance"].between(0, 1).all()
    assert len(paper) == 2
    sources = mechanism.sources(opened, examples=8).set_index(["task", "length", "positions"])
    assert ("reverse", 8, "inside") in sources.index
    assert ("reverse", 8, "beyond") not in sources.index
    assert (sources["share"] > sources["uniform"]).all()


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    keys = [("copy-mqar", "transfer", seed) for seed in range(3)]
    asked: list[str] = []

    def measured(folder: str) -> pd.DataFrame:
        asked.append(folder)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return pd.DataFrame({"value": [len(asked), 0.123456789]})

    path = tmp_path / "records" / "values.csv"
    with pytest.raises(KeyboardInterrupt):
        mechanism._keep(path, keys, measured)
    mechanism._keep(path, keys, measured)
    assert asked == [f"copy-mqar-transfer-seed{seed}" for seed in (0, 1, 1, 2)]
    lines = path.read_text("utf-8").splitlines()
    assert lines[:3] == ["group,arm,seed,value", "copy-mqar,transfer,0,1", "copy-mqar,transfer,0,0.123457"]
    assert len(lines) == 1 + 3 * 2
