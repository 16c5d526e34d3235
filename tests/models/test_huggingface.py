"""MODEL `hf:...` on small models made on the spot."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    PreTrainedTokenizerFast,
)

from benchmarks.llama import SIGNS, make_llama, make_tokenizer
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import rescore
from lgbench.models.contract import CappedReply
from lgbench.models.loading import load_model
from lgbench.models.prompting import generation_cap, worked_examples
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"), end_weight=2.0)


@pytest.fixture(name="chatty", scope="module")
def _chatty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("chatty"), chat=True)


def generated(folder: Path, text: str, cap: int) -> tuple[str, bool]:
    """What `generate` writes for one prompt, by itself: the reference for everything below."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    tokens = tokenizer(text, return_tensors="pt")["input_ids"]
    output = model.generate(tokens, max_new_tokens=cap, do_sample=False, attention_mask=torch.ones_like(tokens))
    new = output[0, tokens.shape[1] :].tolist()
    return tokenizer.decode(new, skip_special_tokens=True), len(new) == cap and new[-1] != 2


def replies_of(folder: Path, prompts: Sequence[str], **options: str) -> list[str]:
    predictor: Any = load_model(f"hf:{folder}", options).predictor
    return list(predictor.predict(prompts, "mqar"))


def test_replies_are_those_of_generate(folder: Path) -> None:
    prompts = [example.prompt for task in ("shortest_path", "mqar") for example in draw_cell(MINI, task, 4)[:12]]
    replies = replies_of(folder, prompts)
    for prompt, reply in zip(prompts, replies, strict=True):
        text, capped = generated(folder, prompt, generation_cap(prompt))
        assert (reply, isinstance(reply, CappedReply)) == (text, capped)
    assert 0 < sum(isinstance(reply, CappedReply) for reply in replies) < len(replies)


def test_a_prompt_beyond_the_context_is_answered_with_nothing(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(
        GPT2Config(
            vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2
        )
    )
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    result = evaluate(
        load_model(f"hf:{tmp_path}", {}),
        suite="mini-v1",
        tasks=["shortest_path"],
        lengths=[4, 24],
        limit=3,
        output=tmp_path / "result",
    )
    short, long = result.cells
    assert (short.counts.total, long.counts.total, long.counts.capped) == (3, 3, 3)
    assert "at most 64 tokens" in caplog.text
    assert rescore(tmp_path / "result").result == result


def test_a_whole_evaluation(folder: Path, tmp_path: Path) -> None:
    model = load_model(f"hf:{folder}")
    result = evaluate(model, tasks=["reverse_add", "dfs_trace"], lengths=[4, 8], limit=20, output=tmp_path / "run")
    assert result.system.kind == "hf"
    assert result.system.parameters == sum(
        parameter.numel() for parameter in AutoModelForCausalLM.from_pretrained(folder).parameters()
    )
    assert result.system.prompt is not None
    assert result.system.prompt.model_dump() == {
        "style": "raw", "chat": False, "template": "{prompt}", "shots": None,
    }  # fmt: skip
    assert result.environment.device == "cpu, float32"
    assert {"torch", "transformers"} <= result.environment.packages.keys()
    assert result.batch_invariance is not None
    assert result.batch_invariance.changed == 0
    assert sum(cell.counts.capped for cell in result.cells) > 0
    assert rescore(tmp_path / "run").result == result
    again = evaluate(
        load_model(f"hf:{folder}"), tasks=["reverse_add", "dfs_trace"], lengths=[4, 8], limit=20, batch_size=3
    )
    assert again.replies_sha256 == result.replies_sha256


def asked_text(folder: Path, prompt: str, **options: str) -> str:
    """The text that a model is given, its special tokens shown."""
    predictor: Any = load_model(f"hf:{folder}", options).predictor
    predictor.prepare(MINI, ["reverse_add"])
    row = predictor._row(prompt, "reverse_add")
    return str(predictor._tokenizer.decode(row.tokens))


def test_raw_style_fills_the_template(folder: Path) -> None:
    assert asked_text(folder, "12+34=", template="<{task}>{prompt}") == "<reverse_add>12+34="
    assert asked_text(folder, "12+34=") == "12+34="


def test_instruct_style_shows_the_instruction_and_fixed_examples(chatty: Path) -> None:
    text = asked_text(chatty, "12+34=")
    assert text.startswith("<s>user: Add the two numbers.")
    assert text.endswith("\n\n12+34=\nassistant: ")
    assert text.count("<answer>") == 1 + 4
    shots = worked_examples(MINI, "reverse_add", 4)
    assert [shot.length for shot in shots] == [2, 4, 6, 8]
    for shot in shots:
        assert f"\n\n{shot.prompt}\n<answer>{shot.target}</answer>\n" in text
        assert shot.prompt not in {example.prompt for example in draw_cell(MINI, "reverse_add", shot.length)}
    assert asked_text(chatty, "12+34=", shots="1").count("<answer>") == 1 + 1


def test_instruct_style_without_a_chat_template_goes_on_a_new_line(folder: Path) -> None:
    text = asked_text(folder, "12+34=", style="instruct", shots="0")
    assert text.startswith("Add the two numbers.")
    assert text.endswith("\n\n12+34=\n")


def test_worked_examples_of_every_task_fit_their_count() -> None:
    for suite in (MINI, load_suite("standard-v1")):
        for task in suite.tasks:
            shots = worked_examples(suite, task.name, 6)
            assert len({shot.prompt for shot in shots}) == 6
            assert max(shot.length for shot in shots) <= suite.home_group(task.name).main_length


def test_a_subfolder_is_a_revision(folder: Path, tmp_path: Path) -> None:
    make_llama(tmp_path / "step-160000")
    assert load_model(f"hf:{tmp_path}@step-160000").system.model == f"hf:{tmp_path}@step-160000"
    assert load_model(f"hf:{tmp_path}", {"revision": "step-160000"}).system.options == {"revision": "step-160000"}
    with pytest.raises(LgbenchError, match=r"no checkpoint 'step-7'\. It has: step-160000"):
        load_model(f"hf:{tmp_path}@step-7")


def test_folders_that_hold_no_model(folder: Path, tmp_path: Path) -> None:
    def copy(name: str, *leave_out: str) -> Path:
        (tmp_path / name).mkdir()
        for path in folder.iterdir():
            if path.name not in leave_out:
                (tmp_path / name / path.name).write_bytes(path.read_bytes())
        return tmp_path / name

    def message(path: Path | str) -> str:
        with pytest.raises(LgbenchError) as caught:
            load_model(f"hf:{path}")
        return str(caught.value)

    assert "has no config.json" in message(copy("a", "config.json"))
    assert "has no weights (*.safetensors)" in message(copy("b", "model.safetensors"))
    assert "has no tokenizer" in message(copy("c", "tokenizer.json", "tokenizer_config.json"))
    assert "There is no folder" in message(tmp_path / "nothing")
    assert "is a file" in message(folder / "config.json")
    torn = copy("torn")
    (torn / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100])
    assert "cannot be loaded" in message(torn)
    lacking = copy("lacking")
    settings = json.loads((lacking / "config.json").read_text("utf-8"))
    (lacking / "config.json").write_text(json.dumps(settings | {"num_hidden_layers": 3}), encoding="utf-8")
    assert "The weights in" in message(lacking)
    assert "lack model.layers.2." in message(lacking)
    foreign = copy("foreign")
    (foreign / "config.json").write_text(json.dumps({"model_type": "nothing-known"}), encoding="utf-8")
    assert "cannot be loaded" in message(foreign)


