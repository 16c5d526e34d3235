"""`lgbench finetune` on a small model made on the spot."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from benchmarks.llama import SIGNS, make_llama, make_tokenizer
from lgbench.cli import main
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.experiments.finetune import Finetune
from lgbench.models.loading import load_model
from lgbench.models.tokenizer import PAD, PUBLISHED
from lgbench.training.finetuning import load_pretrained
from lgbench.training.record import read_training_record
from lgbench.training.state import STATE
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")
RUN = "mini-v1-capitalize-reverse-main_only-seed0"


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    small: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    return make_llama(folder, chat=True, initializer_range=0.05, **small)


def finetune(folder: Path, output: Path, *options: str, group: str = "capitalize-reverse") -> str:
    """The template that the command prints; the run is in a folder of its own below `output`."""
    command = [sys.executable, "-m", "lgbench", "finetune", f"hf:{folder}", group, "main_only", "--output", str(output)]
    settings = ("batch=64", "learning_rate=1e-2", "evaluate_every=4")
    command += [text for setting in settings for text in ("--set", setting)]
    done = subprocess.run([*command, *options], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("template=")[1].strip().rstrip("'")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return dict(AutoModelForCausalLM.from_pretrained(folder).state_dict())


def test_the_written_folder_replies_as_the_trained_module_did(folder: Path, tmp_path: Path) -> None:
    template = finetune(folder, tmp_path / "run", "--set", "steps=40", "--set", "evaluate_every=20")
    assert template == "<s><{task}>{prompt}"
    run = tmp_path / "run" / RUN
    curve = json.loads((run / "training.json").read_text("utf-8"))["curve"]
    predictor: Any = load_model(f"hf:{run / 'model'}", {"template": template}).predictor
    counts = {}
    for length in MINI.group("capitalize-reverse").grid:
        examples = draw_cell(MINI, "capitalize_reverse", length, split="dev")
        replies = predictor.predict([example.prompt for example in examples], "capitalize_reverse")
        counts[str(length)] = sum(reply == each.target for reply, each in zip(replies, examples, strict=True))
    assert counts == curve[-1]["correct"]["capitalize_reverse"]
    assert curve[-1]["loss"] < curve[0]["loss"]


def test_a_run_in_two_pieces_ends_in_the_same_weights(folder: Path, tmp_path: Path) -> None:
    finetune(folder, tmp_path / "whole", "--set", "steps=8", "--lora", "2")
    command = [sys.executable, "-c", _KILLED, f"hf:{folder}", str(tmp_path / "pieces")]
    killed = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    assert killed.returncode == 9, killed.stderr
    assert sorted(path.name for path in (tmp_path / "pieces" / RUN).iterdir()) == [".lock", STATE, "training.json"]
    assert read_training_record(tmp_path / "pieces" / RUN).steps_done == 4
    finetune(folder, tmp_path / "pieces", "--set", "steps=8", "--lora", "2")
    whole, pieces = (weights(tmp_path / each / RUN / "model") for each in ("whole", "pieces"))
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)


# Dies when the state after 4 steps has just been saved.
_KILLED = """
import os, sys
from lgbench.cli import main
from lgbench.training import trainer
save = trainer.save_state
trainer.save_state = lambda *arguments: (save(*arguments), os._exit(9))
changes = ["batch=64", "learning_rate=1e-2", "evaluate_every=4", "steps=8"]
options = [text for change in changes for text in ("--set", change)]
sys.argv = ["lgbench", "finetune", sys.argv[1], "capitalize-reverse", "main_only", "--lora", "2",
            "--output", sys.argv[2], *options]
