"""What `lgbench submit` writes of a new system's training, from what `lgbench reproduce` recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.training.notes import how_trained, record_beside, training_notes
from lgbench.training.planned import PlannedMethod
from lgbench.training.record import TrainingRecord, read_training_record

ROOT = Path(__file__).parents[2]
SUBMITTED, RECORDED = ROOT / "submissions" / "reference-nope", ROOT / "docs" / "runs" / "reference-nope"
TRANSFER, CONTROL = "mini-v1-copy-mqar-transfer-seed1", "mini-v1-copy-mqar-control-seed1"
NOPE = "lgbench 0.1.0 with torch 2.13.0+cpu on cpu, preset mini, position=nope, bfloat16 products."


def recorded(name: str, system: str = "reference-nope") -> TrainingRecord:
    return read_training_record(ROOT / "docs" / "runs" / system / name)


def changed(record: TrainingRecord, settings: dict[str, object], **plan: object) -> TrainingRecord:
    changed_settings = record.plan.settings.model_copy(update=settings)
    return record.model_copy(update={"plan": record.plan.model_copy(update={"settings": changed_settings, **plan})})


@pytest.fixture(name="runs")
def reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs as `lgbench reproduce` leaves them."""
    for name in (TRANSFER, CONTROL):
        (tmp_path / "runs" / name).mkdir(parents=True)
        shutil.copytree(SUBMITTED / name, tmp_path / "runs" / name / "result")
        shutil.copy(RECORDED / name / "training.json", tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def submit(*arguments: str) -> tuple[dict[str, object], str]:
    done = CliRunner().invoke(app, ["submit", *arguments, "--name", "mine"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(Path("submissions/mine/system.json").read_text("utf-8")), done.output


def test_a_change_of_the_preset_is_told() -> None:
    assert training_notes([recorded(TRANSFER), recorded(CONTROL)]) == NOPE
    assert training_notes([recorded(TRANSFER, "reference-rope")]) == NOPE.replace(" position=nope,", "")


def test_what_changes_no_weight_is_not_told() -> None:
    record = recorded(TRANSFER)
    assert training_notes([changed(record, {"workers": 3, "evaluate_every": 7})]) == NOPE
    assert "steps=9, learning_rate=0.5, float32 products" in training_notes(
        [changed(record, {"steps": 9, "learning_rate": 0.5, "precision": "float32", "position": "rope"})]
    )


def test_a_method_is_told_with_its_options() -> None:
    method = PlannedMethod(name="shares", options={"main": "1/2"}, division="open")
    told = training_notes([changed(recorded(TRANSFER), {"learning_rate": 3 * 0.0015}, method=method)])
    assert "learning_rate=0.0045, bfloat16 products, method shares (main=1/2)." in told
    own = PlannedMethod(name="/home/me/mine.py:Mine", division="closed", sha256="0" * 64)
    told = training_notes([changed(recorded(TRANSFER), {}, method=own)])
    assert f"method Mine (SHA-256 {'0' * 64})" in told
    assert "/home/me" not in told


def test_lists_may_be_joined_by_commas_or_repeated(runs: Path) -> None:
    given = ("--trials", "3", "--selected-on", "in_distribution")
    submit(str(runs), *given, "--tuned-arm", "main_only,transfer", "--tuning-seed", "0,200", "--tuning-seed=201")
    declaration = json.loads(Path("submissions/mine/declaration.json").read_text("utf-8"))
    assert declaration["tuned_arms"] == ["main_only", "transfer"]
    assert declaration["tuning_seeds"] == [0, 200, 201]
    for option, words in (("--tuned-arm=mine", "--tuned-arm: Input"), ("--tuning-seed=x", "--tuning-seed 'x' is not")):
        done = CliRunner().invoke(app, ["submit", str(runs), "--name=other", "--tuning-seed=1", *given, option])
        assert done.exit_code == 1
        assert words in str(done.exception)


def test_a_declaration_can_be_completed_later(runs: Path) -> None:
    submit(f"{runs}/{TRANSFER}", "--trials=0")
    told = submit(f"{runs}/{TRANSFER}", "--open-data", "A book.")[1]
    assert "\nChanged submissions/mine/declaration.json\n" in told
    assert "Changed submissions/mine/system.json" not in told
    path = Path("submissions/mine/declaration.json")
    declaration = json.loads(path.read_text("utf-8"))
    assert (declaration["trials"], declaration["open_data"]) == (0, "A book.")
    assert "Changed submissions/mine/system.json\n" in submit(f"{runs}/{TRANSFER}", "--link=https://example.org")[1]
    given = ["--trials=3", "--selected-on=in_distribution", "--tuned-arm=transfer", "--tuning-seed=7"]
    other = CliRunner().invoke(app, ["submit", str(runs / TRANSFER), "--name=mine", *given])
    assert "says another trials and selected_on already" in str(other.exception)
    path.write_text(json.dumps({"schema_version": 1, "trials": 3, "tuned_arms": ["transfer"]}), encoding="utf-8")
    submit(f"{runs}/{TRANSFER}", "--selected-on=in_distribution", "--tuning-seed=7")
    completed = json.loads(path.read_text("utf-8"))
    assert [completed[name] for name in ("trials", "selected_on", "tuned_arms", "tuning_seeds")] == [
        *(3, "in_distribution", ["transfer"], [7])
    ]


def test_of_a_preset_that_is_no_more_every_setting_is_told() -> None:
    told = training_notes([changed(recorded(TRANSFER), {}, preset="old")])
    assert "preset old, layers=3, heads=4," in told
    assert "position=nope" in told


def test_another_model_and_another_recipe_are_told() -> None:
    rope = recorded(TRANSFER, "reference-rope")
    own = changed(rope, {}, model="/home/me/mine.py:build", model_sha256="ab" * 32, group="add-carry")
    assert training_notes([own]).endswith(f"products, model mine.py:build (SHA-256 {'ab' * 32}).")
    plain = NOPE.replace(" position=nope,", "").removesuffix(".")
    several = training_notes([rope, recorded(CONTROL, "reference-rope"), recorded("mini-v1-add-carry-transfer-seed0")])
    assert several == f"copy-mqar: {plain}; add-carry: {NOPE}"


def test_submit_drafts_the_notes_of_a_new_system(runs: Path) -> None:
    system, told = submit(f"{runs}/{TRANSFER}")
    assert system["training_notes"] == NOPE
    assert f"Its training_notes, from training.json. Add how its settings were chosen:\n  {NOPE}\n" in told
    system, told = submit(f"{runs}/{CONTROL}")
    assert system["training_notes"] == NOPE, "what it says is kept"
    assert "training_notes" not in told
    Path("submissions/mine/system.json").write_text(json.dumps(system | {"training_notes": ""}), "utf-8")
    shutil.rmtree(f"submissions/mine/{CONTROL}")
    assert submit(f"{runs}/{CONTROL}")[0]["training_notes"] == NOPE, "what is empty is filled in"


def test_submit_keeps_to_what_the_user_says(runs: Path) -> None:
    system, told = submit(str(runs), "--training-notes", "In my own way.")
    assert system["training_notes"] == "In my own way."
    assert "training_notes" not in told


def test_submit_says_nothing_of_what_it_does_not_know(runs: Path) -> None:
    (runs / CONTROL / "training.json").unlink()
    system, told = submit(str(runs))
    assert system["training_notes"] == ""
    assert "training_notes" not in told


def test_a_record_of_another_run_or_a_damaged_one_is_none(runs: Path) -> None:
    result = runs / TRANSFER / "result"
    assert record_beside(result) == recorded(TRANSFER)
    shutil.copy(RECORDED / CONTROL / "training.json", runs / TRANSFER)
    assert record_beside(result) is None
    (runs / TRANSFER / "training.json").write_text("{", encoding="utf-8")
    assert record_beside(result) is None
    assert record_beside(runs / TRANSFER) is None


@pytest.mark.parametrize(
    ("run", "how"),
    [
        ("reference-tuned/mini-v1-copy-mqar-transfer-seed0", "4,200 steps of 32 examples"),
        ("tuned-ternary/mini-v1-copy-mqar-transfer-seed0", "4,200 steps of 32 examples with the method ternary"),
        (
            "tuned-rnb/mini-v1-copy-mqar-transfer-seed0",
            "4,200 steps of 32 examples with the method rnb and other data than the arm's (open division)",
        ),
    ],
)
def test_how_a_submitted_run_was_trained(run: str, how: str) -> None:
    assert how_trained(Path(__file__).parents[2] / "submissions" / run) == how


def test_how_a_run_was_trained_is_not_known_without_its_record(runs: Path) -> None:
    result = runs / TRANSFER / "result"
    assert how_trained(result) == f"{recorded(TRANSFER).plan.settings.steps:,} steps of 64 examples"
    (result / "training.json").unlink()  # it was copied from a submission, which has the record beside the result
    (runs / TRANSFER / "training.json").write_text("{", encoding="utf-8")
    assert how_trained(result) is None
    assert how_trained(runs / TRANSFER) is None
