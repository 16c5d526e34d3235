"""An audit end to end, of a small model that was trained here, and of forged systems."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

pytest.importorskip("torch")
from typer.testing import CliRunner

from lgbench.audits import auditing
from lgbench.audits.auditing import recorded_runs
from lgbench.cli import app
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.models.loading import load_model
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.checking import check
from lgbench.submissions.declaration import declared
from lgbench.submissions.submitting import Addresses, Details, submit
from lgbench.submissions.tiers import Standing, standing
from lgbench.training.trainer import train
from lgbench.util.records import write_record
from tests.loopback import Files
from tests.submitted import edit
from tests.tiny_training import MINI, STRINGS, tiny_plan

RUN = f"mini-v1-{STRINGS.name}-main_only-seed0"
NONCE = "0123456789abcdef"
DETAILS = Details(description="Tiny.", authors=("A",), licence="MIT", training_notes="Twelve steps.")
DECLARED = declared(trials=0, selected_on=None, tuned_arms=None, tuning_seeds=None, open_data=None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps with its result."""
    folder = tmp_path_factory.mktemp("run")
    train(tiny_plan(arm="main_only"), folder)
    model = load_model(folder / "checkpoint", {"device": "cpu"})
    evaluate(model, suite="mini-v1", arm="main_only", group=STRINGS.name, seed=0, output=folder / "result")
    return folder


@pytest.fixture
def system(trained: Path, server: Files, tmp_path: Path) -> Path:
    """The run as a submitted system whose weights a server has."""
    submissions = tmp_path / "submissions"
    submit(
        [trained / "result"],
        name="tiny-one",
        details=DETAILS,
        submissions=submissions,
        declaration=DECLARED,
        addresses=Addresses(weights=f"{server.url}/{{run}}.safetensors"),
    )
    server.content[f"/{RUN}.safetensors"] = (trained / "checkpoint" / "model.safetensors").read_bytes()
    return submissions / "tiny-one"


def audit(system: Path, *options: str) -> tuple[int, str]:
    """The exit status of `lgbench audit`, and what it says."""
    done = CliRunner().invoke(app, ["audit", str(system), "--auditor", "A Maintainer", "--device", "cpu", *options])
    return done.exit_code, f"{done.output}{done.exception or ''}"


def found(system: Path) -> Standing:
    checked = check([system])
    assert checked.problems == ()
    return standing(checked.submissions[0], MINI)


def rewrite_replies(system: Path, trained: Path, answer: str) -> None:
    """Post other replies than the model's, with the counts that follow from them: what a program can always do."""
    from lgbench.results.schema import Result

    class Program:
        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            return [load_suite("mini-v1").task(task).solve(prompt) if answer == "right" else "x" for prompt in prompts]

    folder = system.parent.parent / "forged"
    evaluate(Program(), suite="mini-v1", arm="main_only", group=STRINGS.name, seed=0, output=folder)
    true = Result.model_validate_json((system / RUN / "result.json").read_text("utf-8"))
    forged = Result.model_validate_json((folder / "result.json").read_text("utf-8"))
    forged = forged.model_copy(update={"system": true.system, "batch_invariance": true.batch_invariance})
    (system / RUN / "result.json").write_text(forged.to_json(), encoding="utf-8")
    shutil.copy(folder / "replies.jsonl.gz", system / RUN)


@pytest.mark.slow
def test_a_true_system_is_audited_and_its_record_is_checked(system: Path) -> None:
    assert str(found(system).tier) == "recorded"
    status, said = audit(system, "--nonce", NONCE)
    assert status == 0, said
    assert "tiny-one is audited in mini-v1." in said
    (record,) = (system.parent.parent / "audits" / "tiny-one").iterdir()
    assert record.name == f"mini-v1-{NONCE}.json"
    assert str(found(system).tier) == "audited"
    assert found(system).missing == (f"No maintainer has trained a run of main_only of {STRINGS.name} again.",)

    status, said = audit(system, "--nonce", NONCE)
    assert status == 1
    assert f"The nonce {NONCE} was used on" in said

    # Counts that were not so: the record itself disagrees, whatever it claims.
    edit(record, lambda audited: [cell.update(correct=cell["total"]) for cell in audited["audited"][0]["cells"]])
    assert str(found(system).tier) == "recorded"
    assert "right, posted" in found(system).missing[0]


