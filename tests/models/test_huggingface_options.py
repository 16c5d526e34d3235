"""What can be set of MODEL `hf:...`, and the code and pickles that do not run unless the user says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from benchmarks.llama import make_llama, make_tokenizer
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.models.huggingface.checkpoint import open_checkpoint
from lgbench.models.huggingface.options import Options
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")
PROMPTS = [example.prompt for example in draw_cell(MINI, "reverse_add", 4)[:8]]


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"), end_weight=2.0)


def replies_of(folder: Path, prompts: Sequence[str] = PROMPTS, **options: str) -> list[str]:
    predictor: Any = load_model(f"hf:{folder}", options).predictor
    return list(predictor.predict(prompts, "reverse_add"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": "1"}, "has no model option 'temperature'. Valid: revision, dtype, device_map"),
        ({"dtype": "int3"}, "'int3' is not a valid dtype for .* Valid: auto, float32, bfloat16, float16"),
        ({"trust_remote_code": "maybe"}, "must be of type bool"),
        ({"style": "chatty"}, "Valid: raw, instruct"),
        ({"template": "{task}"}, "lacks {prompt}"),
        ({"template": "{prompt}", "style": "instruct"}, "template is for style=raw"),
        ({"shots": "2", "style": "raw"}, "shots is for style=instruct"),
        ({"shots": "99"}, "shots=99 is out of range. Valid: 0 to 16"),
        ({"style": "instruct", "chat": "true"}, "has no chat template"),
        ({"adapter": "./nowhere"}, "There is no folder './nowhere'"),
        ({"attn_implementation": "fancy"}, "cannot be loaded"),
    ],
)
def test_options_that_do_not_fit(folder: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        load_model(f"hf:{folder}", options)


def test_the_type_of_the_numbers_is_used_and_recorded(folder: Path, tmp_path: Path) -> None:
    model = load_model(f"hf:{folder}", {"dtype": "bfloat16"})
    result = evaluate(model, tasks=["reverse_add"], lengths=[4], limit=2, output=tmp_path / "run")
    assert result.environment.device == "cpu, bfloat16"
    assert result.system.options == {"dtype": "bfloat16"}
    opened = open_checkpoint(str(folder), Options(dtype="bfloat16")).model
    assert {parameter.dtype for parameter in opened.parameters()} == {torch.bfloat16}


def test_the_kind_of_attention_is_used(folder: Path) -> None:
    for kind in ("eager", "sdpa"):
        opened = open_checkpoint(str(folder), Options(attn_implementation=kind)).model
        assert opened.config._attn_implementation == kind
    assert replies_of(folder, attn_implementation="eager") == replies_of(folder)


def test_a_place_for_the_model_is_used_and_changes_no_reply(folder: Path) -> None:
    # "meta", a device that every machine has, and that no model is on unless it was told to be.
    for place in ("cpu", "meta"):
        assert open_checkpoint(str(folder), Options(device_map=place)).model.device.type == place
    assert replies_of(folder, device_map="cpu") == replies_of(folder)


def make_model_with_code(folder: Path, marker: Path) -> Path:
    """A Llama under a name of its own, whose code leaves a file behind when it is imported."""
    make_llama(folder, end_weight=2.0)
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    places = {"AutoConfig": "modeling_odd.OddConfig", "AutoModelForCausalLM": "modeling_odd.OddForCausalLM"}
    settings |= {"model_type": "odd", "architectures": ["OddForCausalLM"], "auto_map": places}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "modeling_odd.py").write_text(
        f"""
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM

Path({str(marker)!r}).touch()

class OddConfig(LlamaConfig):
    model_type = "odd"

class OddForCausalLM(LlamaForCausalLM):
    config_class = OddConfig
