"""Task superposition in a Hugging Face causal model: a prompt that demonstrates several tasks, one example a line.

The prompts are those of Xiong et al. (2024, arXiv 2410.05603): `A@B=` with A and B from 10 to 99, which has the answers
A, B and A+B. Every example is of one of the three tasks, at random places; the last line has no answer.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from lgbench.analysis.mixtures import Answered, greedy_and_logprob, measure, placed, whole_shares
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.prompted_record import TASKS, USUAL, PromptedRecord, Shares
from lgbench.analysis.records import resume_analysis, write_analysis
from lgbench.data.task import Stream
from lgbench.models.huggingface.checkpoint import Checkpoint, open_checkpoint, quiet_loading, weights_sha256
from lgbench.models.huggingface.options import Options
from lgbench.util.errors import LgbenchError

_ROWS = 8
_ASKS = ("style", "chat", "chat_template", "template", "shots")


class Prompt(NamedTuple):
    """A prompt and what the tasks answer.

    Attributes:
        text: Lines of examples, and the last one without its answer.
        answers: Of each task.
    """

    text: str
    answers: tuple[str, str, str]


def analyze_prompted(
    name: str,
    *,
    options: Mapping[str, str] | None = None,
    shares: Sequence[Shares] = (),
    demonstrations: int = 60,
    prompts: int = 100,
    path: Path | None = None,
    report: Report = silent,
) -> PromptedRecord:
    """Ask a Hugging Face causal model with demonstrations of three tasks.

    Args:
        name: `hf:PATH_OR_ID`.
        options: Its model options, but for those that put a prompt into words.
        shares: Of the tasks in each mixture, which add up to 1; each task alone and equal shares if empty.
        demonstrations: Lines of a prompt before its question.
        prompts: Of each mixture.
        path: Where the record is kept after every mixture. An existing record is continued.
        report: Called before each mixture.

    Raises:
        LgbenchError: The model or its options are no good, shares do not add up to 1, or `path` holds another analysis.
    """
    for each in shares:
        if abs(sum(each) - 1) > 1e-6 or min(each) < 0:
            raise LgbenchError(
                f"{', '.join(map(str, each))} are not shares of {', '.join(TASKS)}: they must add up to 1."
            )
    checkpoint = _opened(name, options or {})
    record = PromptedRecord(
        model=name,
        weights_sha256=weights_sha256(checkpoint)[0],
        demonstrations=demonstrations,
        prompts=prompts,
        asked=tuple(shares) or USUAL,
    )
    record = resume_analysis(path, record, ("model", "weights_sha256", "demonstrations", "prompts", "asked"))
    for number, wanted in enumerate(record.asked):
        if number >= len(record.mixtures):
            said = ", ".join(f"{share:.0%} {task}" for share, task in zip(wanted, TASKS, strict=True) if share)
            report(Progress(number, len(record.asked), said))
            counts = whole_shares(wanted, demonstrations)
            answered = _answered(checkpoint, draw_prompts(counts, prompts))
            mixed = measure([count / demonstrations for count in counts], answered)
            record = record.model_copy(update={"mixtures": (*record.mixtures, mixed)})
            if path is not None:
                write_analysis(path, record)
    return record


def _opened(name: str, options: Mapping[str, str]) -> Checkpoint:
    from lgbench.models.construction import arguments_for

    if refused := [each for each in options if each in _ASKS]:
        raise LgbenchError(f"--model-option {refused[0]} does not apply: the prompts are those of the paper.")
    with quiet_loading():
        return open_checkpoint(name.removeprefix("hf:"), Options(**arguments_for(Options, options, name)))


def draw_prompts(counts: Sequence[int], prompts: int) -> list[Prompt]:
    """Prompts with the given number of examples of each task, at random places.

    The last question is none of the examples', and no task's answer to it begins with another's: the probability of the
    shorter one would include the longer one.

    Args:
        counts: Of the tasks `first`, `second` and `sum`.
        prompts: How many.
    """
    stream = Stream("lgbench", "superposition", "operands", *counts)
    numbers = (10 + n for n in stream.one_by_one(90))
    drawn = []
    for tasks in placed(Stream("lgbench", "superposition", "places", *counts), counts, prompts).tolist():
        last = next(pair for pair in zip(numbers, numbers, strict=True) if _are_apart(_answers(*pair)))
        pairs = (pair for pair in zip(numbers, numbers, strict=True) if pair != last)
        lines = [f"{a}@{b}={_answers(a, b)[task]}" for task, (a, b) in zip(tasks, pairs, strict=False)]
        drawn.append(Prompt("\n".join([*lines, f"{last[0]}@{last[1]}="]), _answers(*last)))
    return drawn


def _answers(first: int, second: int) -> tuple[str, str, str]:
    return str(first), str(second), str(first + second)


def _are_apart(answers: Sequence[str]) -> bool:
    return not any(one.startswith(two) for at, one in enumerate(answers) for two in (*answers[:at], *answers[at + 1 :]))


@torch.inference_mode()
def _answered(checkpoint: Checkpoint, prompts: Sequence[Prompt]) -> Answered:
    model, encode = checkpoint.model, checkpoint.tokenizer
    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
    rows = [_row(encode, prompt.text, answer) for prompt in prompts for answer in prompt.answers]
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and (most := max(len(tokens) for tokens, _ in rows)) > longest:
        raise LgbenchError(f"A prompt has {most} tokens, and the model reads {longest}: ask fewer --demonstrations.")
    found = []
    for first in range(0, len(rows), _ROWS):
        part = rows[first : first + _ROWS]
        size = max(len(tokens) for tokens, _ in part)
        tokens = torch.zeros(len(part), size, dtype=torch.int64)
        wanted = torch.zeros(len(part), size, dtype=torch.bool)
        for at, (each, start) in enumerate(part):  # padded at the end, where nothing looks back from
            tokens[at, : len(each)] = torch.tensor(each)
            wanted[at, start : len(each)] = True
        kept = size - min(start for _, start in part)
        more: dict[str, Any] = {"logits_to_keep": kept + 1} if keeps else {}
        logits = model(input_ids=tokens.to(model.device), use_cache=False, **more).logits[:, -kept - 1 : -1].cpu()
        found.append(greedy_and_logprob(logits, tokens[:, -kept:], wanted[:, -kept:]))
    greedy, logprob = (torch.cat(each).view(len(prompts), len(TASKS)) for each in zip(*found, strict=True))
    return Answered(logprob, greedy)


def _row(tokenizer: Any, prompt: str, answer: str) -> tuple[list[int], int]:
    """A prompt with an answer in tokens, and where the answer begins: at the first token not of the prompt alone."""
    before: list[int] = tokenizer(prompt)["input_ids"]
    whole: list[int] = tokenizer(prompt + answer)["input_ids"]
    ends = {tokenizer.eos_token_id} - {None}
    while whole and whole[-1] in ends:  # some tokenizers end every text
        whole = whole[:-1]
    pairs = zip(before, whole, strict=False)
    start = next((at for at, (one, two) in enumerate(pairs) if one != two), min(len(before), len(whole)))
    if not 0 < start < len(whole):
        raise LgbenchError(f"The tokenizer has no tokens of its own for {answer!r} behind {prompt[-6:]!r}.")
    return whole, start
