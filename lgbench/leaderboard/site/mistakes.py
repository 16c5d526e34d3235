"""The wrong replies of a system's runs by kind, with an example of each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lgbench.doctor.errors import Filter, WrongReply, kinds, wrong_replies_in
from lgbench.results.schema import Result
from lgbench.scoring.display import percent
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

MOST_EXAMPLES = 6
_WIDTH = 60
_BEFORE = 20  # characters of a long text that are shown before the first wrong one


class Mistakes:
    """Finds wrong replies in the folders of a system's runs.

    Args:
        folders: The folder of each run, by the `id` of its result.
    """

    def __init__(self, folders: Mapping[int, Path]) -> None:
        self._folders = folders

    def table(
        self, results: Sequence[Result], *, tasks: Sequence[str], lengths: Sequence[int], title: str
    ) -> dict[str, Any]:
        """The variables of the table: kinds from the most frequent, and an example of each of the first few.

        Raises:
            LgbenchError: The replies of a run cannot be read.
        """
        wanted = Filter(tasks=tuple(tasks), lengths=tuple(lengths))
        runs = {self._folders[id(result)]: result for result in results}
        found, problems = wrong_replies_in(runs, wanted)
        if problems:
            raise LgbenchError("\n".join(problems))
        counts = kinds(found)
        first = {each.mistake: each for each in reversed(found)}
        return {
            "title": title,
            "kinds": [
                {"name": name, "count": f"{count:,}", "share": f"{percent(count / len(found))} %"}
                for name, count in counts.items()
            ],
            "examples": [_example(first[name]) for name in list(counts)[:MOST_EXAMPLES]],
        }


def _example(wrong: WrongReply) -> dict[str, str]:
    """A reply below its target, with a mark at the first character that differs."""
    start = max(0, wrong.first_wrong - _BEFORE)
    dots = "... " if start else ""
    same = wrong.example.target[start : wrong.first_wrong]
    return {
        "id": wrong.example.id,
        "kind": wrong.mistake,
        "prompt": _part(wrong.example.prompt, 0),
        "target": dots + _part(wrong.example.target, start),
        "reply": dots + _part(wrong.reply.text, start),
        "mark": " " * (len(dots) + 1 + len(plain(same))) + "^",
    }


def _part(text: str, start: int) -> str:
    """Part of a text in quotes, on one line and without control characters."""
    more = " ..." if len(text) > start + _WIDTH else ""
    return f"'{plain(text[start : start + _WIDTH])}'{more}"
