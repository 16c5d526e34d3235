"""How a language model is asked, and what of its text is the reply (docs/models-huggingface.md)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

from lgbench.data.cells import SHOTS_EXAMPLES, draw_cell
from lgbench.data.suites import Suite
from lgbench.data.task import Example
from lgbench.results.schema import PromptStyle
from lgbench.util.errors import LgbenchError, UnknownNameError

_log = logging.getLogger(__name__)

OPEN_TAG = "<answer>"
CLOSE_TAG = "</answer>"
DEFAULT_TEMPLATE = "{prompt}"
DEFAULT_SHOTS = 4
_ORDER = "Write the answer to the last question below between <answer> and </answer>, and nothing else."


def generation_cap(prompt: str) -> int:
    """The most tokens a model may write: above every target, and known from the prompt alone.

    Examples:
        >>> generation_cap("12+34=")
        56
    """
    return 4 * len(prompt) + 32


def prompt_style(
    style: str | None, *, chat: bool | None, has_chat: bool, template: str | None, shots: int | None
) -> PromptStyle:
    """The prompt style that a user's options and a model ask for.

    Args:
        style: `raw`, `instruct`, or None: `instruct` where the text goes through a chat template, else `raw`.
        chat: Whether to send the text as a user's message; None does so for `instruct` where the model can chat.
        has_chat: Whether the model can chat.
        template: For `raw`.
        shots: For `instruct`.

    Raises:
        LgbenchError: A template without `{prompt}`, too many shots, or options of the other style.
    """
    if style is None:
        asks_raw = template is not None or not (has_chat if chat is None else chat)
        style = "raw" if asks_raw and shots is None else "instruct"
    if style == "raw":
        if shots is not None:
            raise LgbenchError("The model option shots is for style=instruct; style=raw shows no worked examples.")
        if "{prompt}" not in (template := DEFAULT_TEMPLATE if template is None else template):
            raise LgbenchError(f'The template {template!r} lacks {{prompt}}. An example: "<{{task}}>{{prompt}}".')
        return PromptStyle(style="raw", template=template, chat=bool(chat))
    if style == "instruct":
        if template is not None:
            raise LgbenchError("The model option template is for style=raw; style=instruct has a fixed form.")
        return PromptStyle(style="instruct", shots=_checked(shots), chat=has_chat if chat is None else chat)
    raise UnknownNameError("prompt style", style, ("raw", "instruct"))


def _checked(shots: int | None) -> int:
    if shots is None:
        return DEFAULT_SHOTS
    if not 0 <= shots <= SHOTS_EXAMPLES:
        raise LgbenchError(f"shots={shots} is out of range. Valid: 0 to {SHOTS_EXAMPLES}.")
    return shots


def question(style: PromptStyle, suite: Suite, prompt: str, task: str) -> str:
    """The text that asks for the reply to a prompt."""
    if style.template is not None:
        return style.template.replace("{task}", task).replace("{prompt}", prompt)
    # A model that continues text begins on a new line, as in the examples. A message needs none.
    return f"{_introduction(suite, task, style.shots or 0)}{prompt}{'' if style.chat else chr(10)}"


@cache
def _introduction(suite: Suite, task: str, shots: int) -> str:
    lines = [suite.task(task).instruction, _ORDER, ""]
    for example in worked_examples(suite, task, shots):
        lines += [example.prompt, f"{OPEN_TAG}{example.target}{CLOSE_TAG}", ""]
    return "\n".join(lines) + "\n"


def worked_examples(suite: Suite, task: str, count: int) -> list[Example]:
    """`count` worked examples of a task, short ones first: of each in-distribution length in turn, from the longest on.

    They come from the suite's `shots` split, which holds no prompt of a test cell.
    """
    lengths = suite.home_group(task).zone_lengths("in_distribution")[::-1]
    shots = [draw_cell(suite, task, length, split="shots") for length in lengths[:count]]
    examples = [shots[number % len(shots)][number // len(shots)] for number in range(count)]
    return sorted(examples, key=lambda example: example.length)


def extract_reply(style: PromptStyle, text: str) -> str:
    """The reply in what a model wrote: under `instruct`, what stands in the last pair of markers, if there is one.

    Examples:
        >>> extract_reply(PromptStyle(style="instruct", shots=0), "It is <answer>30301</answer>.")
        '30301'
        >>> extract_reply(PromptStyle(style="instruct", shots=0), "30301")
        '30301'
    """
    end = text.rfind(CLOSE_TAG)
    start = text.rfind(OPEN_TAG, 0, max(end, 0))
    if style.style == "raw" or start < 0:
        return text
    return text[start + len(OPEN_TAG) : end]


def warn_of_confusion(style: PromptStyle, suite: Suite, tasks: Sequence[str]) -> None:
    """Log a warning if a template without `{task}` leaves tasks whose prompts look alike indistinguishable."""
    if style.template is None or "{task}" in style.template:
        return
    forms = {task: _form(worked_examples(suite, task, 1)[0].prompt) for task in tasks}
    alike = [task for task, form in forms.items() if list(forms.values()).count(form) > 1]
    if alike:
        _log.warning(
            "The prompts of %s look alike, and the template %r does not name the task. "
            'To tell them apart: --model-option template="<{task}>{prompt}"',
            ", ".join(alike),
            style.template,
        )


def _form(prompt: str) -> tuple[frozenset[str], str]:
    """The signs in a prompt, letters and digits taken as one each, and the last of them."""
    signs = ["a" if sign.isalpha() else "0" if sign.isdigit() else sign for sign in prompt]
    return frozenset(signs), signs[-1]
