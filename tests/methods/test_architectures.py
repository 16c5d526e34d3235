"""The methods that change the model: ternary weights, positions, a state-space model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from lgbench.models.checkpoint import load_module
from lgbench.training.settings import learning_rate
from lgbench.training.spec import Recipe
from lgbench.training.steps import make_optimizer
from lgbench.util.errors import LgbenchError
from tests.cli.test_training_commands import SMALL
from tests.methods.method_runs import assert_neutral, assert_resumes, method_plan
from tests.shell import Shell
from tests.tiny_training import MINI

NEUTRAL = ("rounding=none", "rate=1", "cut=1", "decay_until=1", "schedule=plain")


@pytest.fixture(name="lgbench")
def lgbench_with_short_replies(lgbench: Shell, short_replies: None) -> Shell:
    return lgbench


@pytest.mark.parametrize(
    ("name", "options"), [("ternary", NEUTRAL), ("positions", ("encoding=rope", "range=0"))], ids=["ternary", "rope"]
)
def test_neutral_options_are_the_plain_run(name: str, options: tuple[str, ...], tmp_path: Path) -> None:
    assert_neutral(name, *options, folder=tmp_path)


def test_a_ternary_run_resumes_and_counts_its_trits(tmp_path: Path) -> None:
    record = assert_resumes(method_plan("ternary"), tmp_path)
    assert [each.step for each in record.measures] == [6, 12]
    values = record.measures[-1].values
    assert len(values) == 3 * 4
    assert 0.2 < values["zeros/blocks.0.attention.qkv"] < 0.5, "of normal weights a third is near 0"
    assert 0 < values["flips/blocks.0.feed_forward.down"] < 0.5
    assert values["dead/blocks.0.attention.out"] == 0
    assert record.plan.division == "closed"


@pytest.mark.parametrize("options", [("encoding=alibi",), ("encoding=half-rope", "range=128")], ids=str)
def test_other_positions_resume(options: tuple[str, ...], tmp_path: Path) -> None:
    """Random positions come from the generator whose state is saved."""
    record = assert_resumes(method_plan("positions", *options), tmp_path)
    module = load_module(tmp_path / "whole" / "checkpoint")[1]
    assert module.shape == record.plan.settings.architecture


def test_the_schedule_of_ternary_weights() -> None:
    settings = method_plan("ternary", changes=("steps=1200", "warmup=0.1", "learning_rate=1e-3")).settings
    rates = [learning_rate(settings, step) for step in (119, 599, 600, 1199)]
    assert rates[0] == pytest.approx(3e-3)
    assert rates[2] / rates[1] == pytest.approx(0.5, abs=0.01), "cut at half"
    assert rates[3] < 3e-6
    module = torch.nn.Linear(4, 4)
    optimizer = make_optimizer(module, settings)
    module(torch.ones(4)).sum().backward()
    decays = []
    for step in (799, 800):
        optimizer.step(settings, step)
        decays.append([group["weight_decay"] for part, _ in optimizer._parts for group in part.param_groups])
    assert decays == [[0.01, 0.0], [0.0, 0.0]]


def test_a_state_space_model_trains_and_is_evaluated_without_naming_its_code(lgbench: Shell) -> None:
    small = ["--method", "state-space", *(f"--method-option={each}" for each in ("layers=1", "width=8", "heads=2"))]
    done = lgbench(
        "reproduce", "--group", "copy-mqar", "--arm", "main_only", "--seeds", "1", *SMALL[8:], *small, "-o", "r"
    )
    assert done.status == 0, done.err
    run = Path("r/copy-mqar-main_only-seed0")
    plan = json.loads((run / "training.json").read_text("utf-8"))["plan"]
    assert plan["model"] == "lgbench.models.state_space:build"
    assert plan["model_options"] == {"layers": "1", "width": "8", "heads": "2", "state": "32"}
    assert not plan["settings"]["packed"]
    done = lgbench("eval", run / "checkpoint", "--task", "string_copy", "--limit", "1", "--output", "e")
    assert done.status == 0, done.err


def test_a_state_space_model_has_the_preset_s_width_and_twice_its_blocks() -> None:
    plan = method_plan("state-space", changes=("layers=3", "width=32"))
    assert plan.model_options == {"layers": "6", "width": "32", "heads": "8", "state": "32"}
    assert (plan.settings.packed, plan.settings.length_chunks) == (False, 2)


def test_packed_ternary_weights_reply_as_the_trained_model(lgbench: Shell) -> None:
    command = ["train", "copy-mqar", "main_only", *SMALL, "--method", "ternary", "--output", "a"]
    assert lgbench(*command).status == 0
    for packing, bits in (("tq2_0", "2.0625"), ("tq1_0", "1.6875")):
        done = lgbench("export", "ternary", "a", packing, "--packing", packing)
        assert done.status == 0, done.err
        assert f"{bits} bits a packed weight" in done.out
        assert "was not trained with ternary weights" not in done.out
    for folder in ("a/checkpoint", "tq2_0", "tq1_0"):
        name = folder.partition("/")[0]
        assert lgbench("eval", folder, "--task", "string_copy", "--limit", "2", "--output", f"e-{name}").status == 0
    results = [json.loads(Path(f"e-{name}/result.json").read_text("utf-8")) for name in ("a", "tq2_0", "tq1_0")]
    assert len({result["replies_sha256"] for result in results}) == 1
    assert "is not a packing" in lgbench("export", "ternary", "a", "b", "--packing", "tq3").err
    assert "float weights have" in lgbench("export", "hf", "a", "c").err


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ternary", ("rounding=binary",), "rounding=binary of 'ternary'"),
        ("ternary", ("rate=-1",), "rate=-1 of 'ternary': Input should be greater than 0"),
        ("ternary", ("cut=2",), "cut=2 of 'ternary': Input should be less than or equal to 1"),
        ("positions", ("encoding=sin",), "encoding=sin of 'positions'"),
        ("positions", ("encoding=nope", "range=64"), "Random positions are for rope and half-rope, not nope"),
        ("positions", ("range=-1",), "range=-1 of 'positions'"),
        ("state-space", ("heads=5",), "heads=5 must divide twice the width"),
        ("state-space", ("layers=0",), "layers=0 of 'state-space'"),
    ],
)
def test_options_out_of_range_are_refused(name: str, options: tuple[str, ...], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        method_plan(name, *options)


@pytest.mark.parametrize(
    ("name", "options", "change", "message"),
    [
        (
            "positions",
            (),
            "position=nope",
            "overridden by the method positions, which sets position=rope",
        ),
        ("ternary", (), "schedule=cosine", "is overridden by the method ternary, which sets schedule=linear"),
        ("ternary", (), "weights=float", "is overridden by the method ternary"),
        ("state-space", (), "packed=true", "is overridden by the method state-space"),
        (
            "state-space",
            (),
            "position=alibi",
            "position shapes the reference model, which",
        ),
        ("state-space", (), "weights=ternary", "weights shapes the reference model"),
        (
            "self-improvement",
            ("base_steps=100",),
            "steps=50",
            "steps=50 is overridden by the method self-improvement, which sets steps=3700",
        ),
        ("positions", ("encoding=nope",), "position=nope", ""),
        ("ternary", (), "learning_rate=1e-3", ""),
        ("ternary", ("schedule=plain",), "schedule=cosine", ""),
        ("ternary", (), "learning_rate=0.0015", ""),  # the preset's
        ("self-improvement", (), "steps=100", ""),
        ("self-improvement", (), "steps=4200", ""),  # the preset's
        ("state-space", (), "width=32", ""),
    ],
)
def test_a_setting_that_the_method_overrides_is_refused(
    name: str, options: tuple[str, ...], change: str, message: str
) -> None:
    """One that it derives its own from counts."""
    if not message:
        method_plan(name, *options, changes=(change,))
        return
    with pytest.raises(LgbenchError, match=message):
        method_plan(name, *options, changes=(change,))


@pytest.mark.parametrize("name", ["ternary", "positions", "state-space"])
def test_a_users_model_is_not_changed(name: str) -> None:
    from lgbench.methods.registry import choose_method

    recipe = Recipe(MINI, model="examples/my_module.py:build", method=choose_method(name))
    with pytest.raises(LgbenchError, match=r"my_module\.py:build"):
        recipe.plan("copy-mqar", "transfer", 0)
