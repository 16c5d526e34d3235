"""Attacks on the tree of submissions and on `system.json`."""

def test_what_submit_wrote_is_good(submissions: Path) -> None:
    checked = check([submissions])
    assert checked.problems == ()
    assert (checked.systems, checked.runs) == (1, 3)
    (submission,) = read_submissions(submissions)
    assert submission.system.name == "my-system"
    assert [run.folder for run in submission.runs] == [RUN, OTHER_SEED, TRANSFER]
    for run in submission.runs:
        for cell in run.result.cells:
            assert int(run.correct[cell.task, cell.length].sum()) == cell.counts.correct  # type: ignore[index]


def test_a_system_or_a_run_can_be_checked_by_itself(system: Path) -> None:
    assert check([system, system / RUN]).problems == ()
    assert check([system / RUN])[1:3] == (0, 1)


def test_a_readme_beside_the_systems_is_allowed(submissions: Path) -> None:
    (submissions / "README.md").write_text("Data only.")
    assert problems(submissions) == {}


def edit(path: Path, change: Callable[[Any], object]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_problems_of_all_files_are_told_at_once(submissions: Path) -> None:
    system = submissions / "my-system"
    (system / RUN / "replies.jsonl.gz").write_bytes(b"")
    edit(system / RUN / "result.json", lambda result: result["cells"][0].update(sha256="1" * 64))
    edit(system / OTHER_SEED / "result.json", at(1, total=7))
    edit(system / "system.json", lambda record: record.update(name="your-system", link="javascript:alert(1)"))
    (submissions / "Other System").mkdir()
    (submissions / "notes.txt").write_text("x")
    assert set(problems(submissions)) == {
        ("notes.txt", ""),
        ("Other System", ""),
        ("Other System/system.json", ""),
        (f"my-system/{RUN}/replies.jsonl.gz", ""),
        (f"my-system/{RUN}/result.json", "cells[0].sha256"),
        (f"my-system/{OTHER_SEED}/result.json", "cells[1].counts"),
        ("my-system/system.json", "link"),
    }
