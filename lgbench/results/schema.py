"""What `result.json` holds. Field by field: docs/results.md; as JSON Schema: `lgbench schema`.

Counts are integers and percentages are never stored. A model here refuses unknown fields and inconsistent counts, so a
value of type `Result` is one whose numbers can be true; whether they are is for re-scoring to say.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import pairwise
from typing import Annotated, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from lgbench.util.errors import UnknownNameError
from lgbench.util.text import plain

_LONGEST_SHOWN = 100
MAX_REPLY_CHARS = 4096
"""Longer replies are cut to this length before they are scored, stored and digested."""

Count = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
MAX_PARAMETERS = 10**14
MAX_TOKENS = 10**12
Parameters = Annotated[int, Field(ge=0, le=MAX_PARAMETERS)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=100)]
MAX_TEXT = 2000
Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]
MAX_NAMED = 100
"""Options of a model, or packages."""
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("a moment needs its offset from UTC, as in 2026-01-31T12:00:00Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a moment must lie in the years 1 to 9999, in UTC too") from None


def _as_written(moment: object) -> object:
    """Read the text of a moment. pydantic would take a number, also as text, for seconds since 1970."""
    if not isinstance(moment, str):
        return moment
    if not _ISO_8601.match(moment):
        raise ValueError("a moment is written as in 2026-01-31T12:00:00Z")
    return datetime.fromisoformat(moment)


def _whole(number: object) -> object:
    """Refuse what equals a number without being one in a file: `true` and 1.0 both equal 1."""
    if isinstance(number, bool | float):
        raise ValueError("must be a whole number")
    return number


_ISO_8601 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")
Moment = Annotated[datetime, AfterValidator(_in_utc), BeforeValidator(_as_written)]
# Only characters that mean nothing in Markdown or HTML; others can be percent-encoded.
_LINK = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~:/?#@!$&+,;=%-]*)?")


def _link(text: str) -> str:
    if not _LINK.fullmatch(text):
        raise ValueError(
            "a link begins with https:// or http://, names a host, and percent-encodes spaces, quotes, brackets and "
            "everything that is not ASCII"
        )
    return text


Link = Annotated[str, StringConstraints(max_length=300), AfterValidator(_link)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FirstWrong(_Record):
    """How many wrong replies go wrong first at a position.

    Attributes:
        position: Of the first character, from 0, at which reply and target differ; the length of the shorter of the two
            where it begins the other.
        count: The number of such replies.
    """

    position: Annotated[int, Field(ge=0, le=MAX_REPLY_CHARS)]
    count: Annotated[int, Field(ge=1, le=10**9)]


WRONG_ENDS = ("empty", "early", "late")
"""Three ways in which a wrong reply may end, each counted; no reply ends in two of them."""
LATER_COUNTS = ("empty", "early")
"""Counts that the first results lack. Re-scoring gives them: every wrong reply is stored."""


class CellCounts(_Record):
    """The integer counts of one cell: all that a score is computed from, and the diagnostics, which are never ranked.

    Attributes:
        total: Replies scored.
        correct: Replies that equal their target.
        starts_with_target: Wrong replies that begin with their target: right, but did not stop. Shown as `late`.
        empty: Wrong replies without any text; null in results written before this was counted.
        early: Wrong replies that are the beginning of their target and not empty: right as far as they go; null where
            `empty` is.
        chars_correct: Positions at which reply and target agree, summed over replies.
        chars_total: The length of the longer of reply and target, summed over replies.
        first_wrong: The first wrong positions of the wrong replies, ascending.
        valid_moves: For path tasks, replies whose every move is along an edge of the maze, from START on; else null.
        right_endpoint: For path tasks, replies whose last node is GOAL; else null.
        cut: Replies longer than 4096 characters.
        capped: Replies that the model's generation cap ended.
        refused: Replies that a server refused to give, and that are empty for it.
    """

    total: Annotated[int, Field(ge=1, le=10**9)]
    correct: Count
    starts_with_target: Count
    empty: Count | None = None
    early: Count | None = None
    chars_correct: Count
    chars_total: Count
    first_wrong: tuple[FirstWrong, ...]
    valid_moves: Count | None = None
    right_endpoint: Count | None = None
    cut: Count = 0
    capped: Count = 0
    refused: Count = 0

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        wrong = self.total - self.correct
        if wrong < 0:
            raise ValueError(f"correct ({self.correct}) is more than total ({self.total})")
        if self.starts_with_target > wrong:
            raise ValueError(f"starts_with_target ({self.starts_with_target}) is more than the {wrong} wrong replies")
        if self.chars_correct > self.chars_total:
            raise ValueError(f"chars_correct ({self.chars_correct}) is more than chars_total ({self.chars_total})")
        counted = sum(each.count for each in self.first_wrong)
        if counted != wrong:
            raise ValueError(f"first_wrong counts {counted} replies, but {wrong} are wrong")
        if any(before.position >= after.position for before, after in pairwise(self.first_wrong)):
            raise ValueError("first_wrong positions must ascend without repetition")
        if (self.valid_moves is None) != (self.right_endpoint is None):
            raise ValueError("valid_moves and right_endpoint are either both counts or both null")
        for name in ("valid_moves", "right_endpoint", "cut", "capped", "refused"):
            if (getattr(self, name) or 0) > self.total:
                raise ValueError(f"{name} ({getattr(self, name)}) is more than total ({self.total})")
        self._check_where_they_end()
        return self

    def _check_where_they_end(self) -> None:
        """Make sure that `empty`, `early` and `late`, which are of different wrong replies, can all be true."""
        if self.empty is None or self.early is None:
            if self.empty is not self.early:
                raise ValueError("empty and early are either both counts or both null")
            return
        ends = self.empty + self.early + self.late
        if ends > self.total - self.correct:
            wrong = self.total - self.correct
            raise ValueError(f"empty, early and starts_with_target ({ends}) are more than the {wrong} wrong replies")
        if self.refused > self.empty:
            raise ValueError(f"refused ({self.refused}) is more than empty ({self.empty}), which refused replies are")

    @property
    def late(self) -> int:
        """Wrong replies that go on after their target."""
        return self.starts_with_target

    @property
    def accuracy(self) -> Fraction:
        """The share of replies that equal their target."""
        return Fraction(self.correct, self.total)


class CellResult(_Record):
    """One evaluated cell.

    Attributes:
        task: The task's name.
        task_version: Its version.
        length: The length of the cell's examples.
        sha256: The hash of the whole cell's examples, also where only some were evaluated.
        counts: What was counted.
    """

    task: Name
    task_version: Annotated[int, Field(ge=1)]
    length: Annotated[int, Field(ge=1)]
    sha256: Sha256
    counts: CellCounts


class PromptStyle(_Record):
    """How a language model is asked, and what of its text is the reply (see docs/models-huggingface.md).

    Attributes:
        style: `raw`: the template alone, and the reply is all new text. `instruct`: the task's instruction and worked
            examples before the prompt, and the reply stands between `<answer>` and `</answer>`.
        chat: Whether the text is sent as a user's message, through the chat template of the model.
        template: Of `raw`: the text with `{prompt}` and, where wanted, `{task}` in it; else null.
        shots: Of `instruct`: the number of worked examples; else null.
    """

    style: Literal["raw", "instruct"]
    chat: bool = False
    template: Text | None = None
    shots: Count | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.style == "raw") != (self.template is not None) or (self.style == "instruct") != (
            self.shots is not None
        ):
            raise ValueError("style 'raw' has a template and no shots, style 'instruct' has shots and no template")
        return self

    def __str__(self) -> str:
        """In a line, for people."""
        style = f"style {self.style}{' in a chat' if self.chat else ''}"
        if self.template is not None:
            return f"{style}, template {self.template!r}"
        return f"{style}, {self.shots} worked example{'' if self.shots == 1 else 's'}"


class Usage(_Record):
    """What a paid model used, over all pieces of a run.

    Attributes:
        prompt_tokens: Tokens read, as the server counts them.
        completion_tokens: Tokens written, as the server counts them.
        cost: In the currency of the prices given, where they were given; else null.
    """

    prompt_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)]
    completion_tokens: Annotated[int, Field(ge=0, le=MAX_TOKENS)]
    cost: NonNegative | None = None

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", cost {self.cost:.4f}"
        return f"{self.prompt_tokens:,} tokens read, {self.completion_tokens:,} written{cost}"


OWN_KINDS = frozenset({"builtin", "replay", "file", "module", "entry_point", "checkpoint", "hf", "api", "object"})
"""Kinds of models that lgbench itself finds. Any other is a scheme of an installed package."""
SCHEME_NAME = r"[a-z][a-z0-9_-]{1,39}"
"""The name of a scheme: no file, dotted module or drive letter has such a name."""
Kind = Annotated[str, StringConstraints(pattern=f"^{SCHEME_NAME}$")]


class SystemInfo(_Record):
    """What was evaluated.

    Attributes:
        model: MODEL as given on the command line, or the class of the Python object. `lgbench reproduce` names the
            folder of the run and its checkpoint.
        kind: How the model was found: `builtin`, `replay`, `file`, `module`, `entry_point`, `checkpoint`, `hf` (a
            Hugging Face model), `api` (an OpenAI-compatible server), `object` (in Python), or the name of a scheme that
            an installed package offers.
        options: The model options given, as text.
        source_sha256: Of the model's file, where it has one. More than one: the file changed while a run was resumed.
        parameters: The number of the model's trainable parameters, where the model tells.
        prompt: How a language model is asked; null for models that are given the bare prompts.
    """

    model: Text
    kind: Kind
    options: Annotated[dict[Name, Text], Field(max_length=MAX_NAMED)] = {}
    source_sha256: tuple[Sha256, ...] = ()
    parameters: Parameters | None = None
    prompt: PromptStyle | None = None


class BatchInvariance(_Record):
    """Whether replies depend on the batch: the first 16 examples of each task's shortest and longest cell, one by one.

    Attributes:
        checked: Examples asked again at batch size 1.
        changed: How many of their replies differ from those of the run.
    """

    checked: Count
    changed: Count

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        if self.changed > self.checked:
            raise ValueError(f"changed ({self.changed}) is more than checked ({self.checked})")
        return self


class Environment(_Record):
    """Where the run took place.

    Attributes:
        lgbench: Version of this package.
        python: Version of Python.
        numpy: Version of NumPy.
        platform: Operating system and processor architecture.
        device: What the model ran on, as it reports it; "cpu" where it does not.
        packages: Versions of the packages that a reply may depend on, of those that were loaded.
        git_commit: The commit of the working directory, where it lies in a Git repository.
        git_dirty: Whether tracked files differed from that commit.
    """

    lgbench: Name
    python: Name
    numpy: Name
    platform: Text
    device: Text = "cpu"
    packages: Annotated[dict[Name, Name], Field(max_length=MAX_NAMED)] = {}
    git_commit: Name | None = None
    git_dirty: bool | None = None


class _DraftSource(Protocol):
    @property
    def reference(self) -> str | None: ...

    @property
    def sha256(self) -> str | None: ...


class Draft(_Record):
    """Where a draft suite came from, which is one that lgbench does not publish.

    Attributes:
        reference: As given to `--suite`; null for a suite that a Python program made.
        sha256: Of its file, where it has one.
    """

    reference: Text | None
    sha256: Sha256 | None

    @classmethod
    def of(cls, source: _DraftSource | None) -> Draft | None:
        """What a record says of `Suite.draft`; None for a published suite."""
        return None if source is None else cls(reference=source.reference, sha256=source.sha256)


PUBLISHED_ARMS = ("main_only", "transfer", "control", "direct", "short_aux", "open")
"""The arms of a result of a published suite. A draft suite may have others."""


class Result(_Record):
    """One evaluation of one model: the content of `result.json`.

    Attributes:
        schema_version: Of this format.
        suite: The suite's name.
        draft: Where a draft suite came from; left out for a published one.
        arm: How the model was trained: `main_only`, `transfer`, `control`, `direct`, `short_aux`, an arm of a draft
            suite's own, or `open` for none of these.
        group: The group that a trained arm belongs to; null for `open`.
        seed: The model's training seed, where it has one.
        limit: With `--limit`, the examples evaluated of each cell; such a result is not submittable.
        system: What was evaluated.
        cells: By task order, then length.
        replies_sha256: SHA-256 over one JSON line `[id, reply]` for each reply, by cell, then index.
        batch_invariance: Null where it cannot be checked, as for recorded replies.
        environment: Where the run took place.
        started: When it began.
        duration: Seconds that the model worked, over all the run's pieces.
        replies_per_second: Replies over that time.
        usage: Tokens and cost, where the model counts them.
    """

    schema_version: Annotated[Literal[1], BeforeValidator(_whole)] = 1
    suite: Name
    draft: Draft | None = None
    arm: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,49}$")]
    group: Name | None
    seed: Seed | None
    limit: Annotated[int, Field(ge=1)] | None
    system: SystemInfo
    cells: tuple[CellResult, ...] = Field(min_length=1)
    replies_sha256: Sha256
    batch_invariance: BatchInvariance | None
    environment: Environment
    started: Moment
    duration: NonNegative
    replies_per_second: NonNegative
    usage: Usage | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.draft is None and self.arm not in PUBLISHED_ARMS:
            raise UnknownNameError("arm", self.arm, PUBLISHED_ARMS)
        if (self.arm == "open") != (self.group is None):
            raise ValueError("a trained arm names exactly one group, and arm 'open' names none")
        counts = Counter((cell.task, cell.length) for cell in self.cells)
        if repeated := sorted(cell for cell, count in counts.items() if count > 1):
            raise ValueError(f"cell repeated: {repeated[0][0]} at length {repeated[0][1]}")
        return self

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """What it is of, in a line: all of its cells would fill a screen."""
        yield "model", plain(self.system.model, limit=_LONGEST_SHOWN)
        for name in ("suite", "arm", "group", "seed", "limit"):
            if (value := getattr(self, name)) is not None:
                yield name, value
        yield "cells", len(self.cells)
        yield "correct", sum(cell.counts.correct for cell in self.cells)
        yield "total", sum(cell.counts.total for cell in self.cells)

    def __str__(self) -> str:
        return repr(self)

    def to_json(self) -> str:
        """The text of `result.json`: indented, but one cell a line."""
        record = self.model_dump(mode="json")
        if self.draft is None:  # so that a result of a published suite has the bytes that it always had
            del record["draft"]
        cells = ",\n".join(f"  {json.dumps(cell)}" for cell in record["cells"])
        frame = json.dumps(record | {"cells": []}, indent=1)
        return frame.replace('"cells": []', f'"cells": [\n{cells}\n ]', 1) + "\n"
