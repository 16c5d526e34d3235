"""The notebooks of examples/: executed from above, in a folder of their own, and committed without outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")
pytest.importorskip("transformers")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

from tests.selection import night  # after the skips

pytestmark = [
    pytest.mark.slow,
    # Of the libraries that talk to the kernel, not of ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::RuntimeWarning"),
]

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
_MOST_BYTES = 12_000
_EXPECTED = {
    "phenomenon": ("gain over main_only: +51.6 points", "image/svg+xml"),
    "my_architecture": ("step 99: loss", "Result(model="),
    "my_language_model": ("Name: count", "Result(model="),
}


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(_EXPECTED)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_holds_no_outputs(path: Path) -> None:
    assert path.stat().st_size < _MOST_BYTES
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", [*night(NOTEBOOKS[:-1]), NOTEBOOKS[-1]], ids=lambda path: path.stem)
def test_a_notebook_runs_to_its_end(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    book = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    # However busy the machine is, a kernel starts some time: the usual limit of a minute would make this a timed test.
    client = nbclient.NotebookClient(book, timeout=None, startup_timeout=1000, resources=where)
    client.execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output["output_type"] == "error"]
    shown = str(outputs)
    for words in _EXPECTED[path.stem]:
        assert words in shown
