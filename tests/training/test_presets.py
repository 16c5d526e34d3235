"""The presets are those of the table in docs/training.md, and `paper` is the paper's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.cli import train  # after the skip
from lgbench.data.suites import load_suite
from lgbench.experiments import ArmExperiment
from lgbench.training.settings import DEFAULT_PRESET, TrainingSettings, preset_settings
from studies.strings import Strings

MINI = load_suite("mini-v1")
PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text("utf-8")


def table(begin: str = "| setting | `mini`") -> dict[str, dict[str, str]]:
    """For each column of a table of presets, the text of its cells by the setting's name."""
    head, _, *lines = re.findall(r"^\|.*\|$", PAGE[PAGE.index(begin) :].partition("\n\n")[0], flags=re.MULTILINE)
    _, *columns = _cells(head)
    found: dict[str, dict[str, str]] = {column: {} for column in columns}
    for line in lines:
        named, *values = _cells(line)
        name = re.match(r"`(\w+)`", named)
        assert name is not None, line
        for column, value in zip(columns, values, strict=True):
            found[column][name[1]] = value
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def column(preset: str, group: str) -> str:
    if preset == "paper":
        return "`paper`"
    return f"`mini`, {'arithmetic' if 'add' in group else 'mazes' if 'maze' in group else 'strings'}"


@pytest.mark.parametrize("preset", ["mini", "paper"])
@pytest.mark.parametrize("group", [group.name for group in MINI.groups])
def test_the_table_shows_every_setting_of_every_preset(preset: str, group: str) -> None:
    shown = table()[column(preset, group)]
    assert sorted(shown) == sorted(TrainingSettings.model_fields)
    assert TrainingSettings.model_validate(shown) == preset_settings(preset, MINI.domain(MINI.group(group)))


@pytest.mark.parametrize("group", [group.name for group in MINI.groups])
def test_the_second_table_shows_where_fast_differs_from_mini(group: str) -> None:
    domain = MINI.domain(MINI.group(group))
    mini, fast = (preset_settings(preset, domain) for preset in ("mini", "fast"))
    shown = table("| setting | `fast`, strings")[column("mini", group).replace("mini", "fast")]
    differing = {name for name in TrainingSettings.model_fields if getattr(mini, name) != getattr(fast, name)}
    assert differing <= set(shown)
    assert TrainingSettings.model_validate(mini.model_dump() | shown) == fast


def test_the_default_is_the_same_everywhere() -> None:
    assert {ArmExperiment.preset, inspect.signature(train.command).parameters["preset"].default} == {DEFAULT_PRESET}


def test_strings_have_the_settings_that_their_study_chose() -> None:
    study = Strings()
    chosen = study.choice(Path(__file__).parents[2] / "studies" / "records" / "strings")
    assert chosen is not None
    same = preset_settings("mini", MINI.domain(MINI.group("copy-mqar")), (*study.step, *chosen.changes))
    longer = same.model_copy(update={"steps": 4000, "evaluate_every": 400, "head_size": None})
    assert longer == preset_settings("fast", MINI.domain(MINI.group("copy-mqar")))
    assert same.head_size == same.width // same.heads


@pytest.mark.parametrize("suite", ["mini-v1", "standard-v1"])
@pytest.mark.parametrize("group", [group.name for group in MINI.groups])
def test_the_preset_paper_is_the_papers(suite: str, group: str) -> None:
    found = load_suite(suite)
    settings = preset_settings("paper", found.domain(found.group(group)))
    assert (settings.layers, settings.heads, settings.width, settings.hidden) == (6, 6, 384, 1536)
    assert (settings.position, settings.theta) == ("rope", 1e5)
    assert (settings.steps, settings.warmup, settings.decay, settings.batch) == (20_000, 0.1, 0.4, 1200)
    assert (settings.learning_rate, settings.beta2, settings.weight_decay) == (1e-3, 0.98, 0.01)
    assert settings.precision == "bfloat16"
