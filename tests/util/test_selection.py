"""A test that needs an extra is marked with it, and the shards share out all tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lgbench.util.extras import EXTRAS
from tests.selection import markers_of, night, parse_shard, shard_of

ROOT = Path(__file__).parents[2]


def test_the_packages_that_a_source_asks_for_name_its_markers() -> None:
    source = (
        'pytest.importorskip("torch")\nnp = pytest.importorskip("numpy")\n\n\n'
        'def test() -> None:\n    pytest.importorskip("transformers")\n'
    )
    assert markers_of(source, module=True) == {"torch"}
    assert markers_of(source, module=False) == {"torch", "hf"}


def test_every_extra_has_a_marker(pytestconfig: pytest.Config) -> None:
    registered = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert EXTRAS.keys() | {"slow", "peers", "nightly"} <= registered


def test_every_file_is_in_one_shard() -> None:
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    shards = [{path for path in files if shard_of(path, ROOT, 3) == number} for number in (1, 2, 3)]
    assert all(len(shard) > len(files) // 6 for shard in shards)
    assert sum(map(len, shards)) == len(files)
    assert set.union(*shards) == set(files)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0"])
def test_a_shard_that_does_not_exist_is_refused(text: str) -> None:
    with pytest.raises(pytest.UsageError, match="does not read as NUMBER/COUNT"):
        parse_shard(text)


@pytest.mark.slow
def test_what_is_collected_follows_the_shard_and_the_markers() -> None:
    light, heavy = "tests/util/test_errors.py", "tests/models/test_linear.py"

    def collected(*options: str) -> set[str]:
        command = [sys.executable, "-m", "pytest", "-n", "0", "-qq", "--collect-only", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        return {line.partition(":")[0] for line in done.stdout.splitlines() if line.startswith("tests/")}

    pytest.importorskip("torch")
    assert collected(light, heavy) == {light, heavy}
    assert collected("-m", "not torch", light, heavy) == {light}
    assert collected("--fast", light, heavy) == {light}
    shard = shard_of(ROOT / light, ROOT, 2)
    assert collected("--shard", f"{shard}/2", light) == {light}
    assert collected("--shard", f"{3 - shard}/2", light) == set()


def test_cases_of_the_night_are_marked() -> None:
    found = [(each.values, [mark.name for mark in each.marks]) for each in night([(1, 2), ["a", "b"]])]
    assert found == [(((1, 2),), ["nightly"]), (("a", "b"), ["nightly"])]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--nightly"]])
def test_a_nightly_test_is_left_out_by_day(options: list[str]) -> None:
    command = [sys.executable, "-m", "pytest", "-n", "0", "--collect-only", "tests/project/test_install.py", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert ("test_the_core_works_without_torch" in done.stdout) == bool(options)
    assert "test_what_an_extra_is_asked_for_is_what_it_installs" in done.stdout
