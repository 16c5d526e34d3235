"""Training records, declarations and weights of a submission: what is refused, with path and field."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lgbench.data.stream import TrainingData
from lgbench.data.suites import SUITES, load_suite
from lgbench.models.tokenizer import PUBLISHED
from lgbench.submissions.checking import check
from lgbench.submissions.declaration import Declaration, declared
from lgbench.submissions.recorded import contradictions
from lgbench.submissions.tiers import Tier, standing
from lgbench.training.record import TrainingRecord
from lgbench.training.token_counts import EVERY, stream_tokens
from lgbench.util.errors import LgbenchError
from lgbench.util.records import Problem
from tests.submitted import edit, problems

ROOT = Path(__file__).parents[2]
SUBMITTED = ROOT / "submissions" / "reference-rope"
GROUP = "capitalize-reverse"
RUN = f"mini-v1-{GROUP}-transfer-seed0"
COUNTED = "mini-v1-add-carry-transfer-seed0"
COPYING = "mini-v1-copy-mqar-main_only-seed0"
DECLARED = {
    "schema_version": 1,
    "trials": 2,
    "selected_on": "in_distribution",
    "tuned_arms": ["main_only"],
    "tuning_seeds": [100],
    "open_data": None,
}


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A system of one group with a declaration, as the committed records have it."""
    folder = tmp_path / "submissions" / "mine"
    folder.mkdir(parents=True)
    for run in SUBMITTED.glob(f"mini-v1-{GROUP}-*"):
        shutil.copytree(run, folder / run.name)
    shutil.copy(SUBMITTED / "system.json", folder)
    edit(folder / "system.json", lambda record: record.update(name="mine"))
    (folder / "declaration.json").write_text(json.dumps(DECLARED), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_system_with_true_records_is_recorded(system: Path) -> None:
    (submission,) = check([system]).submissions
    assert standing(submission, SUITES[0]).tier == Tier.RECORDED
    (system / "declaration.json").unlink()
    (submission,) = check([system]).submissions
    assert standing(submission, SUITES[0]).missing == (
        "declaration.json is missing, which says how the settings were chosen.",
    )


def test_every_committed_record_has_the_tokens_of_its_stream() -> None:
    """The table was counted from the stream, the records by the trainer."""
    exact = 0
    for path in sorted(ROOT.glob("submissions/*/*/training.json")):
        record = TrainingRecord.model_validate_json(path.read_text("utf-8"))
        if record.division == "open":
            continue  # it trains on other shares
        span = stream_tokens(
            load_suite("mini-v1"), record.plan.mixture.parts, record.steps_done * record.plan.settings.batch
        )
        assert span is not None
        assert span.least.tokens <= record.tokens <= span.most.tokens, path
        assert span.least.target_tokens <= record.target_tokens <= span.most.target_tokens, path
        exact += span.least == span.most
    assert exact > 0


@pytest.mark.slow
@pytest.mark.parametrize("group", ["add-carry", "copy-mqar"])
def test_the_tables_are_the_sums_of_the_stream_by_another_route(group: str) -> None:
    suite = load_suite("mini-v1")
    parts = suite.group(group).mixture("transfer").parts
    lengths = []
    for example in TrainingData(suite, parts).block(0)[: 2 * EVERY]:
        target = len(PUBLISHED.encode(example.target)) + 1
        lengths.append((len(PUBLISHED.encode_prompt(example.task, example.prompt)) + target, target))
    for examples in (EVERY, 2 * EVERY):
        span = stream_tokens(suite, parts, examples)
        assert span is not None
        assert span.least == span.most
        assert span.least == tuple(map(sum, zip(*lengths[:examples], strict=True)))
    between = stream_tokens(suite, parts, EVERY + 700)
    assert between is not None
    assert between.least < between.most
    assert between.least.tokens <= sum(size for size, _ in lengths[: EVERY + 700]) <= between.most.tokens
    assert between.most.tokens - between.least.tokens < 0.1 * between.most.tokens


FORGED: list[tuple[str, Callable[[Any], object], str]] = [
    ("tokens", lambda record: record.update(tokens=record["tokens"] + 1), "hold"),
    ("target_tokens", lambda record: record.update(target_tokens=record["target_tokens"] - 1), "hold"),
    ("parameters", lambda record: record.update(parameters=7), "the result's model has"),
    ("plan.seed", lambda record: record["plan"].update(seed=1), "but the result beside it is of seed 0"),
    ("plan.arm", lambda record: record["plan"].update(arm="control"), ""),
    (
        "plan",
        lambda record: record["plan"]["parts"][0].update(max_length=10),
        "trains reverse_add up to 10, but the arm transfer trains it up to 8.",
    ),
    (
        "changes.1",
        lambda record: record.update(
            changes=[
                {"step": 7, "parts": [{"task": "no_carry", "task_version": 1, "max_length": 16, "share": "1"}]},
                {"step": 9, "parts": [{"task": "copy_first_op", "task_version": 1, "max_length": 4, "share": "1"}]},
            ]
        ),
        "trains copy_first_op up to 4, but the arm transfer trains it not at all.",
    ),
    (
        "plan.method.division",
        lambda record: record["plan"].update(
            method={"name": "self-improvement", "options": {"rounds": "0"}, "division": "closed"}
        ),
        "is 'closed', but the method self-improvement is open.",
    ),
]


def _given(name: str, **options: str) -> Callable[[Any], object]:
    """A change of a record: its run had a method."""
    method = {"name": name, "options": options, "division": "open"}
    return lambda record: record["plan"].update(method=method)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_given("self-improvement", labels="true"), "labels=true trains on true targets of longer inputs"),
        (_given("procedural", rule="identity"), "the rule identity is the group's task string_copy, with up to 32"),
        (
            _given("procedural", rule="set", second_rule="identity", second_parts="norms", length="9"),
            "with up to 9 symbols",
        ),
        (_given("self-improvement", labels="mine"), "does not exist"),
    ],
)
def test_answers_that_an_arm_withholds_are_refused(change: Callable[[Any], object], words: str) -> None:
    (problem,) = [each for each in found_in(change, COPYING) if each.field == "plan.method"]
    assert words in problem.message


