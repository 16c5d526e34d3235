"""The suite and its results in the formats of other programs, read back by these programs where they are installed."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.resources
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from lgbench.data.cells import checked_cell, committed_digest, draw_cell
from lgbench.data.groups import TRAINED_ARMS
from lgbench.data.stream import training_stream
from lgbench.data.suites import Cell, load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.planning import make_plan
from lgbench.export.every_eval_ever import export_every_eval_ever
from lgbench.export.lm_eval import export_lm_eval
from lgbench.models.builtin import Random
from lgbench.models.loaded import Model
from lgbench.results.schema import SystemInfo
from lgbench.util.errors import LgbenchError
from lgbench.util.records import InvalidFileError
from tests.full_disk import full_disk

MINI = load_suite("mini-v1")
CARRIES = "011"


def test_lm_eval_folder_holds_the_published_cells(tmp_path: Path) -> None:
    plan = make_plan("mini-v1", tasks=["carry_only", "mqar"])
    assert export_lm_eval(plan, tmp_path / "out", template="<{task}>{prompt}") == "lgbench_mini_v1"
    for cell in plan.cells:
        lines = (tmp_path / "out" / "data" / f"{cell.task}-{cell.length}.jsonl").read_text("utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        pairs = "".join(json.dumps([each["prompt"], each["target"]], separators=(",", ":")) + "\n" for each in records)
        assert hashlib.sha256(pairs.encode()).hexdigest() == committed_digest(MINI, cell)
        assert all(each["text"] == f"<{cell.task}>{each['prompt']}" for each in records)
        task = (tmp_path / "out" / f"lgbench_mini_v1_{cell.task}_{cell.length}.yaml").read_text("utf-8")
        longest = max(len(each["prompt"]) for each in records)
        assert f"max_gen_toks: {4 * longest + 32}\n" in task
    with pytest.raises(LgbenchError, match="is not empty"):
        export_lm_eval(plan, tmp_path / "out")
    with pytest.raises(LgbenchError, match=r"lacks \{prompt\}"):
        export_lm_eval(plan, tmp_path / "other", template="?")
    with pytest.raises(LgbenchError, match=r"The template '\{prompt\}\\udcff' is not UTF-8"):
        export_lm_eval(plan, tmp_path / "other", template="{prompt}\udcff")
    assert not (tmp_path / "other").exists()


def test_an_export_that_fails_can_be_repeated(tmp_path: Path) -> None:
    plan = make_plan("mini-v1", tasks=["mqar"], lengths=[4])
    evaluate(Random(), tasks=["mqar"], lengths=[4], limit=20, output=tmp_path / "run")
    for name, export in (
        ("lm-eval", lambda folder: export_lm_eval(plan, folder)),
        ("eee", lambda folder: export_every_eval_ever(tmp_path / "run", folder)),
    ):
        folder = tmp_path / "a" / "missing" / name
        with full_disk(room=4000), pytest.raises(LgbenchError, match=rf"Cannot write to .*{name}': File too large\."):
            export(folder)
        assert list(folder.parent.iterdir()) == [], "an export that needs more room than there is"
        export(folder)
        assert list(folder.parent.iterdir()) == [folder]
        shutil.rmtree(tmp_path / "a")


def written_loader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that was written into a task folder, with a list in the place of a data set."""
    stub: Any = types.ModuleType("datasets")
    stub.Dataset = types.SimpleNamespace(from_list=list)
    monkeypatch.setitem(sys.modules, "datasets", stub)
    spec = importlib.util.spec_from_file_location("written_loader", folder / "lgbench_cells.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_written_loader_takes_the_published_cells_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    export_lm_eval(make_plan("mini-v1", tasks=["carry_only", "shortest_path"], lengths=[4]), out)
    loader = written_loader(out, monkeypatch)
    for task in ("carry_only", "shortest_path"):
        told = (out / f"lgbench_mini_v1_{task}_4.yaml").read_text("utf-8")
        given = {key: told.split(f"  {key}: ")[1].split("\n")[0] for key in ("cell", "sha256")}
        documents = loader.load(**given, revision=None)["test"]
        examples = checked_cell(MINI, Cell(task, 4))
        assert [(each["prompt"], each["target"]) for each in documents] == [
            (each.prompt, each.target) for each in examples
        ]
        path = out / "data" / f"{task}-4.jsonl"
        lines = path.read_text("utf-8").splitlines(keepends=True)
        record = json.loads(lines[7])
        for edited in (
            [*lines[:7], json.dumps(record | {"target": record["target"] + "1"}) + "\n", *lines[8:]],
            [*lines[:7], json.dumps(record | {"prompt": "1" + record["prompt"]}) + "\n", *lines[8:]],
            [lines[1], lines[0], *lines[2:]],
            lines[:-1],
        ):
            path.write_text("".join(edited), encoding="ascii")
            with pytest.raises(ValueError, match=f"The examples of {task}-4 are not the published ones"):
                loader.load(**given)


def test_the_written_loader_scores_by_strict_exact_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export_lm_eval(make_plan("mini-v1", tasks=["carry_only"], lengths=[4]), tmp_path / "out")
    score = written_loader(tmp_path / "out", monkeypatch).score
    assert score({"target": "0110"}, ["0110"]) == {"exact_match": 1.0}
    for reply in ("0110\n", " 0110", "0110 ", "011", "110", ""):
        assert score({"target": "0110"}, [reply]) == {"exact_match": 0.0}


def make_constant_model(folder: Path) -> None:
    """A Llama that writes 011 after every =, and then ends: right for some of the shortest `carry_only` prompts."""
    import torch
    from transformers import LlamaForCausalLM

    from benchmarks.llama import SIGNS, make_llama

    make_llama(folder, signs=f"{SIGNS}#", hidden_size=128, num_attention_heads=4)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    carries = vocabulary[CARRIES] = vocabulary.pop("#")  # never read, since texts are cut into single characters
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    model = LlamaForCausalLM.from_pretrained(folder)
    size = model.config.vocab_size
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(size, 128))
        model.lm_head.weight.zero_()
        model.lm_head.weight[carries, vocabulary["="]] = 1.0
        model.lm_head.weight[2, carries] = 1.0  # 2 is the end token
    model.save_pretrained(folder)


