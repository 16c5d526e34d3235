"""Which runs are one system, what `lgbench.compare` returns, and what it says of what cannot be compared."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import lgbench
from lgbench.data.suites import Cell
from lgbench.python.results import Result
from lgbench.python.systems import Given, systems_of, with_baseline
from lgbench.results.schema import SystemInfo
from lgbench.util.errors import LgbenchError, UnknownNameError
from tests.made_up import group_results, make_result

ROPE = Path(__file__).parents[2] / "submissions" / "reference-rope"


def results(group: str, *right: int, label: str | None = None) -> list[Result]:
    """Runs of `transfer` without a folder, by the right replies in each cell of the main task."""
    return [Result.of(each, folder=None, label=label) for each in group_results(group, {"transfer": right})]


def model(name: str, right: Callable[[Cell], int] = lambda cell: 9, **fields: Any) -> Result:
    """A result of arm `open`."""
    system = SystemInfo(model=name, kind="file")
    return Result.of(make_result(right, system=system, **fields), folder=None)


def test_runs_that_do_not_collide_are_arms_of_one_system() -> None:
    first, second = results("copy-mqar", 1, 2), results("maze-path", 3, 4)
    assert {name: len(own) for name, own in systems_of([Given(first, "runs/a"), Given(second, "runs/b")]).items()} == {
        "model.py:Model": 4
    }
    again = results("copy-mqar", 5, 6)
    systems = systems_of([Given(first, "runs/a"), Given(again, "runs/b")])
    assert systems == {"a": first, "b": again}
    assert list(systems_of([Given(first, "x/runs"), Given(again, "y/runs")])) == ["x/runs", "y/runs"]


def test_names_and_labels_say_what_is_one_system() -> None:
    labelled, plain = results("copy-mqar", 1, label="alibi"), results("copy-mqar", 2)
    assert systems_of([Given([*labelled, *plain], "runs")]) == {"alibi": labelled, "model.py:Model": plain}
    named = systems_of([Given(labelled, "runs/a", "mine"), Given(plain, "runs/b", "mine")])
    assert named == {"mine": [*labelled, *plain]}


def test_models_of_arm_open_are_systems_by_their_names_or_by_their_folders() -> None:
    one, other = model("gpt"), model("claude")
    assert systems_of([Given([one, other], "runs")]) == {"gpt": [one], "claude": [other]}
    again = model("gpt")
    object.__setattr__(one, "_folder", None)
    systems = systems_of(
        [Given([Result.of(one, folder=Path("r/zero")), Result.of(again, folder=Path("r/eight"))], "r")]
    )
    assert list(systems) == ["zero", "eight"]
    seeds = [model("mine", seed=0), model("mine", seed=1)]
    assert systems_of([Given(seeds, "runs")]) == {"mine": seeds}


def test_a_comparison_is_a_line_a_frame_a_record_and_a_page() -> None:
    found = lgbench.compare(
        {"mine": results("copy-mqar", 200, 210, 190, 205, 195), "<b>": results("copy-mqar", 9, 10, 30, 20, 2)}
    )
    assert isinstance(found, lgbench.SystemComparison)
    assert repr(found) == "<Comparison: mine is better than <b>.>"
    assert found.left_out == ()
    assert list(found.to_frame()["verdict"])[-1] == "better"
    assert json.loads(json.dumps(found.to_dict()))["contests"][0]["comparisons"][0]["verdict"] == "better"
    page = found._repr_html_()
    assert "<svg" in page
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    markdown = found.to_markdown()
    assert markdown.startswith("**mine is better than &lt;b&gt;.**\n\n- ")
    assert "| copy-mqar |" in markdown


def test_of_one_system_the_arms_are_compared() -> None:
    runs = [
        Result.of(each, folder=None, label="mine")
        for each in group_results("copy-mqar", {"main_only": [0, 9], "transfer": [200, 210]})
    ]
    found = lgbench.compare(runs)
    assert isinstance(found, lgbench.ArmComparison)
    assert repr(found) == "<Comparison of the arms of mine: copy-mqar not testable>"
    assert list(found.to_frame()["arm"]) == ["main_only", "transfer"]
    assert found.to_dict()[0]["group"] == "copy-mqar"
    assert "copy-mqar: not testable" in found.to_markdown()
    page = found._repr_html_()
    assert page.count("<svg") == 1
    assert "&nbsp;&nbsp;lowest" in page
    with pytest.raises(
        LgbenchError, match="All of these runs are of one system, 'mine', and an arm is to compare several"
    ):
        lgbench.compare(runs, arm="transfer")


def test_what_does_not_count_is_warned_of() -> None:
    mine = [
        *results("copy-mqar", 200, 210),
        *[each.model_copy(update={"limit": 3}) for each in results("maze-path", 9)],
    ]
    with pytest.warns(UserWarning, match=r"Left out: .*, as it is limited to 3 examples of a cell\."):
        found = lgbench.compare({"mine": mine, "rope": results("copy-mqar", 9, 10)})
    assert len(found.left_out) == 1
    three = {"mine": results("copy-mqar", 1, 2), "rope": results("copy-mqar", 3, 4), "gpt": [model("gpt")]}
    with pytest.warns(UserWarning, match="Left out: gpt on mini-v1, as no other system has the same groups and arm"):
        lgbench.compare(three)


@pytest.mark.parametrize(
    ("systems", "message"),
    [
        ({"a": results("copy-mqar", 1), "b": results("maze-path", 2)}, "No group has complete runs of arm 'transfer'"),
        ({"a": results("copy-mqar", 1), "b": [model("gpt")]}, "a under trained arms, b under open. Compare systems of"),
        ({"a": [model("gpt")]}, "There is one model, 'a', of arm open. Name a second, or `lgbench show` it."),
        ({"a": results("copy-mqar", 1), "b": []}, "'b' has no complete run. Evaluate whole arms"),
        ({"a": results("copy-mqar", 1) * 2, "b": results("copy-mqar", 1)}, "If they are of two systems, give each a"),
        ({"a": 1}, "Give folders or results, as of lgbench.load_results; int is neither."),
        ({}, "Name systems, as in"),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(systems: dict[str, list[Result]], message: str) -> None:
    with pytest.raises(LgbenchError) as caught:
        lgbench.compare(systems)
    assert message in str(caught.value)
    assert "Compare them in arm" not in str(caught.value), "no two of these share an arm"
    assert "\n" not in str(caught.value)


def test_a_baseline_is_a_system_a_folder_or_a_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = {"mine": results("copy-mqar", 1)}
    assert with_baseline(systems, "mine") == (systems, "mine")
    monkeypatch.chdir(tmp_path)  # in a clone the submissions beside the package are found from everywhere
    for named in ("reference-rope", str(ROPE)):
        found, name = with_baseline(systems, named)
        assert (list(found), name) == (["mine", "reference-rope"], "reference-rope")
    with pytest.raises(UnknownNameError, match=r"'reference-rop' is not a system or folder\. Did you mean"):
        with_baseline(systems, "reference-rop")
    with pytest.raises(LgbenchError, match=r"holds 8 systems, .*: a baseline is one of them"):
        with_baseline(systems, str(ROPE.parent))


def test_everything_that_cannot_be_read_is_told_at_once(tmp_path: Path) -> None:
    for name, content in (("broken", "{"), ("newer", '{"schema_version": 9}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(content, encoding="utf-8")
    with pytest.raises(LgbenchError) as caught:
        lgbench.compare(tmp_path, baseline="reference-rope")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "is not valid JSON" in lines[0]
    assert "A newer lgbench wrote the file: upgrade." in lines[1]
    assert lines[2] == "Fix them, or name only the other folders."


def test_systems_are_drawn_over_each_other() -> None:
    pytest.importorskip("matplotlib")
    systems = {"mine": results("copy-mqar", 200, 210), "_rope $x$": results("copy-mqar", 9, 10)}
    (axes,) = lgbench.plot(systems).figure.axes
    assert axes.get_title() == "copy-mqar: string_copy, transfer"
    _, labels = axes.get_legend_handles_labels()
    assert labels == ["training lengths", "mine (2 seeds)", r" _rope \$x\$ (2 seeds)"]
    drawn = lgbench.plot(model("gpt"), model("claude"))
    assert [each.get_title() for each in drawn.figure.axes][:2] == ["reverse_add", "string_copy"]
    assert drawn.figure.axes[0].get_legend_handles_labels()[1] == ["gpt", "claude"]
    assert lgbench.plot([*systems["mine"]]).figure.axes[0].get_title() == "copy-mqar: string_copy", "its arms"
    assert lgbench.plot(systems["mine"], arm="transfer").figure.axes[0].get_title().endswith(", transfer")
    with pytest.raises(LgbenchError, match=r"Choose with --arm"):
        lgbench.plot({"a": results("copy-mqar", 1), "b": [model("gpt")]})
    with pytest.raises(LgbenchError, match="None of these systems has complete runs of arm 'direct'"):
        lgbench.plot(systems, arm="direct")
    with pytest.raises(UnknownNameError, match=r"'directly' is not an arm\. Did you mean 'direct'"):
        lgbench.plot(systems, arm="directly")