""",
        encoding="utf-8",
    )
    return folder


def test_code_that_comes_with_a_model_runs_only_where_it_is_trusted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    marker = tmp_path / "marker"
    odd = make_model_with_code(tmp_path / "odd", marker)
    with pytest.raises(LgbenchError, match=r"needs the Python code that comes with it.* trust_remote_code=true\."):
        load_model(f"hf:{odd}")
    assert not marker.exists()
    assert replies_of(odd, trust_remote_code="true") == replies_of(folder)
    assert marker.exists()


def test_code_that_comes_with_a_model_does_not_run_to_finetune_it(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    odd = make_model_with_code(tmp_path / "odd", marker)
    command = [sys.executable, "-m", "lgbench", "finetune", f"hf:{odd}", "capitalize-reverse", "main_only"]
    done = subprocess.run([*command, "--output", str(tmp_path / "run")], capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert "needs the Python code that comes with it, which is not run here." in done.stderr
    assert not marker.exists()


def test_pickled_weights_are_refused_with_a_command_that_converts_them(folder: Path, tmp_path: Path) -> None:
    pickled = tmp_path / "pickled"
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.save_pretrained(pickled)
    make_tokenizer().save_pretrained(pickled)
    torch.save(model.state_dict(), pickled / "pytorch_model.bin")
    with pytest.raises(LgbenchError, match="are pickled") as caught:
        load_model(f"hf:{pickled}")
    command = str(caught.value).splitlines()[-1].strip().replace("python ", f"{sys.executable} ", 1)
    subprocess.run(command, shell=True, check=True, capture_output=True)
    assert load_model(f"hf:{pickled}-safetensors").system.kind == "hf"


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_an_adapter_changes_replies(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path / "lora")
    prompts = [example.prompt for example in draw_cell(MINI, "reverse_add", 4)[:8]]
    options = {"adapter": str(tmp_path / "lora")}
    assert replies_of(folder, prompts) != replies_of(folder, prompts, **options)
    assert load_model(f"hf:{folder}").system.source_sha256 != load_model(f"hf:{folder}", options).system.source_sha256
    with pytest.raises(LgbenchError, match="is a PEFT adapter"):
        load_model(f"hf:{tmp_path / 'lora'}")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda name, tensor: (name.replace("layers.1", "layers.7"), tensor), "is not one of this model"),
        (lambda name, tensor: (f"of.another.{name}", tensor), "is not one of this model"),
        (lambda name, tensor: (name, torch.zeros(3, 5)), "lora' cannot be loaded: its weights have other shapes"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, change: Callable[[str, torch.Tensor], tuple[str, torch.Tensor]], told: str
) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])
    peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config).save_pretrained(tmp_path / "lora")
    weights = tmp_path / "lora" / "adapter_model.safetensors"
    save_file(dict(change(name, tensor) for name, tensor in load_file(weights).items()), weights)
    with pytest.raises(LgbenchError, match=told):
        load_model(f"hf:{folder}", {"adapter": str(tmp_path / "lora")})


def test_a_chat_template_that_refuses_a_user_says_so(tmp_path: Path) -> None:
    make_llama(tmp_path, chat=True)
    template = tmp_path / "chat_template.jinja"
    template.write_text("{{ raise_exception('only assistants') }}", encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"refuses a user's message: only assistants\. .* chat=false"):
        replies_of(tmp_path)
    assert len(replies_of(tmp_path, chat="false")) == len(replies_of(tmp_path, style="raw", chat="false"))


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda weights: b"version https://git-lfs.github.com/spec/v1\n" + 200 * b"x", "run `git lfs pull`"),
        (lambda weights: weights[:-50], "is cut short. Download it again"),
    ],
)
def test_weights_that_are_no_weights_say_what_to_do(
    folder: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], told: str
) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    file = copy / "model.safetensors"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(LgbenchError, match=told):
        load_model(f"hf:{copy}")


def test_a_wrong_template_is_told_before_the_model_is_looked_for() -> None:
    with pytest.raises(LgbenchError, match=r"lacks \{prompt\}"):
        load_model("hf:./nowhere", {"template": "abc"})


def test_a_folder_of_models_names_one(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "step-10")
    with pytest.raises(LgbenchError, match=rf"has no config\.json: .* as in hf:{tmp_path}@step-10"):
        load_model(f"hf:{tmp_path}")
    assert load_model(f"hf:{tmp_path}@step-10").system.kind == "hf"
    (empty := tmp_path / "empty").mkdir()
    with pytest.raises(LgbenchError, match=r"has no config\.json: .* that `save_pretrained` wrote"):
        load_model(f"hf:{empty}")


def test_weights_of_other_shapes_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"hidden_size": 32, "head_dim": 8}), encoding="utf-8")
    with pytest.raises(LgbenchError, match="its weights have other shapes than the model's configuration says"):
        load_model(f"hf:{copy}")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_a_pickled_adapter_is_refused_with_a_command_that_converts_it(folder: Path, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    model = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(folder), config)
    model.save_pretrained(tmp_path / "lora")
    pickled = tmp_path / "pickled"
    model.save_pretrained(pickled, safe_serialization=False)
    assert not list(pickled.glob("*.safetensors"))
    with pytest.raises(LgbenchError, match=r"are pickled \(adapter_model\.bin\)") as caught:
        load_model(f"hf:{folder}", {"adapter": str(pickled)})
    command = str(caught.value).splitlines()[-1].strip().replace("python ", f"{sys.executable} ", 1)
    subprocess.run(command, shell=True, check=True, capture_output=True)
    converted = replies_of(folder, adapter=f"{pickled}-safetensors")
    assert converted == replies_of(folder, adapter=str(tmp_path / "lora"))
    assert converted != replies_of(folder)


def test_a_folder_that_holds_no_adapter(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    with pytest.raises(LgbenchError, match=r"has no adapter_config\.json: it is no PEFT adapter"):
        load_model(f"hf:{folder}", {"adapter": str(folder)})
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"has no weights \(adapter_model\.safetensors\)"):
        load_model(f"hf:{folder}", {"adapter": str(tmp_path)})
