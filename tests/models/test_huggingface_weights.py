"""Which files of MODEL `hf:...` are loaded: plain ones of its folder, exactly those that the recorded hash covers."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from benchmarks.llama import make_llama
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError

INDEX = "model.safetensors.index.json"


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(name="sharded")
def _sharded(folder: Path, tmp_path: Path) -> Path:
    """The same model in several files."""
    copy = Path(shutil.copytree(folder, tmp_path / "sharded"))
    (copy / "model.safetensors").unlink()
    AutoModelForCausalLM.from_pretrained(folder).save_pretrained(copy, max_shard_size="20KB")
    assert len(list(copy.glob("model-*.safetensors"))) > 1
    return copy


def sha256(folder: Path, **options: str) -> tuple[str, ...]:
    return load_model(f"hf:{folder}", options).system.source_sha256


def renamed_shard(folder: Path, name: object) -> str:
    """Let the index name the first shard differently; its true name."""
    index = json.loads((folder / INDEX).read_text("utf-8"))
    first = min(index["weight_map"].values())
    index["weight_map"] = {key: name if file == first else file for key, file in index["weight_map"].items()}
    (folder / INDEX).write_text(json.dumps(index), encoding="utf-8")
    return str(first)


@pytest.mark.parametrize(
    "name",
    [
        "../elsewhere/model-1.safetensors",
        "{tmp_path}/elsewhere/model-1.safetensors",
        "inner/model-1.safetensors",
        "inner\\model-1.safetensors",
        "C:model-1.safetensors",
        "model-1.bin",
        "",
        7,
    ],
)
def test_an_index_names_plain_files_of_its_folder_only(sharded: Path, tmp_path: Path, name: object) -> None:
    given = name.replace("{tmp_path}", str(tmp_path)) if isinstance(name, str) else name
    first = renamed_shard(sharded, given)
    for place in (tmp_path / "elsewhere", sharded / "inner"):
        place.mkdir()
        shutil.copy(sharded / first, place / "model-1.safetensors")
    for odd in ("model-1.bin", "inner\\model-1.safetensors", "C:model-1.safetensors"):
        shutil.copy(sharded / first, sharded / odd)
    with pytest.raises(LgbenchError, match=r"Only plain names such as 'model-00001-of-00002\.safetensors' are allowed"):
        load_model(f"hf:{sharded}")


def test_an_index_that_is_none_is_refused(sharded: Path) -> None:
    for content, message in (("{", "is not valid JSON"), ("[]", "is not a JSON object"), ("{}", "has no weight_map")):
        (sharded / INDEX).write_text(content, encoding="utf-8")
        with pytest.raises(LgbenchError, match=message):
            load_model(f"hf:{sharded}")
    for first in [*sharded.glob("model-*.safetensors")][:1]:
        first.unlink()
    (sharded / INDEX).write_text(json.dumps({"weight_map": {"a": first.name}}), encoding="utf-8")
    with pytest.raises(LgbenchError, match=rf"lacks '{first.name}', which {INDEX} names"):
        load_model(f"hf:{sharded}")


def test_a_file_that_the_configuration_names_is_plain_too(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "own.safetensors")
    shutil.copy(copy / "own.safetensors", tmp_path / "own.safetensors")
    config = json.loads((copy / "config.json").read_text("utf-8"))
    for name in ("own.safetensors", "../own.safetensors", "../own.safetensors.index.json", "own.bin"):
        (copy / "config.json").write_text(json.dumps(config | {"transformers_weights": name}), encoding="utf-8")
        if name == "own.safetensors":
            assert sha256(copy) == sha256(folder)
            continue
        with pytest.raises(LgbenchError, match=r"config\.json names the file .* Only plain names"):
            load_model(f"hf:{copy}")


def test_what_is_loaded_is_hashed_and_nothing_else(folder: Path, sharded: Path) -> None:
    before = sha256(sharded)
    save_file(load_file(folder / "model.safetensors"), sharded / "a-decoy.safetensors")
    assert sha256(sharded) == before
    for shard in sorted(sharded.glob("model-*.safetensors")):
        original = shard.read_bytes()
        save_file({name: tensor + 1 for name, tensor in load_file(shard).items()}, shard, {"format": "pt"})
        assert sha256(sharded) != before, f"{shard.name} is loaded"
        shard.write_bytes(original)
    # transformers prefers the one file to the index beside it.
    shutil.copy(folder / "model.safetensors", sharded)
    assert sha256(sharded) == sha256(folder)


def test_weights_that_are_links_lead_nowhere_else(sharded: Path, tmp_path: Path) -> None:
    shard = min(sharded.glob("model-*.safetensors"))
    before = sha256(sharded)
    (sharded / "kept").mkdir()
    shard.rename(sharded / "kept" / "blob")
    shard.symlink_to("kept/blob")
    assert sha256(sharded) == before
    (sharded / "kept" / "blob").rename(tmp_path / "blob")
    shard.unlink()
    shard.symlink_to(tmp_path / "blob")
    with pytest.raises(LgbenchError, match=r"is a link to '.*blob', outside the model's folder"):
        load_model(f"hf:{sharded}")
    shard.unlink()
    shard.symlink_to("nowhere")
    with pytest.raises(LgbenchError, match=f"lacks '{shard.name}'"):
        load_model(f"hf:{sharded}")


@pytest.mark.parametrize("inner", [".", "step-10"])
def test_the_links_of_the_hubs_cache_are_followed(sharded: Path, tmp_path: Path, inner: str) -> None:
    repository = tmp_path / "models--org--name"
    blobs, snapshot = repository / "blobs", repository / "snapshots" / "0123abc" / inner
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(sharded.iterdir())):
        shutil.copy(path, blobs / str(number))
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / str(number), snapshot))
    assert sha256(snapshot) == sha256(sharded)
    (tmp_path / "alias").symlink_to(snapshot)
    assert sha256(tmp_path / "alias") == sha256(sharded)


def make_adapter(folder: Path, place: Path) -> Path:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(place)
    return place


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_the_same_holds_of_an_adapter(folder: Path, tmp_path: Path) -> None:
    adapter = make_adapter(folder, tmp_path / "lora")
    before = sha256(folder, adapter=str(adapter))
    shutil.copy(adapter / "adapter_model.safetensors", adapter / "a-decoy.safetensors")
    assert sha256(folder, adapter=str(adapter)) == before
    (adapter / "adapter_model.safetensors").rename(tmp_path / "moved.safetensors")
    (adapter / "adapter_model.safetensors").symlink_to(tmp_path / "moved.safetensors")
    with pytest.raises(LgbenchError, match=r"is a link to .* outside the model's folder"):
        load_model(f"hf:{folder}", {"adapter": str(adapter)})


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_model_with_an_adapter_in_its_folder_is_ambiguous(folder: Path, tmp_path: Path) -> None:
    both = Path(shutil.copytree(folder, tmp_path / "both"))
    shutil.copytree(make_adapter(folder, tmp_path / "lora"), both, dirs_exist_ok=True)
    with pytest.raises(LgbenchError, match="holds a model and a PEFT adapter"):
        load_model(f"hf:{both}")


def test_parts_of_a_distributed_checkpoint_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    shutil.copy(copy / "model.safetensors", copy / "shard-00000-model-00001-of-00001.safetensors")
    with pytest.raises(LgbenchError, match="parts of a distributed checkpoint"):
        load_model(f"hf:{copy}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": 30_000, "head_dim": 15_000}, "describes 7,211,070,000 numbers, its weights hold 7,952"),
        ({"vocab_size": 10**9}, "describes 32,000,005,200 numbers, its weights hold 7,952"),
        ({"num_hidden_layers": 50_000}, "has 50,000 layers, its weights 21 tensors"),
    ],
)
def test_a_configuration_far_larger_than_its_weights_takes_no_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, int], message: str
) -> None:
    def load(*_: object, **__: object) -> None:
        pytest.fail("transformers would take the memory")

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", load)
    with pytest.raises(LgbenchError, match=message):
        load_model(f"hf:{copy}")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_an_adapter_far_larger_than_its_weights_takes_no_memory(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reset(self: Any, name: str, *arguments: object, **options: object) -> None:
        if not self.lora_A[name].weight.is_meta:
            pytest.fail("peft takes the memory")
        reset_as_usual(self, name, *arguments, **options)

    adapter = make_adapter(folder, tmp_path / "lora")
    layer: Any = importlib.import_module("peft.tuners.lora.layer").LoraLayer
    reset_as_usual = layer.reset_lora_parameters
    monkeypatch.setattr(layer, "reset_lora_parameters", reset)
    config = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"r": 10**6}), encoding="utf-8")
    with pytest.raises(LgbenchError, match="its weights have other shapes than the model's configuration says"):
        load_model(f"hf:{folder}", {"adapter": str(adapter)})


def test_tied_weights_are_stored_once(tmp_path: Path) -> None:
    make_llama(tmp_path, tie_word_embeddings=True)
    assert "lm_head.weight" not in load_file(tmp_path / "model.safetensors")
    assert load_model(f"hf:{tmp_path}").system.kind == "hf"


def test_numbers_that_are_too_long_to_read_are_told(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = (copy / "config.json").read_text("utf-8")
    (copy / "config.json").write_text(config.replace('"hidden_size": 16', f'"hidden_size": {"9" * 5000}'), "utf-8")
    with pytest.raises(LgbenchError, match=r"config\.json' is not valid JSON: Exceeds the limit"):
        load_model(f"hf:{copy}")
