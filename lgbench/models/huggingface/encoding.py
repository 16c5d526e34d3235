"""From a prompt to the tokens that a Hugging Face model is given."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lgbench.data.cells import draw_cell
from lgbench.data.suites import Suite
from lgbench.models.prompting import question
from lgbench.results.schema import PromptStyle
from lgbench.util.errors import LgbenchError

_WITHOUT = "Ask without it: --model-option chat=false."
_DATE = datetime(2024, 7, 26)  # the date that Llama's template writes where it is given none
_DATED = (
    "{%- macro strftime_now(form) -%}{{ lgbench_dates[form] if form in lgbench_dates else '2024-07-26' }}"
    "{%- endmacro +%}"
)
_CHECKED = 4  # prompts of a cell
_SHOWN = 60  # characters of a text in a message
_PART = re.compile(r"""["']type["']: *["']text["']""")  # of a list of parts that was written out as a list


class PromptEncoder:
    """Puts a prompt into the words of a style, through the chat template where the style wants it, and into tokens.

    Args:
        tokenizer: Of `transformers`.
        style: How to ask.
        ends: The end tokens of the model.
        template_name: Which of the tokenizer's chat templates to use, where they have names.

    Raises:
        LgbenchError: The style wants a chat template, and the tokenizer has none of this name.
    """

    def __init__(
        self, tokenizer: Any, style: PromptStyle, *, ends: frozenset[int], template_name: str | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._style = style
        _check_template_name(tokenizer, template_name, chat=style.chat)
        self._template = _template_options(tokenizer, template_name) if style.chat else {}
        self._in_parts: bool | None = None  # whether the template takes a list of parts; None until it was tried
        closing = (getattr(tokenizer, name, None) for name in ("sep_token_id", "cls_token_id"))
        self._closing = ends | {token for token in closing if token is not None}
        self._always_closed = _ends_behind(self._encoded("0"), self._closing)

    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """Check that the chat template passes on the questions of each task, unchanged.

        Raises:
            LgbenchError: It drops or changes them, or refuses them.
        """
        if not self._style.chat:
            return
        self._in_parts = None
        self._choose_form(
            [
                question(self._style, suite, example.prompt, task)
                for task in tasks
                for length in (suite.grid(task)[0], suite.grid(task)[-1])
                for example in draw_cell(suite, task, length, split="dev")[:_CHECKED]
            ]
        )

    def tokens(self, suite: Suite, prompt: str, task: str) -> list[int]:
        """The tokens that ask for the reply to a prompt."""
        text = question(self._style, suite, prompt, task)
        if not self._style.chat:
            return self._opened(text)
        if self._in_parts is None:
            self._choose_form([text])
        return self._written(self._rendered(text, in_parts=bool(self._in_parts)))

    def _choose_form(self, texts: Sequence[str]) -> None:
        """Find the form of a message that the template takes: a text or, where it drops or refuses that, parts."""
        faults = [self._fault(texts, in_parts=in_parts) for in_parts in (False, True)]
        if all(faults):
            raise LgbenchError(f"{faults[0]} As a list of text parts it fares no better. {_WITHOUT}")
        self._in_parts = bool(faults[0])

    def _fault(self, texts: Sequence[str], *, in_parts: bool) -> str | None:
        """What goes wrong with the first text that the template does not pass on as it is; None if nothing does."""
        try:
            for text in texts:
                self._rendered(text, in_parts=in_parts)
        except LgbenchError as error:
            return str(error)
        return None

    def _rendered(self, text: str, *, in_parts: bool) -> str:
        """What the template makes of a user's message.

        Raises:
            LgbenchError: It refuses the message, or does not pass it on as it is.
        """
        content: object = [{"type": "text", "text": text}] if in_parts else text
        try:
            rendered: str = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": content}],
                tokenize=False,
                add_generation_prompt=True,
                # A template without a thinking mode ignores the switch; a model that thinks would only reach its cap.
                enable_thinking=False,
                **self._template,
            )
        except Exception as error:  # a template can raise anything that Jinja and Python can
            raise LgbenchError(f"The chat template of the tokenizer refuses a user's message: {error}.") from error
        if text not in rendered or (in_parts and _PART.search(rendered)):
            raise LgbenchError(
                f"The chat template of the tokenizer drops or changes what it is given: a message that ends in "
                f"{text[-_SHOWN:]!r} becomes a text that ends in {rendered[-_SHOWN:]!r}."
            )
        return rendered

    def _opened(self, text: str) -> list[int]:
        """The tokens of a text behind those that the tokenizer opens every text with.

        Some tokenizers close every text too, with an end token or, as BERT's and XLNet's do, a separator. A model
        continues it only without that. End tokens that the text itself ends with stay; and what it begins with is not
        put before it a second time.
        """
        own, all_tokens = self._written(text), self._encoded(text, add_special_tokens=True)
        start = _position(own, all_tokens)
        if start is None:  # a tokenizer that writes the text itself in another way
            added = _ends_behind(all_tokens, self._closing) - _ends_behind(own, self._closing)
            return all_tokens[: len(all_tokens) - max(added, 0)]
        before, behind = all_tokens[:start], all_tokens[start + len(own) :]
        if own[: len(before)] == before:
            before = []
        return [*before, *own, *behind[: len(behind) - _ends_behind(behind, self._closing)]]

    def _written(self, text: str) -> list[int]:
        """The tokens of a text, and no others: there are tokenizers that close a text even where told not to."""
        tokens = self._encoded(text)
        return tokens[: len(tokens) - self._always_closed]

    def _encoded(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        return tokens


def _template_options(tokenizer: Any, name: str | None) -> dict[str, Any]:
    """What to give `apply_chat_template`: the template of this name, and one date for all that asks for today's.

    A run must not depend on the day. `transformers` lets nobody pass a clock, so the dates are passed, in each form
    that the template asks for, and a macro before the template looks them up.
    """
    given: dict[str, Any] = {} if name is None else {"chat_template": name}
    template: str = tokenizer.get_chat_template(name)
    if "strftime_now" in template:
        forms = {form for _, form in re.findall(r"""strftime_now\(\s*(["'])(.*?)\1""", template)}
        given["chat_template"] = _DATED + template
        given["lgbench_dates"] = {form: _DATE.strftime(form) for form in forms}
    return given


def _check_template_name(tokenizer: Any, name: str | None, *, chat: bool) -> None:
    templates = getattr(tokenizer, "chat_template", None)
    names = sorted(templates) if isinstance(templates, dict) else []
    if name is not None and not chat:
        raise LgbenchError(f"The model option chat_template={name} is for chat=true.")
    if name is not None and name not in names:
        has = f"Valid: {', '.join(names)}." if names else "Its chat templates have no names."
        raise LgbenchError(f"The tokenizer has no chat template {name!r}. {has}")
    if chat and name is None and names and "default" not in names:
        raise LgbenchError(
            f"The tokenizer has several chat templates ({', '.join(names)}), and none is its default. Choose one: "
            f"--model-option chat_template={names[0]}."
        )


def _ends_behind(tokens: Sequence[int], ends: frozenset[int]) -> int:
    """How many end tokens are at the end of these tokens."""
    return next((count for count, token in enumerate(reversed(tokens)) if token not in ends), len(tokens))


def _position(part: Sequence[int], whole: Sequence[int]) -> int | None:
    """Where a part begins in the whole; None where it is not in it."""
    starts = range(len(whole) - len(part) + 1)
    return next((start for start in starts if whole[start : start + len(part)] == part), None)