@pytest.mark.parametrize(
    "change",
    [
        _given("self-improvement"),
        _given("self-improvement", labels="true", rounds="0"),
        _given("procedural", rule="dyck"),
        _given("procedural", rule="reverse"),  # the control task of the group, not one of its tasks
        _given("procedural", rule="identity", length="8"),
        _given("mine.py:Method", labels="true"),  # which is not run
    ],
)
def test_other_methods_are_not(change: Callable[[Any], object]) -> None:
    assert [each for each in found_in(change, COPYING) if each.field == "plan.method"] == []


def found_in(change: Callable[[Any], object], run: str = COUNTED) -> list[Problem]:
    """The problems of a submitted training record after a change."""
    from lgbench.results.schema import Result

    result = Result.model_validate_json((SUBMITTED / run / "result.json").read_text("utf-8"))
    record = json.loads((SUBMITTED / run / "training.json").read_text("utf-8"))
    change(record)
    return list(contradictions(result, TrainingRecord.model_validate(record)))


@pytest.mark.parametrize(("field", "change", "words"), FORGED)
def test_a_record_edited_by_hand_is_refused(field: str, change: Callable[[Any], object], words: str) -> None:
    found = found_in(change)
    assert field in [problem.field for problem in found]
    assert words in " ".join(problem.message for problem in found)


@pytest.mark.parametrize("steps", [10**8, 10**9, 10**400])
def test_a_record_of_endless_steps_is_refused_at_once(system: Path, steps: int) -> None:
    """Its points are counted before they are listed, and no number is too large for a sentence."""

    def claim(record: Any) -> None:
        record["plan"]["settings"].update(steps=steps, evaluate_every=1)
        record.update(steps_done=steps)

    edit(system / RUN / "training.json", claim)
    assert {path for path, _ in problems(system)} == {f"{RUN}/training.json"}


