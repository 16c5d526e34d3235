"""`python -m benchmarks` with everything made small: it prints the right lines and compares like with like."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import lgbench
from benchmarks.__main__ import main
from benchmarks.processes import Usage
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.data.task import Domain, Example
from tests.selection import night

TINY = ("layers=1", "heads=2", "width=8", "hidden=8")
# Stands for lm-evaluation-harness: it replies as lgbench has just done, but for one reply of each cell.
_HARNESS = """#!{python}
import json, sys
from pathlib import Path
from lgbench.evaluation.stored import read_stored_replies

tasks, output = (Path(sys.argv[sys.argv.index(name) + 1]) for name in ("--include_path", "--output_path"))
output.mkdir()
stored = read_stored_replies(output.with_name("ours-0") / "replies.jsonl.gz")
for path in (tasks / "data").iterdir():
    documents = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    replies = [stored[each["id"]].text if each["id"] in stored else each["target"] for each in documents]
    replies[0] += "!"
    samples = [{{"doc": each, "resps": [[reply]]}} for each, reply in zip(documents, replies)]
    (output / f"samples_{{path.name}}").write_text("\\n".join(map(json.dumps, samples)))
"""


class Bench:
    """Runs a benchmark and compares its lines with those expected, in which `#` is any number."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str, prints: Sequence[str]) -> None:
        status, out, err = self.run(*arguments)
        assert status == 0, err
        lines = out.splitlines()
        for line, expected in zip(lines, prints, strict=True):
            assert re.fullmatch(re.escape(expected).replace(r"\#", r"\d[\d,]*(\.\d+)?"), line), (line, expected)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        return int(stop.value.code or 0), *self._capsys.readouterr()


@pytest.fixture(name="bench")
def _bench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(capsys, monkeypatch)


def test_an_unknown_group_is_one_sentence(bench: Bench) -> None:
    pytest.importorskip("torch")
    status, _, err = bench.run("train", "--group", "nothing")
    assert status == 1
    assert err.startswith("Error: 'nothing' is not a group")


