"""Hugging Face models looked into: an exported checkpoint against itself, and random models of three shapes."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, cast

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from typer.testing import CliRunner

from lgbench.analysis.attention import analyze_attention
from lgbench.analysis.confidence import analyze_confidence
from lgbench.analysis.heads import analyze_heads
from lgbench.analysis.hooked import head_masks
from lgbench.analysis.hooked_hf import HookedHuggingFace
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.reuse import analyze_reuse
from lgbench.cli import app
from lgbench.data.suites import load_suite
from lgbench.models.folders import checkpoint_folder
from lgbench.models.hf_export import export_hf
from lgbench.models.huggingface.checkpoint import Checkpoint
from lgbench.results.schema import PromptStyle
from lgbench.util.errors import LgbenchError

transformers: Any = importlib.import_module("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own
MINI = load_suite("mini-v1")
TEMPLATE = "<begin><{task}>{prompt}"
STYLE = PromptStyle(style="raw", template=TEMPLATE, chat=False)
LAYERS, HEADS, SIZE = 2, 4, 8
SHAPE = {"vocab_size": 152, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0, "attn_implementation": "eager"}


@pytest.fixture(name="exported", scope="module")
def exported_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("exported") / "hf"
    export_hf(checkpoint_folder("tiny:transfer"), folder)
    return folder


@pytest.fixture(name="theirs", scope="module")
def opened_export(exported: Path) -> Opened:
    return open_model(f"hf:{exported}", group="capitalize-reverse", options={"template": TEMPLATE})


def random_model(kind: str) -> Any:
    torch.manual_seed(0)
    llama = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    shapes = {
        "Llama": llama | {"num_key_value_heads": 2},
        "GPT2": {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "n_positions": 64},
        "GPTNeoX": llama,
        "Mamba": {"hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
    }
    config = getattr(transformers, f"{kind}Config")(**SHAPE, **shapes[kind])
    model = getattr(transformers, {"GPT2": "GPT2LMHeadModel"}.get(kind, f"{kind}ForCausalLM"))(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def hooked(kind: str, exported: Path) -> HookedHuggingFace:
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    checkpoint = Checkpoint(folder=exported, adapter=None, model=random_model(kind), tokenizer=tokenizer)
    return HookedHuggingFace(checkpoint, STYLE, MINI, name=f"hf:{kind}")


def projection(model: HookedHuggingFace, layer: int) -> Any:
    return model._projections[layer]


@pytest.mark.parametrize("kind", ["Llama", "GPT2", "GPTNeoX"])
def test_heads_of_three_shapes_are_told_apart(kind: str, exported: Path) -> None:
    model = hooked(kind, exported)
    assert (model.layers, model.heads, model.size) == (LAYERS, HEADS, SIZE)
    tokens = torch.randint(3, 100, (3, 9))
    plain = model.module(input_ids=tokens).logits.detach()
    none = torch.zeros(1, LAYERS, HEADS, dtype=torch.bool)
    values = torch.zeros(LAYERS, 1, 1, HEADS, SIZE)
    torch.testing.assert_close(model.logits(tokens, none, values)[0], plain)
    torch.testing.assert_close(model.logits(tokens, none, values, start=5)[0], plain[:, 5:])
    single = model.logits(tokens, head_masks(LAYERS, HEADS), values)
    for layer in range(LAYERS):
        weight = projection(model, layer).weight
        kept = weight.detach().clone()
        for head in range(HEADS):
            reads = slice(head * SIZE, (head + 1) * SIZE)
            with torch.no_grad():
                (weight if kind == "GPT2" else weight.T)[reads] = 0
                torch.testing.assert_close(single[layer * HEADS + head], model.module(input_ids=tokens).logits)
                weight.copy_(kept)
    outputs = model.outputs(tokens)
    other = model.logits(tokens, head_masks(LAYERS, HEADS), outputs)
    torch.testing.assert_close(other, plain.expand(LAYERS * HEADS, -1, -1, -1))
    attention = model.attention(tokens)
    assert attention.shape == (LAYERS, 3, HEADS, 9, 9)
    torch.testing.assert_close(attention.sum(-1), torch.ones(LAYERS, 3, HEADS, 9))
    assert attention.triu(1).abs().max() == 0
    with torch.inference_mode():
        read_out = cast(Any, model.module).get_output_embeddings()(model.final_states(tokens))
        torch.testing.assert_close(read_out, plain[:, -1], rtol=1e-4, atol=1e-4)


def test_an_exported_checkpoint_has_the_maps_of_the_checkpoint(theirs: Opened) -> None:
    ours = open_model("tiny:transfer", device="cpu")
    given: dict[str, Any] = {"lengths": [5], "examples": 24}
    first, second = (analyze_heads(each, ablations=["resample", "mean"], **given) for each in (ours, theirs))
    assert first.data == second.data
    for mine, other in zip(first.maps, second.maps, strict=True):
        assert mine.right_without == other.right_without
        torch.testing.assert_close(
            torch.tensor(other.logprob_without), torch.tensor(mine.logprob_without), rtol=0, atol=1e-4
        )
    for near, far in zip(first.attention, second.attention, strict=True):
        torch.testing.assert_close(torch.tensor(far.distance), torch.tensor(near.distance), rtol=0, atol=1e-4)
    looked = [analyze_attention(each, tasks=["reverse"], prompts=["abC="], **given) for each in (ours, theirs)]
    torch.testing.assert_close(
        torch.tensor(looked[1].shares[0].share), torch.tensor(looked[0].shares[0].share), rtol=0, atol=1e-4
    )
    assert looked[0].patterns[0].tokens == looked[1].patterns[0].tokens
    assert theirs.source.prompt == STYLE
    assert theirs.source.seed is None


@pytest.mark.nightly
def test_reuse_of_an_exported_checkpoint(theirs: Opened) -> None:
    ours = open_model("tiny:transfer", device="cpu")
    first, second = (analyze_reuse(each, others=["reverse"], lengths=[5], examples=16) for each in (ours, theirs))
    for mine, other in zip(first.others, second.others, strict=True):
        assert mine.heads == other.heads
        assert other.importance.rho == pytest.approx(mine.importance.rho, abs=1e-4)
        assert other.necessity[0].null == pytest.approx(mine.necessity[0].null, abs=1e-4)
        assert other.sufficiency.area == pytest.approx(mine.sufficiency.area, abs=1e-4)


def test_the_command(exported: Path, tmp_path: Path) -> None:
    given = ["analyze", "heads", f"hf:{exported}", "--model-option", f"template={TEMPLATE}"]
    more = ["--task", "reverse", "--length", "3", "--examples", "16", "--ablation", "zero"]
    done = CliRunner().invoke(app, [*given, "--group", "capitalize-reverse", *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Heads that each task needs most" in done.output
    refused = CliRunner().invoke(app, [*given, *more])
    assert "does not say which tasks it knows. Name a group of mini-v1 with --group" in str(refused.exception)
    refused = CliRunner().invoke(app, ["analyze", "heads", "tiny:transfer", "--group", "add-carry"])
    assert "'tiny:transfer' says itself what it was trained on." in str(refused.exception)


def test_bad_input_is_refused(theirs: Opened, exported: Path) -> None:
    with pytest.raises(LgbenchError, match=r"The heads of 'hf:Mamba' \(MambaForCausalLM\) cannot be told apart"):
        hooked("Mamba", exported)
    with pytest.raises(LgbenchError, match="is not a reference model: scores are kept"):
        analyze_confidence(theirs)
    unlearned = theirs._replace(hooked=hooked("GPT2", exported))
    with pytest.raises(LgbenchError, match="has not learned"):
        analyze_reuse(unlearned, others=["reverse"], lengths=[3], examples=16)


def test_a_tokenizer_that_merges_characters_has_no_sources(theirs: Opened) -> None:
    model = cast(HookedHuggingFace, theirs.hooked)
    assert model.places("reverse", "abC=") == [2, 3, 4, 5]
    assert model.places("shortest_path", "[1]:[2],[2]:[1]?[1]>[2]=") is None