def test_a_vocabulary_without_the_suites_characters_says_which(tmp_path: Path) -> None:
    model = load_model(f"hf:{make_llama(tmp_path, signs=SIGNS.replace('7', '').replace('>', ''))}")
    with pytest.raises(LgbenchError, match=r"lacks characters of mini-v1 \(reverse_add: 7; shortest_path: 7>\)"):
        evaluate(model, tasks=["reverse_add", "string_copy", "shortest_path"], output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    evaluate(model, tasks=["string_copy"], lengths=[2], limit=2)


def test_a_tokenizer_of_another_model_is_told(tmp_path: Path) -> None:
    folder = make_llama(tmp_path)
    make_tokenizer("".join(map(chr, range(0x400, 0x500))) + SIGNS).save_pretrained(folder)
    with pytest.raises(LgbenchError, match=r"reverse_add with token \d+, but the model knows only \d+ tokens"):
        evaluate(load_model(f"hf:{folder}"), tasks=["reverse_add"])


def test_tasks_that_look_alike_are_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def warned(tasks: list[str], **options: str) -> str:
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            evaluate(load_model(f"hf:{folder}", options), tasks=tasks, lengths=[4], limit=1)
        return caplog.text

    assert "reverse_add, no_carry look alike" in warned(["reverse_add", "no_carry", "reverse_subtract", "mqar"])
    assert not warned(["reverse_add", "reverse_subtract", "cot_multiply", "string_copy", "mqar", "dfs_trace"])
    assert not warned(["reverse_add", "no_carry"], template="<{task}>{prompt}")


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LgbenchError, match=r"accelerate.*Run.*: pip install -c constraints.txt '\.\[hf\]'"):
        load_model(f"hf:{folder}")


# Runs the command line, and then says what was loaded when the first text was written to stderr, and in the end.
_WATCHED = """
import io, json, sys

def loaded():
    return sorted({"torch", "transformers"} & sys.modules.keys())

class Watched(io.TextIOWrapper):
    at_first = None

    def write(self, text):
        if self.at_first is None:
            self.at_first = loaded()
        return super().write(text)

sys.stderr = watched = Watched(sys.stderr.buffer, encoding="utf-8", line_buffering=True)
sys.argv[0] = "lgbench"
from lgbench.cli import main
try:
    main()
finally:
    print(json.dumps([watched.at_first, loaded()]))
"""


def test_the_command_says_at_once_what_it_loads(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _WATCHED, "eval", f"hf:{folder}", "--task", "mqar", "--length", "4"]
    options = ["--limit", "2", "--shots", "1", "--model-option", "style=instruct", "--output", str(tmp_path / "run")]
    done = subprocess.run([*command, *options], capture_output=True, encoding="utf-8", check=True)
    first, second, *_ = done.stderr.splitlines()
    assert first == f"Loading hf:{folder} for mini-v1, arm open ..."
    assert json.loads(done.stdout.splitlines()[-1]) == [[], ["torch", "transformers"]]
    assert second.endswith("parameters, cpu, float32, style instruct, 1 worked example")
    assert json.loads((tmp_path / "run" / "result.json").read_text("utf-8"))["system"]["prompt"]["shots"] == 1


def test_finding_a_model_loads_no_torch() -> None:
    code = "import sys, lgbench.models.loading, lgbench.models.huggingface; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8").stdout.strip() == "False"