def test_the_benchmarks_are_no_part_of_the_package() -> None:
    package = Path(lgbench.__file__).parent
    sources = {path: path.read_text("utf-8") for path in package.rglob("*.py")}
    assert not [path for path, source in sources.items() if re.search(r"^\s*(from|import) benchmarks\b", source, re.M)]
    listed = tomllib.loads((package.parent / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert listed["wheel"]["packages"] == ["lgbench"]
    assert "benchmarks" in listed["sdist"]["include"]


@pytest.mark.slow
def test_processes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import processes

    monkeypatch.setattr(processes, "ROUNDS", 1)
    against = "# s, # times a bare Typer program (# s)"
    bench("startup", prints=[f"lgbench --help: {against}", f"lgbench validate --help: {against}"])
    bench("harness", prints=["lgbench eval echo --task reverse_add: # s, whole process"])


@pytest.mark.nightly
@pytest.mark.slow
def test_data(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import data

    mini = load_suite("mini-v1")
    monkeypatch.setattr(data, "SUITES", (mini,))
    monkeypatch.setattr(data, "load_suite", lambda name: mini)
    monkeypatch.setattr(data, "BLOCK_EXAMPLES", 16)
    rates = "# examples/s; 2 workers #/s (# times), the same examples"
    bench(
        "data",
        prints=[
            "mini-v1: 34,048 test examples drawn and checked in # s",
            f"training stream of reverse_add up to length 16: {rates}",
            f"training stream of string_copy up to length 16: {rates}",
            f"training stream of dfs_trace up to length 16: {rates}",
        ],
    )


@pytest.mark.parametrize(
    ("group", "workers", "loader"),
    [("capitalize-reverse", 0, "data loader"), *night([["maze-trace", 1, "data loader, 1 worker ahead"]])],
)
def test_training_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch, group: str, workers: int, loader: str) -> None:
    """The loader works as the group's preset has it."""
    pytest.importorskip("transformers")
    from benchmarks import train
    from lgbench.training.batching import Batch, batches
    from lgbench.training.settings import TrainingSettings, preset_settings

    def tiny(preset: str, of: Domain) -> TrainingSettings:
        return preset_settings(preset, of, TINY)

    asked: list[int] = []

    def made(*arguments: Any, **options: Any) -> Iterator[Batch]:
        asked.append(options.get("workers", 0))
        return batches(*arguments, **options)

    monkeypatch.setattr(train, "preset_settings", tiny)
    monkeypatch.setattr(train, "batches", made)
    monkeypatch.setattr(train, "STEPS", 1)
    monkeypatch.setattr(train, "ROUNDS", 1)
    monkeypatch.setattr(train, "fast_bfloat16", lambda device: True)
    monkeypatch.setattr("torch.get_num_threads", lambda: 2)
    chosen = () if group == "capitalize-reverse" else ("--group", group)
    rate = "# examples/s, # times the last"
    bench(
        "train",
        *chosen,
        prints=[
            f"training step of tuned: lgbench, bfloat16, packed, batch in 8 parts by length: {rate}",
            f"training step of tuned: lgbench, bfloat16, batch in 2 parts by length: {rate}",
            f"training step of tuned: lgbench, bfloat16, batch in one part: {rate}",
            f"training step of tuned: lgbench, float32, batch in one part: {rate}",
            f"training step of tuned: transformers, float32, eager, batch in one part: {rate}",
            f"{loader}: # ms a step, # % of it",
            f"on 2 threads; {group}, transfer, batches of #",
        ],
    )
    assert asked == [0, 0, 0, workers], "the batches of the steps, in one, two and eight parts, and the loader's"


def test_decoding(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers")
    from benchmarks import decode

    def few(*cell: Any) -> list[Example]:
        return draw_cell(*cell)[:4]

    monkeypatch.setattr(decode, "draw_cell", few)
    monkeypatch.setattr(decode.replies, "__defaults__", ((8,), 1))
    monkeypatch.setattr("torch.get_num_threads", lambda: 1)
    rate = "# replies/s, in batches of 8 with 1 thread"
    bench(
        "decode",
        prints=[
            f"decoding tiny:transfer: lgbench {rate}",
            f"decoding tiny:transfer: transformers {rate}",
            "medians of 1 rounds; # of 40 replies ended at the cap",
            "lgbench: # times the speed; 40 of 40 replies are the same",
        ],
    )


@pytest.mark.slow
def test_a_board_of_made_up_systems(bench: Bench) -> None:
    pytest.importorskip("plotly")
    sizes = "# s of one core: # kB, # kB packed"
    bench(
        "board",
        *("--systems", "2", "--seeds", "1", "--site"),
        prints=[
            "2 systems, 42 runs, made up and derived in # s of one core, # ms a system",
            "their parts of the board: # MB; peak memory # MB",
            "board put together in # s of one core: # files, # MB",
            "README.md # kB, board.json # MB, cells.csv # MB; peak memory # MB",
            f"front page of the site in {sizes}; # kB packed with style and scripts",
            f"page of a group in {sizes}",
        ],
    )


def test_requests(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    pytest.importorskip("aiohttp")
    from benchmarks import api

    monkeypatch.setattr(api, "TASKS", ("cot_multiply",))
    monkeypatch.setattr(api, "SECONDS", 0.001)
    monkeypatch.setattr(api, "_ALONE", 64)
    bench(
        "api",
        prints=[
            "ideal: 32,000 requests/s at concurrency 32 and 1 ms a request; bare sockets reach # (# %)",
            "lgbench eval api:... over 1,280 requests: # requests/s, # % of the ideal; # ms of processor each, "
            "start included",
            "the whole process: # s, of which # s before the first request and after the last answer; # requests/s",
        ],
    )


@pytest.mark.nightly
@pytest.mark.slow
def test_steps_of_methods(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the preset that the command takes by default."""
    pytest.importorskip("torch")
    from benchmarks import methods

    monkeypatch.setattr(methods, "_VARIANTS", (("rnb", "round_steps=2", "every=1"),))
    for name, number in {"STEPS": 4, "WARM": 1, "ROUNDS": 1}.items():
        monkeypatch.setattr(methods, name, number)
    bench(
        "methods",
        prints=[
            "plain: # ms a step, # times the plain one",
            "rnb round_steps=2 every=1: # ms a step, # times the plain one, of which hooks # ms (#%)",
            "on # threads; tuned, capitalize-reverse, transfer, batches of 32",
        ],
    )


@pytest.mark.nightly
def test_head_maps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the other programs; tests/analysis/test_map_loops.py compares with them."""
    pytest.importorskip("torch")
    from benchmarks import analyze

    for name in ("transformer_lens", "nnsight"):
        monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, f"{name}.model_bridge", None)
    monkeypatch.setattr(analyze, "ROUNDS", 1)
    bench(
        *("analyze", "--length", "3", "--examples", "4"),
        prints=[
            "TransformerLens is not installed, so it is not compared with",
            "nnsight is not installed, so it is not compared with",
            "12 heads, 3 tasks, lengths 3, 4 examples each, resample",
            "head maps of tiny:transfer: lgbench # s",
            "head maps of tiny:transfer: plain loop over heads # s, # times as long; numbers differ by at most #",
            "on # threads; medians of 1 rounds, processor time",
        ],
    )


@pytest.mark.nightly
def test_hugging_face_models(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from benchmarks import huggingface

    (program := tmp_path / "lm_eval").write_text(_HARNESS.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(huggingface, "_SIZE", {})
    bench(
        "hf",
        "--length",
        "2",
        prints=[
            "lgbench, one prompt of the shortest length: # s, # MB, nearly all start-up",
            "lgbench: # s, # MB; of these # s for 256 replies (# reach the cap), the rest start-up and asking 16 again "
            "one by one",
            "lm_eval --batch_size 256: # s, # MB",
            "255 replies are the same, 1 differ",
            "lgbench takes # times as long",
        ],
    )


def test_without_the_programs_to_compare_with(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from benchmarks import huggingface

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(huggingface, "run_process", lambda command: Usage(1.0, 1.0, 1.0))
    monkeypatch.setattr(huggingface, "_described", lambda usage, output: "lgbench")
    bench(
        "hf",
        prints=[
            "lgbench, one prompt of the shortest length: # s, # MB, nearly all start-up",
            'lm_eval is not on the PATH, so there is nothing to compare with: pip install "lm-eval[hf]==0.4.13"',
            "lgbench",
        ],
    )
