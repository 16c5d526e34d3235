"""Attacks on `result.json`: each test says which fields must be reported."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import Rescored
from lgbench.submissions.checking import check
from lgbench.util.records import MAX_RECORD_BYTES
from tests.submitted import OTHER_SEED, RUN, Change, RightUpTo, edit, problems


def raise_count(result: Any) -> None:
    counts = result["cells"][4]["counts"]
    assert counts["correct"] == 0
    counts["correct"] = 100
    counts["starts_with_target"] = counts["first_wrong"][0]["count"] = 156


def at(number: int, **counts: object) -> Change:
    return lambda result: result["cells"][number]["counts"].update(counts)


def top(**fields: object) -> Change:
    return lambda result: result.update(fields)


def of_system(**fields: object) -> Change:
    return lambda result: result["system"].update(fields)


USED = {"prompt_tokens": 0, "completion_tokens": 7, "cost": None}
ALL_CELLS = {f"cells[{number}]" for number in range(5)}


@pytest.mark.parametrize(
    ("change", "fields", "said"),
    [
        pytest.param(top(schema_version=0), {"schema_version"}, "Input should be 1", id="other schema version"),
        pytest.param(top(schema_version=2, new=1), {"schema_version"}, "A newer lgbench wrote", id="newer schema"),
        pytest.param(top(note="hi"), {"note"}, "not permitted", id="unknown field"),
        pytest.param(lambda result: result.pop("arm"), {"arm"}, "required", id="missing field"),
        pytest.param(top(seed="0"), {"seed"}, "integer", id="text for a number"),
        pytest.param(at(3, correct=-1), {"cells[3].counts.correct"}, "equal to 0", id="negative count"),
        pytest.param(at(0, cut=10**30), {"cells[0].counts.cut"}, "", id="huge count"),
        pytest.param(at(0, correct=1.5), {"cells[0].counts.correct"}, "integer", id="half a count"),
        pytest.param(at(0, correct=257), {"cells[0].counts"}, "more than total", id="counts do not add up"),
        pytest.param(top(suite=3, duration=-1), {"suite", "duration"}, "", id="several at once"),
        pytest.param(top(suite="mini-v7"), {"suite"}, "Did you mean 'mini-v", id="unknown suite"),
        pytest.param(
            lambda result: result["cells"][2].update(sha256="0" * 64, task_version=7),
            {"cells[2].sha256", "cells[2].task_version"},
            "not the hash",
            id="stale cell",
        ),
        pytest.param(top(limit=256), {"limit"}, "every example", id="limited"),
        pytest.param(of_system(kind="builtin"), {"system.model"}, "serves to try lgbench", id="built-in"),
        pytest.param(
            of_system(kind="object", model="lgbench.models.builtin.Oracle"),
            {"system.model"},
            "serves to try lgbench",
            id="a built-in made in Python",
        ),
        pytest.param(
            of_system(kind="module", model="lgbench.models.builtin:Oracle"),
            {"system.model"},
            "serves to try lgbench",
            id="a built-in by its module",
        ),
        pytest.param(
            of_system(kind="module", model="lgbench.models:builtin.Oracle"),
            {"system.model"},
            "serves to try lgbench",
            id="a built-in by another module",
        ),
        pytest.param(
            of_system(kind="checkpoint", model="tiny:transfer"), {"system.model"}, "serves to try lgbench", id="bundled"
        ),
        pytest.param(
            of_system(source_sha256=["0" * 64, "1" * 64]),
            {"system.source_sha256"},
            "middle of the run",
            id="model changed",
        ),
        pytest.param(top(replies_sha256="0" * 64), {"replies_sha256"}, "missing or was changed", id="other digest"),
        pytest.param(lambda result: result["cells"].reverse(), {"cells"}, "must stand in", id="other order"),
        pytest.param(
            raise_count,
            {f"cells[4].counts.{name}" for name in ("correct", "starts_with_target", "first_wrong")},
            "the result says 100, its replies give 0",
            id="better count",
        ),
        pytest.param(
            at(4, starts_with_target=0),
            {"cells[4].counts.starts_with_target"},
            "the result says 0, its replies give 256",
            id="other diagnostic",
        ),
        pytest.param(top(group="copy-mqar"), {"cells", *ALL_CELLS}, "no cell of arm", id="other group"),
        pytest.param(top(group="add-multiple"), {"group"}, "Did you mean 'add-multiply'", id="unknown group"),
        pytest.param(top(arm="open"), {""}, "names exactly one group", id="open with a group"),
        pytest.param(lambda result: result["cells"].append(result["cells"][0]), {""}, "repeated", id="cell twice"),
        pytest.param(top(cells=[]), {"cells"}, "at least 1", id="no cells"),
        pytest.param(
            lambda result: result.update(cells=[{**cell, "length": "2"} for cell in result["cells"]]),
            {f"{cell}.length" for cell in ALL_CELLS},
            "integer",
            id="a problem in every cell",
        ),
        pytest.param(top(started="2026-01-31T12:00:00"), {"started"}, "offset", id="time without zone"),
        pytest.param(lambda result: result.pop("schema_version"), {"schema_version"}, "required", id="no version"),
        pytest.param(top(schema_version=True), {"schema_version"}, "whole number", id="version true"),
        pytest.param(top(schema_version=1.0), {"schema_version"}, "whole number", id="version 1.0"),
        pytest.param(top(started=1_767_225_600), {"started"}, "valid datetime", id="date as a number"),
        pytest.param(top(started="1767225600"), {"started"}, "is written as", id="date as a number in text"),
        pytest.param(top(started="3000-01-01T00:00:00Z"), {"started"}, "not in the future", id="in the year 3000"),
        pytest.param(top(started="2024-12-31T23:59:59Z"), {"started"}, "began after 2025-01-01", id="before lgbench"),
        pytest.param(top(batch_invariance={"checked": 33, "changed": 0}), {"batch_invariance.checked"}, "32", id="33"),
        pytest.param(top(batch_invariance={"checked": 0, "changed": 0}), {"batch_invariance.checked"}, "32", id="0"),
        pytest.param(of_system(kind="replay", source_sha256=["0" * 64]), {"batch_invariance"}, "recorded", id="replay"),
        pytest.param(top(duration=0), {"duration"}, "1,280 replies took 0.0 seconds", id="no time"),
        pytest.param(top(duration=0, replies_per_second=0), {"duration"}, "replies took", id="no time and no speed"),
        pytest.param(top(duration=10), {"replies_per_second"}, "replies took 10.0 seconds", id="faster than it was"),
        pytest.param(top(replies_per_second=1e9), {"replies_per_second"}, "replies took", id="too fast"),
        pytest.param(top(replies_per_second=0), {"replies_per_second"}, "replies took", id="no speed"),
        pytest.param(top(usage=USED | {"completion_tokens": 0}), {"usage"}, "no token at all", id="no tokens"),
        pytest.param(
            lambda result: (top(usage=USED)(result), of_system(kind="checkpoint", source_sha256=["0" * 64])(result)),
            {"usage"},
            "counts no tokens",
            id="tokens of a checkpoint",
        ),
        pytest.param(of_system(kind="checkpoint"), {"system.source_sha256"}, "is empty", id="no hash of a checkpoint"),
        pytest.param(of_system(model="mine\u200b.py"), {"system.model"}, "U+200B", id="hidden text"),
        pytest.param(
            lambda result: result["environment"].update(device="gpu\u202e", packages={"torch": "2\u2063"}),
            {"environment.device", "environment.packages.torch"},
            "U+202E",
            id="hidden text about the machine",
        ),
        pytest.param(of_system(options={"x" * 101: "1"}), {f"system.options.{'x' * 101}.[key]"}, "100", id="long name"),
        pytest.param(
            lambda result: result["environment"].update(packages={f"p{number}": "1" for number in range(101)}),
            {"environment.packages"},
            "at most 100",
            id="many packages",
        ),
        pytest.param(top(started="0001-01-01T00:00:00+23:00"), {"started"}, "years 1 to 9999", id="before all time"),
    ],
)
def test_a_spoiled_result(system: Path, change: Change, fields: set[str], said: str) -> None:
    edit(system / RUN / "result.json", change)
    found = problems(system)
    assert set(found) == {(f"{RUN}/result.json", field) for field in fields}
    assert said in " ".join(found.values())


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("object", "lgbench.models.checkpoint_predictor.CheckpointPredictor"),
        ("file", "lgbench.runs.py:MyModel"),
        ("file", "lgbench.models.builtin.py:MyModel"),
    ],
)
def test_a_model_of_ones_own_may_have_a_name_like_ours(system: Path, kind: str, model: str) -> None:
    edit(system / RUN / "result.json", of_system(kind=kind, model=model))
    assert problems(system) == {}


def test_a_cell_that_the_suite_does_not_have(system: Path) -> None:
    edit(system / RUN / "result.json", lambda result: result["cells"][4].update(length=21))
    found = problems(system)
    assert set(found) == {
        (f"{RUN}/result.json", "cells[4]"),
        (f"{RUN}/result.json", "cells"),
        (f"{RUN}/replies.jsonl.gz", ""),
    }
    assert "mini-v1 has no cell reverse_add at length 21" in found[f"{RUN}/result.json", "cells[4]"]
    assert "reverse_add at length 10 of 5 cells" in found[f"{RUN}/result.json", "cells"]
    assert "'reverse_add-10-0'" in found[f"{RUN}/replies.jsonl.gz", ""]


def test_a_partial_and_limited_run_that_re_scores(system: Path) -> None:
    output = system / "short"
    evaluate(RightUpTo(9), arm="main_only", group="add-multiply", seed=5, lengths=[2, 4], limit=3, output=output)
    found = problems(system)
    assert set(found) == {("short/result.json", "limit"), ("short/result.json", "cells")}
    assert "is partial" in found["short/result.json", "cells"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b'{"suite": "mini-v1", "ar', "not valid JSON"),
        (b'{"suite": "mini-v1", "suite": "standard-v1"}', "the key 'suite' is repeated"),
        (b'{"seed": NaN}', "NaN is not a JSON number"),
        (b'{"seed": "\xff"}', "byte 10 is not UTF-8"),
        (b"[" * 1_200, "nested too deeply"),
        (b'{"a":' * 1_200, "nested too deeply"),
        (b"[" * 90_000, "lists and objects: no such record has so many"),
        (b" " * (MAX_RECORD_BYTES + 1), "too large: 1,000,001 bytes"),
    ],
    ids=[
        "empty",
        "truncated",
        "repeated key",
        "NaN",
        "not UTF-8",
        "deep list",
        "deep object",
        "many lists",
        "too large",
    ],
)
@pytest.mark.parametrize("file", [f"{RUN}/result.json", "system.json"])
def test_a_file_that_is_no_strict_json(system: Path, file: str, content: bytes, said: str) -> None:
    (system / file).write_bytes(content)
    ((where, message),) = problems(system).items()
    assert where == (file, "")
    assert said in message


def test_a_result_of_100_mb_is_not_even_read(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (system / RUN / "result.json").open("wb") as file:
        file.truncate(100_000_000)
    read = Path.read_bytes

    def read_small(path: Path) -> bytes:
        assert path.stat().st_size < 10**7, f"{path} was read"
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", read_small)
    found = problems(system)
    assert set(found) == {(f"{RUN}/result.json", "")}
    assert "too large" in found[f"{RUN}/result.json", ""]


def test_what_an_evaluation_can_have_written(system: Path) -> None:
    """Recorded replies are looked up in less than a thousandth of a second; a clock may be a little ahead."""
    edit(system / RUN / "result.json", top(duration=0, replies_per_second=4e6, batch_invariance=None, usage=USED))
    ahead = datetime.now(UTC) + timedelta(hours=12)
    edit(system / OTHER_SEED / "result.json", top(duration=3, replies_per_second=426.667, started=ahead.isoformat()))
    assert problems(system) == {}


def test_of_many_problems_the_first_thousand_are_reported(system: Path) -> None:
    for number in range(1500):
        (system / f"x{number:04}").touch()
    found = check([system]).problems
    assert len(found) == 1001
    assert str(found[-1]).endswith(": and 500 more problems, of this file and of others.")


def test_after_ten_runs_with_problems_the_others_are_counted(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(2000):
        shutil.copytree(system / RUN, system / f"x{number:04}")
    monkeypatch.setattr("lgbench.submissions.runs.check_result", lambda *_: (Rescored(_[0], {}, {}), []))
    checked = check([system])
    *repeated, last = [str(problem) for problem in checked.problems]
    told = "seed: repeats mini-v1-add-multiply-main_only-seed0: arm 'main_only'"
    assert [told in each for each in repeated] == [False, *[True] * 10]
    assert "has 2,002 runs. At most 1,000 are allowed." in repeated[0]
    assert "has 1,990 more runs, not checked, as 10 before them have problems." in last
    assert checked.runs == 12
