"""Prompts that demonstrate three tasks, asked of a small random Llama: their text, their probabilities, the command."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from typer.testing import CliRunner

from benchmarks.llama import SIGNS, make_llama
from lgbench.analysis import prompted
from lgbench.analysis.progress import Progress
from lgbench.analysis.prompted import analyze_prompted, draw_prompts
from lgbench.analysis.prompted_record import PromptedRecord
from lgbench.analysis.records import read_analysis
from lgbench.cli import app
from lgbench.models.huggingface.checkpoint import load_folder
from lgbench.util.errors import LgbenchError

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers' own
HALVES = (0.5, 0.0, 0.5)


@pytest.fixture(name="folder", scope="module")
def random_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama") / "model", signs=SIGNS + "@", initializer_range=0.1)


def test_prompts_read_as_the_papers() -> None:
    drawn = draw_prompts((5, 4, 6), 12)
    orders = set()
    for prompt in drawn:
        *lines, last = prompt.text.split("\n")
        tasks = []
        for line in lines:
            a, b, said = map(int, re.split("[@=]", line))
            assert 10 <= min(a, b) <= max(a, b) <= 99
            tasks.append([task for task, answer in enumerate((a, b, a + b)) if answer == said])
        sure = Counter(each[0] for each in tasks if len(each) == 1)
        unsure = sum(len(each) > 1 for each in tasks)  # where both operands are the same
        assert all(0 <= count - sure[task] <= unsure for task, count in enumerate((5, 4, 6)))
        a, b = map(int, last.removesuffix("=").split("@"))
        assert prompt.answers == (str(a), str(b), str(a + b))
        assert not any(line.startswith(last) for line in lines)
        texts = list(prompt.answers)
        assert not any(one.startswith(two) for one in texts for two in texts if one is not two)
        orders.add(str(tasks))
    assert len(orders) == len({prompt.text for prompt in drawn}) == 12


def test_probabilities_are_those_of_the_model_token_by_token(folder: Path) -> None:
    record = analyze_prompted(f"hf:{folder}", shares=[HALVES], demonstrations=4, prompts=3)
    model, tokenizer = load_folder(folder)
    found: list[list[float]] = []
    for prompt in draw_prompts((2, 0, 2), 3):
        of_prompt = []
        for answer in prompt.answers:
            text, probability = prompt.text, 1.0
            for sign in answer:
                row: Any = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
                with torch.no_grad():
                    likely = model(**row).logits[0, -1].softmax(0)
                probability *= float(likely[tokenizer.convert_tokens_to_ids(sign)])
                text += sign
            of_prompt.append(probability)
        found.append(of_prompt)
    (mixed,) = record.mixtures
    assert mixed.shares == HALVES
    for task, name in enumerate(record.tasks):
        assert mixed.probabilities[task] == pytest.approx(sum(each[task] for each in found) / 3, abs=2e-6), name
    assert mixed.other == pytest.approx(1 - sum(map(sum, found)) / 3, abs=1e-5)


def test_the_command_resumes(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    command = ["analyze", "superposition", f"hf:{folder}", "--demonstrations", "6", "--examples", "2"]
    command += ["--share", "0.5,0,0.5", "--share", "0,0.5,0.5", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "[1/2] 50% first, 50% sum" in done.output
    path = tmp_path / "superposition.json"
    record = read_analysis(path, PromptedRecord)
    assert [each.shares for each in record.mixtures] == [(0.5, 0, 0.5), (0, 0.5, 0.5)]
    assert len(record.frame()) == 6
    assert {each.name for each in tmp_path.iterdir()} == {
        *("superposition.json", "superposition-mixtures.csv", "superposition.svg")
    }
    path.write_text(record.model_copy(update={"mixtures": record.mixtures[:1]}).model_dump_json(), "utf-8")
    seen: list[Progress] = []
    given: dict[str, Any] = {"demonstrations": 6, "prompts": 2, "path": path, "report": seen.append}
    again = analyze_prompted(f"hf:{folder}", shares=[HALVES, (0, 0.5, 0.5)], **given)
    assert [each.done for each in seen] == [1]
    assert again == record
    with pytest.raises(LgbenchError, match="holds another analysis: its asked"):
        analyze_prompted(f"hf:{folder}", shares=[HALVES], **given)


def test_a_tokenizer_that_ends_every_text_and_merges_digits() -> None:
    class Merging:
        """Tokens are runs of digits and single signs; a text ends with token 0."""

        eos_token_id = 0

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {
                "input_ids": [
                    *(1000 + int(each) if each.isdigit() else ord(each) for each in re.findall(r"\d+|\D", text)),
                    0,
                ]
            }

    assert prompted._row(Merging(), "12@34=", "46") == ([1012, 64, 1034, 61, 1046], 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--task", "reverse"], "--task, --length, --suite and --device are for reference models"),
        (["--share", "0.5,0.2"], "'0.5,0.2' is not a mixture. Write three shares"),
        (["--share", "0.5,0.2,0.1"], "0.5, 0.2, 0.1 are not shares of first, second, sum: they must add up to 1"),
        (["--model-option", "template={prompt}"], "--model-option template does not apply"),
        (["--demonstrations", "1000", "--examples", "2"], "tokens, and the model reads 4096: ask fewer"),
    ],
)
def test_bad_input_is_one_sentence(folder: Path, given: list[str], message: str) -> None:
    refused = CliRunner().invoke(app, ["analyze", "superposition", f"hf:{folder}", *given])
    assert isinstance(refused.exception, LgbenchError)
    assert message in str(refused.exception)


def test_demonstrations_are_not_asked_of_a_reference_model() -> None:
    refused = CliRunner().invoke(app, ["analyze", "superposition", "tiny:transfer", "--demonstrations", "6"])
    assert "are for Hugging Face models, as in hf:FOLDER; of 'tiny:transfer' the tags" in str(refused.exception)
