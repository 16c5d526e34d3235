"""The presets are those of the table in docs/settings.md, and `paper` is the paper's."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

pytest.importorskip("torch")

import lgbench  # after the skip
from lgbench.cli import train
from lgbench.data.suites import load_suite
from lgbench.experiments import ArmExperiment
from lgbench.training.settings import DEFAULT_PRESET, TrainingSettings, preset_settings
from studies.strings_second import Strings

MINI = load_suite("mini-v1")
PAGE = (Path(__file__).parents[2] / "docs" / "settings.md").read_text("utf-8")


def table() -> dict[str, dict[str, str]]:
    """For each column of the table of presets, the text of its cells by the setting's name."""
    head, _, *lines = re.findall(
        r"^\|.*\|$", PAGE[PAGE.index("| setting |") :].partition("\n\n")[0], flags=re.MULTILINE
    )
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
    return f"`{preset}`, {'arithmetic' if 'add' in group else 'mazes' if 'maze' in group else 'strings'}"


@pytest.mark.parametrize(
    ("preset", "group"),
    [
        *((preset, group.name) for preset in ("mini", "paper") for group in MINI.groups),
        ("tuned", "copy-mqar"),
        ("tuned", "capitalize-reverse"),
    ],
)
def test_the_table_shows_every_setting_of_every_preset(preset: str, group: str) -> None:
    shown = table()[column(preset, group)]
    assert sorted(shown) == sorted(TrainingSettings.model_fields)
    assert TrainingSettings.model_validate(shown) == preset_settings(preset, MINI.domain(MINI.group(group)))


@pytest.mark.parametrize("group", ["add-carry", "add-subtract", "add-multiply", "maze-trace", "maze-path"])
def test_tuned_is_mini_with_the_packed_step_where_nothing_was_tuned(group: str) -> None:
    domain = MINI.domain(MINI.group(group))
    assert preset_settings("tuned", domain) == preset_settings("mini", domain, ["packed=true", "length_chunks=8"])


@pytest.mark.parametrize("group", ["copy-mqar", "capitalize-reverse"])
def test_tuned_is_what_the_study_of_strings_chose(group: str) -> None:
    root = Path(__file__).parents[2] / "studies" / "records" / "strings-second"
    trial = Strings().choice(root)
    assert trial is not None
    changes = [f"steps={trial.steps}", "evaluate_every=420", *Strings.step, *trial.changes]
    domain = MINI.domain(MINI.group(group))
    assert preset_settings("tuned", domain) == preset_settings("mini", domain, changes)


def test_the_default_is_the_same_everywhere() -> None:
    functions = (train.command, lgbench.train, lgbench.reproduce)
    defaults = {inspect.signature(each).parameters["preset"].default for each in functions}
    assert defaults | {ArmExperiment.preset} == {DEFAULT_PRESET}


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