@pytest.mark.peers
def test_lm_eval_counts_what_we_count(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    pytest.importorskip("transformers")
    from lgbench.models.loading import load_model

    make_constant_model(tmp_path / "model")
    tasks = ["carry_only", "repeat_first"]
    name = export_lm_eval(make_plan("mini-v1", tasks=tasks), tmp_path / "tasks")
    ours = evaluate(load_model(f"hf:{tmp_path / 'model'}"), tasks=tasks)
    arguments = ["--model", "hf", "--model_args", f"pretrained={tmp_path / 'model'}", "--device", "cpu"]
    arguments += ["--include_path", str(tmp_path / "tasks"), "--tasks", name, "--batch_size", "64"]
    done = subprocess.run(
        [sys.executable, "-m", "lm_eval", *arguments, "--log_samples", "--output_path", str(tmp_path / "theirs")],
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = {}
    for path in (tmp_path / "theirs").rglob("samples_*.jsonl"):
        samples = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        cell = samples[0]["doc"]["id"].rpartition("-")[0]
        theirs[cell] = (sum(int(sample["exact_match"]) for sample in samples), len(samples))
    assert theirs == {f"{cell.task}-{cell.length}": (cell.counts.correct, cell.counts.total) for cell in ours.cells}
    expected = sum(example.target == CARRIES for example in draw_cell(MINI, "carry_only", 2))
    assert theirs["carry_only-2"] == (expected, 256)
    assert expected > 0


@pytest.mark.slow
def test_the_data_set_is_the_suite(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    from lgbench.export.dataset import export_dataset

    suite = dataclasses.replace(MINI, groups=(MINI.group("copy-mqar"),))
    with full_disk(room=30_000), pytest.raises(LgbenchError, match=r"Cannot write to .*File too large"):
        export_dataset(suite, tmp_path, train_examples=9000)
    assert list(tmp_path.iterdir()) == []
    written = export_dataset(suite, tmp_path, train_examples=9000)
    assert {path.relative_to(tmp_path).as_posix() for path in written} == {
        "README.md",
        *(f"test/{task}.parquet" for task in ("string_copy", "mqar", "reverse")),
        *(f"train/copy-mqar/{arm}.parquet" for arm in TRAINED_ARMS),
    }
    rows = pq.read_table(tmp_path / "test" / "mqar.parquet").to_pylist()
    examples = [example for length in MINI.grid("mqar") for example in checked_cell(MINI, Cell("mqar", length))]
    assert [(row["id"], row["length"], row["prompt"], row["target"]) for row in rows] == [
        (example.id, example.length, example.prompt, example.target) for example in examples
    ]
    rows = pq.read_table(tmp_path / "train" / "copy-mqar" / "transfer.parquet").to_pylist()
    stream = training_stream(MINI, "copy-mqar", "transfer")
    assert [row["prompt"] for row in rows] == [next(stream).prompt for _ in range(9000)]
    card = (tmp_path / "README.md").read_text("utf-8")
    assert all(path.relative_to(tmp_path).as_posix() in card for path in written[:-1])
    with pytest.raises(LgbenchError, match="is not empty"):
        export_dataset(suite, tmp_path, train_examples=0)


def test_every_eval_ever_holds_every_reply(tmp_path: Path) -> None:
    result = evaluate(Random(), tasks=["repeat_first", "dfs_trace"], lengths=[4], limit=30, output=tmp_path / "run")
    record_path, samples_path = export_every_eval_ever(tmp_path / "run", tmp_path / "out")
    record = json.loads(record_path.read_text("utf-8"))
    samples = [json.loads(line) for line in samples_path.read_text("utf-8").splitlines()]
    assert [each["score_details"]["score"] for each in record["evaluation_results"]] == [
        cell.counts.correct / cell.counts.total for cell in result.cells
    ]
    assert len(samples) == record["detailed_evaluation_results"]["total_rows"] == 60
    assert (tmp_path / "out" / record["detailed_evaluation_results"]["file_path"]) == samples_path
    digest = hashlib.sha256(samples_path.read_bytes()).hexdigest()
    assert record["detailed_evaluation_results"]["checksum"] == digest
    for entry, cell in zip(record["evaluation_results"], result.cells, strict=True):
        of_cell = [each for each in samples if each["evaluation_result_id"] == entry["evaluation_result_id"]]
        assert sum(each["evaluation"]["is_correct"] for each in of_cell) == cell.counts.correct
    prompts = [each["input"]["raw"] for each in samples]
    assert [each["output"]["raw"][0] for each in samples] == Random().predict(prompts, "any")
    _validate(record, samples)


@pytest.mark.parametrize(
    ("model", "model_id"),
    [
        ("hf:me/base", "me/base@step-3"),
        ("hf:me/base@step-3", "me/base@step-3"),
        ("hf:made/here", "unknown/here@step-3"),
        ("hf:./here", "unknown/here@step-3"),
    ],
)
def test_every_eval_ever_tells_models_of_one_base_apart(
    model: str, model_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("made/here").mkdir(parents=True)
    system = SystemInfo(model=model, kind="hf", options={"revision": "step-3", "adapter": "me/lora"})
    evaluate(Model(Random(), system), tasks=["mqar"], lengths=[4], limit=5, output="run")
    record_path, _ = export_every_eval_ever(Path("run"), Path("out"))
    described = json.loads(record_path.read_text("utf-8"))["model_info"]
    assert described["id"] == model_id
    assert described["additional_details"]["option_adapter"] == "me/lora"


def _validate(record: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """Against the published schemas, where their package is installed."""
    if importlib.util.find_spec("every_eval_ever") is None or importlib.util.find_spec("jsonschema") is None:
        pytest.skip("the published schemas need: pip install every-eval-ever jsonschema")
    jsonschema: Any = importlib.import_module("jsonschema")
    schemas = importlib.resources.files("every_eval_ever") / "schemas"
    aggregate, instance = (
        jsonschema.Draft202012Validator(json.loads((schemas / f"{name}.schema.json").read_text("utf-8")))
        for name in ("eval", "instance_level_eval")
    )
    aggregate.validate(record)
    for sample in samples:
        instance.validate(sample)
    with pytest.raises(jsonschema.ValidationError):
        aggregate.validate(record | {"unknown_field": 1})
    with pytest.raises(jsonschema.ValidationError):
        instance.validate(samples[0] | {"output": None})


def test_a_result_that_does_not_re_score_is_not_exported(tmp_path: Path) -> None:
    evaluate(Random(), tasks=["mqar"], lengths=[4], limit=5, output=tmp_path / "run")
    path = tmp_path / "run" / "result.json"
    path.write_text(path.read_text("utf-8").replace('"chars_total": ', '"chars_total": 1'), encoding="utf-8")
    with pytest.raises(InvalidFileError):
        export_every_eval_ever(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