@pytest.mark.slow
def test_a_run_that_cannot_be_audited_leaves_the_outcome_of_the_others(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_another(submission: Submission, suite: Suite) -> list[SubmittedRun]:
        (run,) = recorded_runs(submission, suite)
        return [run._replace(folder="lost", weights=None), run]

    monkeypatch.setattr(auditing, "recorded_runs", with_another)
    status, said = audit(system, "--nonce", NONCE)
    assert status == 1
    assert f"Audited {RUN}" in said
    assert "Not audited: lost: lost has no weights.json" in said
    (record,) = (system.parent.parent / "audits" / "tiny-one").iterdir()
    assert [run["run"] for run in json.loads(record.read_text("utf-8"))["audited"]] == [RUN]
    assert str(found(system).tier) == "audited"


@pytest.mark.slow
def test_runs_trained_again_make_it_reproduced(system: Path, tmp_path: Path) -> None:
    assert audit(system)[0] == 0
    again = tmp_path / "again"
    done = CliRunner().invoke(app, ["retrain", str(system / RUN), "--output", str(again), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    (folder,) = [path.parent for path in again.rglob("training.json")]
    status, said = audit(system, "--retrained", str(folder))
    assert status == 0, said
    assert "tiny-one is reproduced in mini-v1." in said
    assert str(found(system).tier) == "reproduced"

    edit(folder / "training.json", lambda record: record["curve"][0].update(loss=0.5))
    for old in (system.parent.parent / "audits" / "tiny-one").glob("*retrained*"):
        old.unlink()
    status, said = audit(system, "--retrained", str(folder))
    assert status == 1
    assert "2 of 3 points of the curve are equal" in said
    assert str(found(system).tier) == "audited"


@pytest.mark.slow
def test_a_program_that_posts_as_a_model_is_found_out(system: Path, trained: Path) -> None:
    rewrite_replies(system, trained, "right")
    assert str(found(system).tier) == "recorded"  # its training record is true, and nothing else can be known
    status, said = audit(system)
    assert status == 1
    assert "0 of 64 right, posted 256 of 256" in said
    assert "posted replies differ when decoded again" in said
    assert str(found(system).tier) == "recorded"


@pytest.mark.slow
def test_changed_replies_are_found_out_even_where_the_accuracy_is_the_same(system: Path, trained: Path) -> None:
    rewrite_replies(system, trained, "wrong")
    status, said = audit(system)
    assert status == 1
    assert "160 of 160 posted replies differ when decoded again" in said


def test_weights_that_are_not_there_or_not_these_are_a_sentence(system: Path, server: Files) -> None:
    path = f"/{RUN}.safetensors"
    weights = server.content[path]
    assert isinstance(weights, bytes)
    for content, words in [
        (404, "answers with status 404"),
        (weights[:-1] + bytes([weights[-1] ^ 1]), "holds other weights than the submission names"),
        (b"\0" * 20_000_000, "is larger than"),
        ("file:///etc/passwd", "answers with status 302"),
        ("ftp://127.0.0.1/x", "which is not a web address"),
    ]:
        server.content[path] = content  # type: ignore[assignment]
        status, said = audit(system)
        assert status == 1
        assert words in said
    server.close()
    assert "cannot be reached" in audit(system)[1]
    assert not (system.parent.parent / "audits").exists()


def test_weights_of_another_shape_or_format_are_a_sentence(system: Path, trained: Path, tmp_path: Path) -> None:
    """A submitter may name any file; the hash of what is posted as the weights' own follows."""
    import hashlib

    from safetensors.torch import load_file, save

    tensors = load_file(trained / "checkpoint" / "model.safetensors")
    name = next(iter(tensors))
    other_shape = save({**tensors, name: tensors[name][:1].contiguous()})
    for content, words in [
        (b"\x80\x04K\x01.", "not a safetensors file"),  # a pickle
        (other_shape, "has shape"),
        (save({"x": tensors[name].contiguous()}), "is missing"),
    ]:
        sha256 = hashlib.sha256(content).hexdigest()
        edit(system / RUN / "result.json", lambda result, s=sha256: result["system"].update(source_sha256=[s]))  # type: ignore[misc]
        edit(system / RUN / "weights.json", lambda record, s=sha256: record.update(sha256=s))  # type: ignore[misc]
        local = tmp_path / "weights"
        local.mkdir(exist_ok=True)
        (local / f"{RUN}.safetensors").write_bytes(content)
        status, said = audit(system, "--weights", str(local))
        assert status == 1
        assert f"The weights of {RUN} cannot be used" in said
        assert words in said


def test_only_what_is_recorded_is_audited_and_no_named_module_is_run(system: Path) -> None:
    edit(system / RUN / "training.json", lambda record: record["plan"].update(model="evil.py:build", model_sha256=None))
    status, said = audit(system)
    assert status == 1
    assert "lgbench runs no code that a submission names" in said
    (system / "declaration.json").unlink()
    status, said = audit(system)
    assert status == 1
    assert "only what is recorded can be verified" in said
    assert "declaration.json is missing" in said


def test_a_false_nonce_is_a_sentence(system: Path) -> None:
    for nonce in ("", "xyz", "0" * 15, "0" * 65, "../../../x"):
        status, said = audit(system, "--nonce", nonce) if nonce else (1, "is not a nonce")
        assert status == 1
        assert "is not a nonce" in said


def test_audit_examples_are_fresh_and_follow_from_the_nonce() -> None:
    from lgbench.audits.cells import audit_examples
    from lgbench.data.cells import draw_cell

    for cell in (Cell("capitalize_reverse", 2), Cell("reverse_add", 2), Cell("dfs_trace", 4), Cell("mqar", 2)):
        one, same, other = (audit_examples(MINI, cell, nonce) for nonce in (NONCE, NONCE, NONCE[::-1]))
        assert one == same
        assert one != other
        assert len({example.prompt for example in one}) == 64
        assert not {example.prompt for example in one} & {each.prompt for each in draw_cell(MINI, *cell)}
        assert all(MINI.task(cell.task).solve(example.prompt) == example.target for example in one)


HOSTILE = [b"{", b"[]", b"[" * 100_000, b'{"a": NaN}', b"\xff", b" " * 2_000_000, b"[" + b"9," * 300_000 + b"9]"]


@pytest.mark.parametrize("content", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_audits_are_refused_with_their_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "submissions").mkdir()
    audits = tmp_path / "audits" / "some-system"
    audits.mkdir(parents=True)
    (audits / "a.json").write_bytes(content)
    told = [str(path) for path, _ in check([tmp_path / "submissions"]).problems]
    assert told
    assert set(told) == {str(audits / "a.json")}


def test_what_is_no_audit_does_not_belong_there(tmp_path: Path) -> None:
    submissions = tmp_path / "submissions"
    submissions.mkdir()
    audits = tmp_path / "audits"
    (audits / "BAD").mkdir(parents=True)
    (audits / "good").mkdir()
    (audits / "good" / "x.txt").touch()
    (audits / "good" / "link.json").symlink_to("/etc/passwd")
    (audits / "stray.json").touch()
    (audits / "README.md").touch()
    told = {path.name: problem.message for path, problem in check([submissions]).problems}
    assert set(told) == {"BAD", "x.txt", "link.json", "stray.json"}
    shutil.rmtree(audits)
    audits.symlink_to(tmp_path)
    assert "is not a folder" in str(check([submissions]).problems[0])


def test_a_nonce_in_two_records_is_a_problem(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from lgbench.submissions.audit_record import AuditedCell, AuditedRun, AuditRecord

    submissions = tmp_path / "submissions"
    submissions.mkdir()
    run = AuditedRun(
        run="a",
        replies_sha256="0" * 64,
        weights_sha256="0" * 64,
        cells=(AuditedCell(task="reverse", length=2, correct=1, total=2),),
        asked_again=1,
        changed=0,
    )
    for name in ("one", "two"):
        record = AuditRecord(
            system=name,
            suite="mini-v1",
            auditor="A",
            moment=datetime(2026, 1, 1, tzinfo=UTC),
            lgbench="0",
            machine="m",
            nonce=NONCE,
            audited=(run,),
            retrained=(),
        )
        (tmp_path / "audits" / name).mkdir(parents=True)
        write_record(tmp_path / "audits" / name / "x.json", record)
    ((path, problem),) = check([submissions]).problems
    assert path.parent.name == "two"
    assert problem.field == "nonce"
    assert "is that of one/x.json" in problem.message
    assert json.loads(path.read_text("utf-8"))["nonce"] == NONCE
