"""What `leaderboard/board.json` holds: the board as data. Field by field: `lgbench schema board`.

Shares and gains are numbers from 0 to 1 and from -1 to 1, rounded to six digits: the last digits of an interval change
with the version of SciPy, and the same submissions must give the same bytes. Null means that something needed for a
figure is missing, never 0.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from lgbench.leaderboard.order import Coverage
from lgbench.scoring.seen import Word
from lgbench.submissions.tiers import Tier
from lgbench.training.spec import Division

_DIGITS = 6


def _rounded(value: object) -> object:
    # `+ 0.0` turns -0.0 into 0.0, which are one number and two texts.
    return round(value, _DIGITS) + 0.0 if isinstance(value, float) else value


Share = Annotated[float, BeforeValidator(_rounded), Field(ge=0, le=1, allow_inf_nan=False)]
Points = Annotated[float, BeforeValidator(_rounded), Field(ge=-1, le=1, allow_inf_nan=False)]
Ratio = Annotated[float, BeforeValidator(_rounded), Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Figure(_Part):
    """A mean over seeds, or a difference of two, with its 95 % interval."""

    value: Points
    low: Points | None
    """Null where in every arm all seeds have the same accuracy, so that their spread is unknown."""
    high: Points | None
    one_seed: bool
    """Whether some arm has one seed, so that the interval excludes how its seeds differ."""
    count: Count
    """Over how many groups, domains or tasks it is the mean."""


class Mean(_Part):
    """A mean over groups, without an interval."""

    value: Share | None
    count: Count
    """Over how many groups."""


class ArmRecord(_Part):
    """An arm of a system in a group; all but `accuracies` is a mean or a median over seeds."""

    seeds: tuple[Count | None, ...]
    accuracies: tuple[Share, ...]
    """The accuracy of each seed in the transfer zone."""
    in_distribution: Share | None
    transfer: Figure | None
    beyond: Share | None
    success_rate: Share | None
    success_low: Share | None
    success_high: Share | None
    horizon_90: Count | None
    horizon_50: Count | None
    gap: Share | None
    """The generalization gap."""


class VerdictRecord(_Part):
    """Whether transfer was seen."""

    word: Word
    reason: str
    """Why it is no better one; empty for the best."""
    caveats: tuple[str, ...]
    p: dict[str, Share]
    """Of the gain over each baseline."""
    corrected_p: Share | None
    """The greatest p after Holm's correction; null where none is due."""
    tests: Count
    """For how many groups it is corrected."""


class GroupRecord(_Part):
    """A system in a group."""

    group: str
    score: Figure | None
    transfer_gain: Figure | None
    control_gain: Figure | None
    gain_over_control: Figure | None
    gain_over_short_aux: Figure | None
    recovered_share: Ratio | None
    verdict: VerdictRecord
    arms: dict[str, ArmRecord]


class TrainedRecord(_Part):
    """A system trained under the arms, on a suite."""

    system: str
    division: Division
    tier: Annotated[str, Field(json_schema_extra={"enum": [str(tier) for tier in Tier]})]
    """How far its results are verified."""
    verified: bool
    """Whether a maintainer saw its models."""
    missing: tuple[str, ...]
    """What keeps it from the next tier."""
    coverage: Coverage
    """Whether it covers the suite with enough seeds (`ranked`), with fewer, or covers fewer groups."""
    first_place: Count | None
    """Its possible places run from this to `last_place`; null where it is not ranked."""
    last_place: Count | None
    score: Figure | None
    """The mean of the group scores; the transfer score where it covers the suite."""
    domain_score: Figure | None
    transfer_gain: Figure | None
    control_gain: Figure | None
    seen: Count
    """In how many covered groups transfer is seen."""
    consistent: Count
    covered: Count
    """Groups with a run of both `transfer` and `main_only`: those that the means are over."""
    fewest_seeds: Count
    """Of the arm `transfer`, in the covered group that has the fewest; 0 without a covered group."""
    in_distribution: Mean
    beyond: Mean
    success_rate: Mean
    best_seed: Mean
    groups: tuple[GroupRecord, ...]


class TaskRecord(_Part):
    """A task of a system of arm `open`."""

    task: str
    transfer: Share | None
    """The accuracy in the transfer zone of the task's first group, mean over seeds."""
    horizon_90: Count | None
    horizon_50: Count | None


class OpenRecord(_Part):
    """A system evaluated under the arm `open`, on a suite."""

    system: str
    place: Count
    score: Figure | None
    seeds: tuple[Count | None, ...]
    asked: tuple[str, ...]
    """How a language model was asked; empty for a model that gets the bare prompts."""
    tasks: tuple[TaskRecord, ...]


class GroupInfo(_Part):
    """A group of a suite."""

    name: str
    domain: str
    main: str
    auxiliaries: tuple[str, ...]
    control: str
    main_length: Count
    aux_length: Count
    grid: tuple[Count, ...]


class SuiteRecord(_Part):
    """A suite with its systems."""

    name: str
    examples_per_cell: Count
    groups: tuple[GroupInfo, ...]
    main_tasks: tuple[str, ...]
    trained: tuple[TrainedRecord, ...]
    open: tuple[OpenRecord, ...]


class SystemInfo(_Part):
    """What a system's authors say of it."""

    name: str
    description: str
    authors: tuple[str, ...]
    link: str | None
    licence: str
    parameters: tuple[Count, ...]
    """The numbers of trainable parameters of its models, ascending."""
    training_notes: str
    runs: Count


class BoardRecord(_Part):
    """The leaderboard: the content of `board.json`."""

    format: Literal["lgbench-board"] = "lgbench-board"
    schema_version: Literal[1] = 1
    systems: tuple[SystemInfo, ...]
    suites: tuple[SuiteRecord, ...]
    """The suites that some system has runs of."""


def schema_text() -> str:
    """The JSON Schema of `board.json`, as it is committed beside it."""
    return json.dumps(BoardRecord.model_json_schema(), indent=1) + "\n"
