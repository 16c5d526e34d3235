"""`lgbench export`: the same model in other forms gives the same logits and replies."""

from __future__ import annotations

import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch

from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models.checkpoint import CheckpointRecord, load_module, round_checkpoint, save_checkpoint
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.folders import checkpoint_folder
from lgbench.models.hf_export import export_hf
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import Transformer
from lgbench.training.spec import Recipe
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from tests.full_disk import full_disk

MINI = load_suite("mini-v1")
# Imported like this, its types are left unread: they are many, and loose.
transformers: Any = importlib.import_module("transformers")


@pytest.fixture(name="checkpoint", scope="module", params=["", "head_size=12"], ids=["even heads", "wide heads"])
def trained_checkpoint(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A model that has learned to stop, so that replies end."""
    folder: Path = tmp_path_factory.mktemp("run")
    changes = [
        *request.param.split(),
        "layers=2",
        "heads=2",
        "width=16",
        "hidden=24",
        "theta=500",
        "steps=40",
        "batch=32",
    ]
    changes += ["learning_rate=1e-2", "precision=float32"]
    group = MINI.group("copy-mqar")
    train(Recipe(MINI, changes=changes).plan(group.name, "transfer", 0), folder)
    return folder / "checkpoint"


def reference(checkpoint: Path) -> tuple[CheckpointPredictor, Transformer]:
    _, module = load_module(checkpoint)
    assert isinstance(module, Transformer)
    return CheckpointPredictor(module), module


@pytest.mark.filterwarnings("ignore")  # transformers' own
def test_transformers_gives_the_same_logits_tokens_and_replies(checkpoint: Path, tmp_path: Path) -> None:
    export_hf(checkpoint, tmp_path)
    predictor, module = reference(checkpoint)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    assert type(theirs).__name__ == "LlamaForCausalLM"
    tokens = torch.randint(0, len(PUBLISHED), (4, 60))
    with torch.no_grad():
        torch.testing.assert_close(theirs(tokens).logits, module(tokens), atol=1e-4, rtol=1e-4)

    assert theirs.generation_config.max_new_tokens == 2048, "not the 20 that transformers would write by itself"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.is_fast
    for task, length in (("string_copy", 4), ("mqar", 6)):
        for example in draw_cell(MINI, task, length, split="dev")[:6]:
            text = f"<begin><{task}>{example.prompt}"
            encoded = tokenizer(text, return_tensors="pt")
            assert encoded["input_ids"].tolist() == [PUBLISHED.encode_prompt(task, example.prompt)]
            written = theirs.generate(
                input_ids=encoded["input_ids"], max_new_tokens=4 * len(example.prompt) + 32, do_sample=False
            )
            reply = tokenizer.decode(written[0, encoded["input_ids"].shape[1] :], skip_special_tokens=True)
            assert [reply] == predictor.predict([example.prompt], task)


@pytest.mark.filterwarnings("ignore")
def test_the_exported_tokenizer_reads_every_task(checkpoint: Path, tmp_path: Path) -> None:
    export_hf(checkpoint, tmp_path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for task in MINI.tasks:
        example = draw_cell(MINI, task.name, MINI.grid(task.name)[-1], split="shots")[0]
        text = f"<begin><{task.name}>{example.prompt}{example.target}"
        assert tokenizer(text)["input_ids"] == PUBLISHED.encode_prompt(task.name, example.prompt + example.target)
        assert tokenizer.decode(tokenizer(example.target)["input_ids"]) == example.target


def test_a_model_without_rotary_positions_is_no_llama(checkpoint: Path, tmp_path: Path) -> None:
    _, module = reference(checkpoint)
    record = load_record(checkpoint).replace('"rope"', '"nope"')
    save_checkpoint(tmp_path / "nope", module, CheckpointRecord.model_validate_json(record))
    with pytest.raises(LgbenchError, match="only reference models with position=rope"):
        export_hf(tmp_path / "nope", tmp_path / "hf")


@pytest.mark.parametrize(
    ("name", "number", "said"),
    [
        ("layers", 1, "do not fit the model that checkpoint.json describes"),
        ("layers", 3, "do not fit the model that checkpoint.json describes"),
        ("heads", 0, "at least 1 layer, 1 head"),
    ],
)
def test_a_record_that_does_not_fit_its_weights_is_not_exported(
    name: str, number: int, said: str, checkpoint: Path, tmp_path: Path
) -> None:
    shutil.copytree(checkpoint, tmp_path / "odd")
    record = json.loads(load_record(checkpoint))
    record["architecture"][name] = number
    (tmp_path / "odd" / "checkpoint.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(LgbenchError, match=said):
        export_hf(tmp_path / "odd", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_what_a_killed_process_left_of_a_checkpoint_is_removed(checkpoint: Path, tmp_path: Path) -> None:
    _, module = reference(checkpoint)
    for name in (".model.safetensors.x.lgbench-tmp", "mine.tmp"):
        (tmp_path / name).write_bytes(b"half")
    save_checkpoint(tmp_path, module, CheckpointRecord.model_validate_json(load_record(checkpoint)))
    assert {path.name for path in tmp_path.iterdir()} == {"mine.tmp", "model.safetensors", "checkpoint.json"}


def load_record(checkpoint: Path) -> str:
    return (checkpoint / "checkpoint.json").read_text("utf-8")


def test_an_export_overwrites_nothing(checkpoint: Path, tmp_path: Path) -> None:
    before = (checkpoint / "model.safetensors").read_bytes()
    for write in (export_hf, round_checkpoint):
        with pytest.raises(LgbenchError, match="is not empty"):
            write(checkpoint, checkpoint)
    assert (checkpoint / "model.safetensors").read_bytes() == before


def test_an_export_that_fails_can_be_repeated(checkpoint: Path, tmp_path: Path) -> None:
    for write, name in ((export_hf, "config.json"), (round_checkpoint, "checkpoint.json")):
        folder = tmp_path / write.__name__
        with full_disk(room=1000), pytest.raises(LgbenchError, match=r"Cannot write to .*File too large"):
            write(checkpoint, folder)
        assert not any(tmp_path.iterdir())
        write(checkpoint, folder)
        assert (folder / name).is_file()
        shutil.rmtree(folder)


def test_the_folder_of_a_run_stands_for_its_checkpoint(checkpoint: Path) -> None:
    assert checkpoint_folder(str(checkpoint.parent)) == checkpoint_folder(str(checkpoint)) == checkpoint


def test_rounding_halves_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    round_checkpoint(checkpoint, tmp_path)
    before, after = reference(checkpoint)[1].state_dict(), reference(tmp_path)[1].state_dict()
    assert all(torch.equal(after[name], before[name].bfloat16().float()) for name in before)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (checkpoint, tmp_path)]
    assert sizes[1] < 0.6 * sizes[0]
