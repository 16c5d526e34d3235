"""What is recorded of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from lgbench.evaluation.environment import processor


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "cpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\nmodel name\t: X\n",
            "AMD EPYC, family 25, model 17",
        ),
        ("model name\t: A: B\n", "A: B"),
        ("processor\t: 0\nBogoMIPS\t: 50\n", None),
    ],
)
def test_the_processor_is_called_what_the_system_calls_it(tmp_path: Path, text: str, told: str | None) -> None:
    (cpuinfo := tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert processor(cpuinfo) == told


def test_without_such_a_file_the_processor_may_be_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.processor", lambda: "")
    assert processor(tmp_path / "none") is None
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert processor(tmp_path / "none") == "arm"