def test_more_steps_in_one_arm_need_more_tokens() -> None:
    def train_longer(record: Any) -> None:
        record["plan"]["settings"].update(steps=9000, evaluate_every=9000)
        record.update(steps_done=9000, curve=[record["curve"][-1] | {"step": 9000}])

    assert [problem.field for problem in found_in(train_longer)] == ["tokens", "target_tokens"]


HOSTILE = {
    "no JSON": b"{",
    "another kind": b"[]",
    "repeated keys": b'{"schema_version": 1, "schema_version": 1}',
    "NaN": b'{"seconds": NaN}',
    "nested": b"[" * 100_000,
    "numbers": b"[" + b"9," * 300_000 + b"9]",
    "digits": b'{"trials": ' + b"9" * 100_000 + b"}",
    "large": b" " * 2_000_000,
    "not UTF-8": b"\xff\xfe{}",
    "empty": b"",
}


@pytest.mark.slow
@pytest.mark.parametrize("file", ["declaration.json", f"{RUN}/training.json", f"{RUN}/weights.json"])
@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_with_their_path_quickly(system: Path, file: str, content: bytes) -> None:
    for run in system.glob("mini-v1-*"):
        if run.name != RUN:
            shutil.rmtree(run)
    (system / file).write_bytes(content)
    begun = time.process_time()
    found = problems(system)
    assert {path for path, _ in found} == {file}
    assert time.process_time() - begun < 5


def test_records_that_would_fill_the_memory_are_not_read(tmp_path: Path) -> None:
    for number in range(30):
        (run := tmp_path / "mine" / f"run-{number}").mkdir(parents=True)
        (run / "result.json").touch()
        with (run / "training.json").open("wb") as file:
            file.truncate(900_000)
    found = problems(tmp_path / "mine")
    assert found.pop((".", "")).startswith("has 27,000,000 bytes of results and training records; at most 25,000,000")
    assert {path for path, _ in found} == {"system.json"}


@pytest.mark.parametrize("file", ["declaration.json", f"{RUN}/training.json", f"{RUN}/weights.json"])
def test_a_link_a_folder_and_a_pipe_are_no_records(system: Path, file: str, tmp_path: Path) -> None:
    for run in system.glob("mini-v1-*"):
        if run.name != RUN:
            shutil.rmtree(run)
    path = system / file
    path.unlink(missing_ok=True)
    path.symlink_to(tmp_path / "nowhere")
    assert (file, "") in problems(system)
    path.unlink()
    os.mkfifo(path)
    assert (file, "") in problems(system)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"trials": 0}, "selected_on is 'nothing' exactly where trials is 0"),
        ({"selected_on": "nothing"}, "exactly where trials is 0"),
        ({"tuning_seeds": []}, "trials need tuned_arms and tuning_seeds"),
        ({"tuned_arms": ["transfer", "transfer"]}, "names one twice"),
        ({"tuned_arms": ["open"]}, "Input should be"),
        ({"open_data": "a\u200bb"}, "cannot be seen"),
        ({"first_seed": 1000}, "first_seed is above 0 exactly where"),
        ({"same_recipe_as": "other"}, "first_seed is above 0 exactly where"),
        ({"first_seed": 1001, "same_recipe_as": "other"}, "multiple of 1000"),
        ({"first_seed": 10000, "same_recipe_as": "other"}, "less than or equal to 9000"),
        ({"first_seed": 1000, "same_recipe_as": "../other"}, "a system's name is"),
        ({"trials": -1}, "greater than or equal to 0"),
        ({"trials": True}, "integer"),
        ({"more": 1}, "Extra inputs"),
    ],
)
def test_a_declaration_that_cannot_be_true_is_refused(system: Path, changes: dict[str, object], words: str) -> None:
    for run in list(system.glob("mini-v1-*"))[1:]:
        shutil.rmtree(run)
    (system / "declaration.json").write_text(json.dumps(DECLARED | changes), encoding="utf-8")
    found = {field: message for (path, field), message in problems(system).items() if path == "declaration.json"}
    assert words in " ".join(found.values())


