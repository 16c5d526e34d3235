"""What a Hugging Face model is given: the tokens of the prompt, whatever the tokenizer and its chat template do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from benchmarks.llama import make_llama, make_tokenizer
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError
from tests.architectures import save_model

MINI = load_suite("mini-v1")
LLAMA: dict[str, Any] = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
}  # fmt: skip
ALWAYS = ["<|user|>", "<|assistant|>", "<|end|>"]
PHI = "{% for m in messages %}<|user|>\n{{ m.content }}<|end|>\n{% endfor %}<|assistant|>\n"


def asked_text(folder: Path, prompt: str = "12+34=", **options: str) -> str:
    """The text that a model is given, its special tokens shown."""
    predictor: Any = load_model(f"hf:{folder}", options).predictor
    predictor.prepare(MINI, ["reverse_add"])
    return str(predictor._tokenizer.decode(predictor._row(prompt, "reverse_add").tokens))


def make_marked(folder: Path, template: str) -> Path:
    """A Llama whose end tokens are `</s>`, `<|end|>` and `<|assistant|>`."""
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ALWAYS})
    tokenizer.chat_template = template
    ends = [2, *tokenizer.convert_tokens_to_ids(["<|end|>", "<|assistant|>"])]
    config = LlamaConfig(vocab_size=len(tokenizer), **LLAMA)
    return save_model(folder, config, tokenizer=tokenizer, generation={"eos_token_id": ends})


@pytest.mark.parametrize("ending", ["<|end|>\n<|assistant|>\n", "<|end|><|assistant|>", "</s>"])
def test_end_tokens_that_a_chat_template_wrote_stay(tmp_path: Path, ending: str) -> None:
    folder = make_marked(tmp_path, "<|user|>\n{{ messages[0].content }}{{ '" + ending.replace("\n", "\\n") + "' }}")
    assert asked_text(folder, shots="0").endswith(f"12+34={ending}")
    assert asked_text(folder, style="raw", chat="true") == f"<|user|>\n12+34={ending}"


def test_replies_behind_such_a_template_are_those_of_generate(tmp_path: Path) -> None:
    folder = make_marked(tmp_path, PHI)
    prompts = [example.prompt for example in draw_cell(MINI, "reverse_add", 4)[:6]]
    predictor: Any = load_model(f"hf:{folder}", {"style": "raw", "chat": "true"}).predictor
    replies = predictor.predict(prompts, "reverse_add")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    for prompt, reply in zip(prompts, replies, strict=True):
        message = [{"role": "user", "content": prompt}]
        tokens = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_tensors="pt")["input_ids"]
        output = model.generate(tokens, max_new_tokens=4 * len(prompt) + 32, do_sample=False)
        assert reply == tokenizer.decode(output[0, tokens.shape[1] :], skip_special_tokens=True)


def make_framed(folder: Path, frame: str) -> Path:
    """A Llama whose tokenizer puts every text into a frame, such as `<s> $A </s>`."""
    tokenizer = make_tokenizer()
    inner: Tokenizer = tokenizer.backend_tokenizer
    inner.post_processor = TemplateProcessing(single=frame, special_tokens=[("<s>", 1), ("</s>", 2)])
    config = LlamaConfig(vocab_size=len(tokenizer), eos_token_id=2, **LLAMA)
    return save_model(folder, config, tokenizer=tokenizer)


@pytest.mark.parametrize("frame", ["<s> $A </s>", "$A </s>", "<s> $A", "$A </s> </s>"])
def test_only_what_the_tokenizer_closes_a_text_with_is_taken_away(tmp_path: Path, frame: str) -> None:
    folder = make_framed(tmp_path, frame)
    begin = "<s>" if frame.startswith("<s>") else ""
    assert asked_text(folder) == f"{begin}12+34="
    assert asked_text(folder, template="{prompt}</s>") == f"{begin}12+34=</s>"
    assert asked_text(folder, template="</s>{prompt}</s></s>") == f"{begin}</s>12+34=</s></s>"
    assert asked_text(folder, style="instruct", shots="0").endswith("12+34=\n")


def test_what_a_template_begins_with_is_not_put_before_it_again(tmp_path: Path) -> None:
    folder = make_framed(tmp_path, "<s> $A </s>")
    assert asked_text(folder, template="<s>{prompt}") == "<s>12+34="


@pytest.mark.parametrize("frame", ["<cls> $A <sep>", "$A <sep> <cls>"])
def test_a_separator_that_the_tokenizer_closes_a_text_with_is_taken_away(tmp_path: Path, frame: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"cls_token": "<cls>", "sep_token": "<sep>"})
    marks = [(mark, tokenizer.convert_tokens_to_ids(mark)) for mark in ("<cls>", "<sep>")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=frame, special_tokens=marks)
    save_model(tmp_path, LlamaConfig(vocab_size=len(tokenizer), eos_token_id=2, **LLAMA), tokenizer=tokenizer)
    begin = "<cls>" if frame.startswith("<cls>") else ""
    assert asked_text(tmp_path) == f"{begin}12+34="
    assert asked_text(tmp_path, template="{prompt}<sep>") == f"{begin}12+34=<sep>"


class Stubborn(PreTrainedTokenizerFast):  # type: ignore[misc]
    """A tokenizer that closes every text, even where it is told not to."""

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [*super().__call__(text, add_special_tokens=False)["input_ids"], 2]}


@pytest.mark.parametrize("options", [{}, {"chat": "true", "style": "raw"}])
def test_a_tokenizer_that_always_closes_texts(options: dict[str, str], tmp_path: Path) -> None:
    predictor: Any = load_model(f"hf:{make_llama(tmp_path, chat=True)}", {"style": "raw"} | options).predictor
    tokenizer = predictor._tokenizer
    tokenizer.__class__ = Stubborn
    encoder = type(predictor._encoder)(tokenizer, predictor._style, ends=frozenset({2}))
    begin = "<s>user: " if options else ""
    end = "\nassistant: " if options else ""
    assert tokenizer.decode(encoder.tokens(MINI, "1+2=", "reverse_add")) == f"{begin}1+2={end}"


PARTS = "{% for m in messages %}{% for part in m.content %}<s>{{ part.text }}{% endfor %}{% endfor %}assistant: "
ONLY_PARTS = PARTS.replace(
    "<s>", "{% if m.content is string %}{{ raise_exception('no list') }}{% endif %}<s>"
)  # refuses what it cannot use


def make_chatty(folder: Path, template: Any) -> Path:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return save_model(folder, LlamaConfig(vocab_size=len(tokenizer), eos_token_id=2, **LLAMA), tokenizer=tokenizer)


@pytest.mark.parametrize("template", [PARTS, ONLY_PARTS])
def test_a_template_that_wants_parts_gets_parts(tmp_path: Path, template: str) -> None:
    folder = make_chatty(tmp_path, template)
    assert asked_text(folder, style="raw", chat="true") == "<s>12+34=assistant: "
    prompts = [example.prompt for example in draw_cell(MINI, "reverse_add", 4)[:6]]
    predictor: Any = load_model(f"hf:{folder}", {"shots": "0"}).predictor
    assert len({tuple(predictor._row(prompt, "reverse_add").tokens) for prompt in prompts}) == 6
    evaluate(load_model(f"hf:{folder}", {"shots": "0"}), tasks=["reverse_add", "mqar"], lengths=[4], limit=2)


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{% for m in messages %}{{ m.text }}{% endfor %}assistant: ", "drops or changes what it is given"),
        ("{{ messages[0].content | upper }}", "drops or changes what it is given"),
        ("{{ messages[0].content[:40] }}", "drops or changes what it is given"),
        ("{{ messages[0].content.nothing.more }}", "refuses a user's message: .* has no attribute 'nothing'"),
        ("{{ 1 + messages[0].content }}", "refuses a user's message: unsupported operand"),
        ("{% if %}", "refuses a user's message"),
    ],
)
def test_a_template_that_does_not_pass_questions_on_is_refused(tmp_path: Path, template: str, told: str) -> None:
    model = load_model(f"hf:{make_chatty(tmp_path, template)}")
    with pytest.raises(LgbenchError, match=f"{told}.* chat=false"):
        evaluate(model, tasks=["string_copy", "reverse_add"], output=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    evaluate(load_model(f"hf:{tmp_path}", {"chat": "false"}), tasks=["reverse_add"], lengths=[2], limit=2)


def test_a_template_that_drops_the_questions_of_one_task_is_refused(tmp_path: Path) -> None:
    folder = make_chatty(
        tmp_path, "{% if 'letter for letter' not in messages[0].content %}{{ messages[0].content }}{% endif %}:"
    )
    evaluate(load_model(f"hf:{folder}"), tasks=["reverse_add"], lengths=[2], limit=2)
    with pytest.raises(LgbenchError, match="drops or changes"):
        evaluate(load_model(f"hf:{folder}"), tasks=["reverse_add", "string_copy"], lengths=[2], limit=2)


def test_a_template_that_strips_what_the_user_wants_sent_is_refused(tmp_path: Path) -> None:
    folder = make_chatty(tmp_path, "{{ messages[0].content | trim }}:")
    assert asked_text(folder, style="raw", chat="true") == "12+34=:"
    with pytest.raises(LgbenchError, match=r"ends in '12\+34=\\n' becomes a text that ends in '12\+34=:'"):
        load_model(f"hf:{folder}", {"template": "{prompt}\n", "chat": "true"}).predictor.predict(  # type: ignore[union-attr]
            ["12+34="], "reverse_add"
        )


@pytest.mark.parametrize("template", ["{{ messages[0].content | trim }}:", "{{ messages[0].content | tojson }}:"])
def test_a_template_that_writes_the_list_of_parts_out_is_refused(tmp_path: Path, template: str) -> None:
    folder = make_chatty(tmp_path, template)
    with pytest.raises(LgbenchError, match="drops or changes what it is given"):
        asked_text(folder, style="raw", chat="true", template=' "{prompt}')


def test_a_template_that_refuses_a_later_question_says_so(tmp_path: Path) -> None:
    refusing = "{% if messages[0].content == '99+99=' %}{{ raise_exception('no nines') }}{% endif %}"
    folder = make_chatty(tmp_path, refusing + "{{ messages[0].content }}:")
    assert asked_text(folder, style="raw", chat="true") == "12+34=:"
    with pytest.raises(LgbenchError, match=r"refuses a user's message: no nines\."):
        asked_text(folder, "99+99=", style="raw", chat="true")


def test_the_day_changes_no_prompt(tmp_path: Path) -> None:
    template = """{% set year = strftime_now( "%Y" ) | int %}
{% macro day() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}
 {{ day() }}, {{ year + 1 }}: {{ messages[0].content }}"""
    folder = make_chatty(tmp_path, template)
    assert asked_text(folder, style="raw", chat="true") == " 26 Jul 2024, 2025: 12+34="


NAMED = {"rag": "rag: {{ messages[0].content }}", "tool_use": "tool: {{ messages[0].content }}"}


def test_named_chat_templates(tmp_path: Path) -> None:
    raw = {"style": "raw", "chat": "true"}
    without = make_chatty(tmp_path / "without", NAMED)
    with pytest.raises(LgbenchError, match=r"several chat templates \(rag, tool_use\).* chat_template=rag"):
        load_model(f"hf:{without}")
    assert asked_text(without, style="raw") == "12+34="
    assert asked_text(without, **raw, chat_template="tool_use") == "tool: 12+34="
    with pytest.raises(LgbenchError, match=r"no chat template 'default'\. Valid: rag, tool_use\."):
        load_model(f"hf:{without}", {"chat_template": "default"})
    with_default = make_chatty(tmp_path / "with", NAMED | {"default": "{{ messages[0].content }}"})
    assert asked_text(with_default, **raw) == "12+34="
    assert asked_text(with_default, **raw, chat_template="rag") == "rag: 12+34="
    with pytest.raises(LgbenchError, match="chat_template=rag is for chat=true"):
        load_model(f"hf:{with_default}", {"style": "raw", "chat_template": "rag"})
    alone = make_chatty(tmp_path / "alone", "{{ messages[0].content }}")
    with pytest.raises(LgbenchError, match="Its chat templates have no names"):
        load_model(f"hf:{alone}", {"chat_template": "rag"})
