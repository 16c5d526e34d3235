"""Head maps against loops over heads in other programs: the sides that `python -m benchmarks analyze` compares.

Needs transformers, and TransformerLens or nnsight; skipped where one is not installed.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from benchmarks import analyze as measured
from lgbench.analysis.opening import open_model
from lgbench.analysis.questions import draw_questions
from lgbench.models.folders import checkpoint_folder
from lgbench.models.hf_export import export_hf

pytestmark = pytest.mark.filterwarnings("ignore")  # theirs
TASK = "reverse"


def ours() -> tuple[measured.Cell, measured.Map]:
    opened = open_model("tiny:transfer", device="cpu")
    cell = draw_questions(opened.suite, [TASK], 5, 8).examples[TASK]
    return cell, measured.lgbench_maps(opened.hooked)(cell)


@pytest.mark.parametrize(
    ("package", "loop"),
    [("transformer_lens", "transformer_lens_loop"), ("nnsight", "nnsight_loop")],
)
def test_maps_of_an_exported_checkpoint_are_those_of_other_programs(package: str, loop: str, tmp_path: Path) -> None:
    try:
        importlib.import_module(package)
    except ImportError:
        pytest.skip(f"{package} is not installed")
    export_hf(checkpoint_folder("tiny:transfer"), tmp_path / "llama")
    cell, found = ours()
    torch.testing.assert_close(getattr(measured, loop)(tmp_path / "llama")(cell), found, rtol=0, atol=1e-4)


def test_maps_are_those_of_a_plain_loop() -> None:
    cell, found = ours()
    theirs = measured.plain_loop(open_model("tiny:transfer", device="cpu").hooked.module)(cell)
    torch.testing.assert_close(theirs, found, rtol=0, atol=1e-6)
    assert found.min() < found[0] - 1  # some head is needed