main()
"""


def run_command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["lgbench", "finetune", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (SafetensorError("No space left"), "No space left"),
    ],
)
def test_a_model_that_could_not_be_written_is_written_by_resume(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    message: str,
) -> None:
    def fail(self: Any, place: Path) -> None:
        if (run / "training.json").exists():  # not before training, where it is tried
            (place / "config.json").write_text("{", encoding="utf-8")
            raise error
        save(self, place)

    save = LlamaForCausalLM.save_pretrained
    run = tmp_path / "run" / RUN
    command = [f"hf:{folder}", "capitalize-reverse", "main_only", "--output", str(run.parent)]
    command += ["--set", "steps=1", "--set", "batch=64", "--set", "evaluate_every=1"]
    with monkeypatch.context() as broken:
        broken.setattr(LlamaForCausalLM, "save_pretrained", fail)
        assert run_command(broken, *command) == 1
    told = f"Cannot write to {str(run / 'model')!r}: {message}. The trained weights are kept: rerun to go on.\n"
    assert told in capsys.readouterr().err
    assert {path.name for path in run.iterdir()} == {"training.json", "checkpoint"}
    left = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    killed = run / ".model.x.lgbench-tmp"  # what a kill leaves
    killed.mkdir()
    (killed / "config.json").write_text("{", encoding="utf-8")
    assert run_command(monkeypatch, *command) == 0
    template = capsys.readouterr().out.split("template=")[1].strip().rstrip("'")
    assert len(load_model(f"hf:{run / 'model'}", {"template": template}).predictor.predict(["ab="], "reverse")) == 1  # type: ignore[union-attr]
    assert not killed.exists()
    assert {path: path.read_bytes() for path in left} == left, "nothing was trained again"
    written = (run / "model" / "model.safetensors").stat().st_mtime_ns
    assert run_command(monkeypatch, *command) == 0
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device"), "/model': No space left on device. Nothing is trained yet."),
        (SafetensorError("No space left"), "/model': No space left. Nothing is trained yet."),
        (ValueError("unsound\nsettings"), "transformers cannot write this model: unsound\n"),
        (RuntimeError("shared tensors"), "transformers cannot write this model: shared tensors\n"),
    ],
)
@pytest.mark.parametrize("kind", [LlamaForCausalLM, PreTrainedTokenizerFast])
def test_what_could_not_be_written_is_told_before_training(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: type,
    error: Exception,
    message: str,
) -> None:
    def fail(self: Any, place: Path) -> None:
        raise error

    monkeypatch.setattr(kind, "save_pretrained", fail)
    monkeypatch.setattr("lgbench.training.trainer.take_step", lambda *_, **__: pytest.fail("it trains"))
    command = [f"hf:{folder}", "capitalize-reverse", "main_only", "--output", str(tmp_path / "run")]
    assert run_command(monkeypatch, *command) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run" / RUN).exists()


@pytest.mark.filterwarnings("ignore")  # transformers' own, about the settings
@pytest.mark.parametrize("lora", ["0", "2"])
def test_of_the_settings_for_generating_only_the_marks_are_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lora: str
) -> None:
    base, run = Path(shutil.copytree(folder, tmp_path / "base")), tmp_path / "run" / RUN
    odd = {"temperature": 0.9, "top_p": 0.6, "eos_token_id": 2, "repetition_penalty": 1.2, "max_new_tokens": 3}
    (base / "generation_config.json").write_text(json.dumps(odd), encoding="utf-8")
    config = json.loads((base / "config.json").read_text("utf-8"))
    (base / "config.json").write_text(json.dumps(config | {"temperature": 0.5, "top_k": 3}), encoding="utf-8")
    command = [f"hf:{base}", "capitalize-reverse", "main_only", "--output", str(run.parent), "--lora", lora]
    command += ["--set", "steps=1", "--set", "batch=64", "--set", "evaluate_every=1"]
    assert run_command(monkeypatch, *command) == 0
    written = json.loads((run / "model" / "generation_config.json").read_text("utf-8"))
    tokenizer = AutoTokenizer.from_pretrained(run / "model")
    assert {name: value for name, value in written.items() if not name.startswith(("_", "transformers"))} == {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    # As an older version left it: trained, but without the model.
    shutil.rmtree(run / "model")
    assert run_command(monkeypatch, *command) == 0
    assert (run / "model" / "model.safetensors").is_file()


def test_the_place_of_the_model_is_free_before_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / RUN / "model").mkdir(parents=True)
    command = [f"hf:{folder}", "capitalize-reverse", "main_only", "--output", str(tmp_path / "run")]
    assert run_command(monkeypatch, *command) == 1
    assert f"run/{RUN}/model' is where the trained model goes, but it is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run" / RUN).iterdir()] == ["model"]


def test_a_model_with_too_few_positions_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = make_tokenizer()
    sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40}
    marks = {"bos_token_id": 1, "eos_token_id": 2}
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), **sizes, **marks)).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    monkeypatch.setattr("lgbench.training.trainer.take_step", lambda *_, **__: pytest.fail("it trains"))
    command = [f"hf:{tmp_path / 'base'}", "capitalize-reverse", "main_only", "--output", str(tmp_path / "run")]
    assert run_command(monkeypatch, *command) == 1
    error = capsys.readouterr().err
    assert re.search(r"given \d+ tokens, as many as the longest prompt and its target have, raised IndexError", error)


def test_what_cannot_be_finetuned_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def message(*arguments: str) -> str:
        assert run_command(monkeypatch, *arguments, "--output", str(tmp_path / "run")) == 1
        assert not (tmp_path / "run").exists()
        return capsys.readouterr().err

    told = message(str(folder), "capitalize-reverse", "main_only")
    assert f"{str(folder)!r} is not a pretrained model. Valid: hf:FOLDER or hf:ID on the Hub." in told
    assert "'strings' is not a group" in (told := message(f"hf:{folder}", "strings", "main_only"))
    assert "capitalize-reverse" in told
    assert "'open' is not" in message(f"hf:{folder}", "capitalize-reverse", "open")
    told = message(f"hf:{folder}", "capitalize-reverse", "main_only", "--set", "step=1")
    assert "did you mean 'steps'" in told.lower()
    assert "layers" not in told, "which would be refused"
    assert "There is no folder './nowhere'" in message("hf:./nowhere", "capitalize-reverse", "main_only")
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "peft" else find(name))
    told = message(f"hf:{folder}", "capitalize-reverse", "main_only", "--lora", "2", "--set", "steps=1")
    assert "`lgbench finetune` needs peft. Run, in a clone of lgbench: pip install" in told


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_adapters_train_a_small_part(folder: Path) -> None:
    pytest.importorskip("peft")
    module, _ = load_pretrained(folder, lora_rank=2)
    trained = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert all("lora" in name or "embed_tokens" in name or "lm_head" in name for name in trained)
    assert any("lora" in name for name in trained)


def test_the_loss_is_over_the_models_whole_vocabulary(folder: Path) -> None:
    module, tokenizer = load_pretrained(folder, lora_rank=0)
    row = [*PUBLISHED.encode_prompt("shortest_path", "[2]:[3],[3]:[2]?[2]>[3]="), *PUBLISHED.encode("[2][3]")]
    ours = module(torch.tensor([row])).log_softmax(-1)[0]
    text = f"{tokenizer.bos_token}<shortest_path>[2]:[3],[3]:[2]?[2]>[3]=[2][3]"
    tokens = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
    assert tokens.shape == (1, len(row))
    theirs = module.model(tokens).logits.log_softmax(-1)[0]
    table: Any = module.table
    torch.testing.assert_close(ours[:, PAD + 1 :], theirs[:, table[PAD + 1 :]])
    assert len(table) == len(PUBLISHED)


@pytest.mark.nightly
def test_new_tokens_survive_in_the_written_tokenizer(folder: Path, tmp_path: Path) -> None:
    finetune(folder, tmp_path / "run", "--set", "steps=1", "--set", "evaluate_every=1", group="maze-path")
    assert AutoTokenizer.from_pretrained(folder).chat_template
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "mini-v1-maze-path-main_only-seed0" / "model")
    assert tokenizer.chat_template is None  # it was trained on bare prompts
    tokens = tokenizer("<shortest_path>[2]:[64]=", add_special_tokens=False)["input_ids"]
    assert [tokenizer.decode([token]) for token in tokens] == ["<shortest_path>", "[2]", ":", "[64]", "="]


def test_a_tokenizer_without_some_characters_is_refused(tmp_path: Path) -> None:
    make_llama(tmp_path, signs=SIGNS.replace("7", "").replace("Q", ""))
    with pytest.raises(LgbenchError, match="no single token of its own for '7', 'Q'"):
        load_pretrained(tmp_path, lora_rank=0)


def test_seeds_are_runs_of_one_command(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [part for each in ("steps=2", "batch=64", "evaluate_every=1") for part in ("--set", each)]
    monkeypatch.chdir(folder.parent)
    command = [f"hf:{folder.name}", "capitalize-reverse", "main_only", "--output", str(tmp_path / "run"), *settings]
    assert run_command(monkeypatch, *command, "--seeds", "2", "--dry-run") == 0
    assert "2 runs, " in capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    assert run_command(monkeypatch, *command, "--seed", "0,7", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["seed"] for each in printed["report"]] == [0, 7]
    assert {each["template"] for each in printed["report"]} == {"<s><{task}>{prompt}"}
    assert all((Path(each["model"]) / "model.safetensors").is_file() for each in printed["report"])
    assert Finetune(model=f"hf:{folder.name}", group="g", arm="a").options()["model"] == f"hf:{folder}"
    assert Finetune(model="hf:some/id", group="g", arm="a").options()["model"] == "hf:some/id"