def test_weights_of_another_hash_than_the_result_names_are_refused(system: Path) -> None:
    for run in system.glob("mini-v1-*"):
        if run.name != RUN:
            shutil.rmtree(run)
    offered = {"schema_version": 1, "url": "https://example.org/w.safetensors", "sha256": "0" * 64}
    (system / RUN / "weights.json").write_text(json.dumps(offered), encoding="utf-8")
    assert "is not that of the weights that the result is of" in problems(system)[f"{RUN}/weights.json", "sha256"]
    offered["url"] = "file:///etc/passwd"
    (system / RUN / "weights.json").write_text(json.dumps(offered), encoding="utf-8")
    assert (f"{RUN}/weights.json", "url") in problems(system)


def test_options_make_a_declaration() -> None:
    none = {"trials": None, "selected_on": None, "tuned_arms": None, "tuning_seeds": None}
    none |= {"open_data": None, "first_seed": None, "same_recipe_as": None}
    assert declared(**none) is None
    assert declared(**none | {"trials": 0}) == Declaration(
        trials=0, selected_on="nothing", tuned_arms=(), tuning_seeds=(), open_data=None
    )
    with pytest.raises(LgbenchError, match="A declaration begins with --trials"):
        declared(**none | {"open_data": "x"})
    with pytest.raises(LgbenchError, match="trials needs --selected-on, --tuned-arm and --tuning-seed too"):
        declared(**none | {"trials": 3})
    with pytest.raises(LgbenchError, match="trials needs --tuned-arm and --tuning-seed too"):
        declared(**none | {"trials": 3, "selected_on": "transfer_zone"})
    with pytest.raises(LgbenchError, match="trials needs --tuning-seed too"):
        declared({"tuned_arms": ["transfer"]}, **none | {"trials": 3, "selected_on": "transfer_zone"})


def with_another_rate(folder: Path) -> None:
    path = folder / RUN / "training.json"
    edit(path, lambda record: record["plan"]["settings"].update(learning_rate=0.000321))


def itself_a_repetition(folder: Path) -> None:
    declared_so = DECLARED | {"first_seed": 2000, "same_recipe_as": "again"}
    (folder / "declaration.json").write_text(json.dumps(declared_so), encoding="utf-8")


@pytest.mark.parametrize(
    ("named", "change", "words"),
    [
        ("first", lambda folder: None, None),
        ("again", lambda folder: None, "there is no other system of this name here"),
        ("nobody", lambda folder: None, "there is no other system of this name here"),
        ("first", with_another_rate, "Seeds of another recipe begin at 0"),
        ("first", itself_a_repetition, "which has the recipe of another system itself"),
    ],
)
def test_seeds_begin_elsewhere_only_for_a_recipe_that_is_there(
    named: str, change: Callable[[Path], None], words: str | None, tmp_path: Path
) -> None:
    submissions = tmp_path / "submissions"
    for name, seed in (("first", 0), ("again", 1)):
        (submissions / name).mkdir(parents=True)
        run = f"mini-v1-{GROUP}-transfer-seed{seed}"
        shutil.copytree(SUBMITTED / run, submissions / name / run)
        shutil.copy(SUBMITTED / "system.json", submissions / name)
        edit(submissions / name / "system.json", lambda record, name=name: record.update(name=name))  # type: ignore[misc]
    change(submissions / "first")
    declared_so = DECLARED | {"first_seed": 1000, "same_recipe_as": named}
    (submissions / "again" / "declaration.json").write_text(json.dumps(declared_so), encoding="utf-8")
    found = problems(submissions)
    told = found.pop(("again/declaration.json", "same_recipe_as"), None)
    assert words is None if told is None else words is not None and words in told
    assert {path for path, _ in found} <= {"first/declaration.json"}


@pytest.mark.parametrize("draft", [{"reference": 1}, 7, {}])
def test_a_draft_that_is_none_has_its_own_problem(system: Path, draft: Any) -> None:
    """The fields that are looked up in the suite are not asked then."""
    edit(system / RUN / "training.json", lambda record: record["plan"].update(draft=draft))
    assert {path for path, _ in problems(system)} == {f"{RUN}/training.json"}
