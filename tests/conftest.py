"""Which tests run; a folder of submissions, of real evaluations; a server on loopback."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from lgbench.evaluation.evaluator import evaluate
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.submissions.submitting import Details, submit
from lgbench.util import stopping, users_code
from lgbench.util.processes import cores
from tests import selection
from tests.loopback import KEY, Files, Rule, Serve, Server
from tests.shell import Shell
from tests.submitted import OTHER_SEED, RUN, RightUpTo

# The models of the tests are so small that threads would wait for each other longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test is timed: on a busy machine an example takes longer than Hypothesis allows.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What the tests' processes write is read as UTF-8, whatever the locale.
os.environ.setdefault("PYTHONUTF8", "1")

# A shell without job control starts what it puts in the background deaf to Ctrl-C, and the deafness is inherited:
# the tests that press Ctrl-C would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shard", metavar="NUMBER/COUNT", help="Run the test files of one shard of COUNT.")
    parser.addoption("--fast", action="store_true", help="Leave out slow tests and those that need a heavy extra.")
    parser.addoption("--nightly", action="store_true", help="Run those too that are marked `nightly`.")


def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores: many tests wait for a server, a browser or another process."""
    return cores() + 1


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    left_out = config.getoption("--fast") and collection_path.is_file() and selection.is_left_out(collection_path)
    return True if left_out else None


@pytest.hookimpl(tryfirst=True)  # before `-m` selects by the markers that are given here
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # Read already, in each process that runs tests. It is not meant for a pytest that a test starts.
    os.environ.pop("PYTEST_ADDOPTS", None)
    selection.mark(items)
    others: set[pytest.Item] = set()
    if shard := config.getoption("--shard"):
        number, count = selection.parse_shard(shard)
        others |= {item for item in items if selection.shard_of(item.path, config.rootpath, count) != number}
    if not config.getoption("--nightly"):
        others |= {item for item in items if item.get_closest_marker(selection.NIGHTLY)}
    if config.getoption("--fast"):
        others |= {item for item in items if any(marker.name in selection.NOT_FAST for marker in item.iter_markers())}
    if others:
        config.hook.pytest_deselected(items=list(others))
    items[:] = selection.slow_first([item for item in items if item not in others])


def pytest_collection_finish() -> None:
    # The tests themselves are never garbage. Without them a collection takes a tenth of the time.
    gc.collect()
    gc.freeze()


@pytest.fixture
def lgbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    """Runs command lines in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Shell(capsys, monkeypatch)


@pytest.fixture
def short_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models trained for a few steps never stop: what they write is cut short, to keep the tests so."""
    monkeypatch.setattr("lgbench.models.checkpoint_predictor.generation_cap", lambda prompt: 8)


@pytest.fixture(autouse=True)
def _no_files_of_other_tests() -> Iterator[None]:
    """Forget where files of users were loaded from: each import would search all these folders first."""
    searched, folders = sys.path.copy(), users_code._FOLDERS.copy()
    yield
    sys.path[:] = searched
    users_code._FOLDERS.intersection_update(folders)


@pytest.fixture(autouse=True)
def _sigterm_as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command run by another test of this process has handled SIGTERM, and Ray handles it for good."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(stopping, "_terminated", stopping.Noted())


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs, by the name of their folder in a submission: right up to length 4, and up to length 6."""
    root = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate((RUN, OTHER_SEED)):
        model = RightUpTo(len("1234+1234=") + 4 * seed, more="?!"[seed])  # two models are wrong in two ways
        evaluate(model, arm="main_only", group="add-multiply", seed=seed, output=root / name)
    return {name: root / name for name in (RUN, OTHER_SEED)}


@pytest.fixture(scope="session")
def good_submissions(run_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "submissions"
    folder.mkdir()
    details = Details(description="Adds.", authors=("A. Nonymous",), licence="CC-BY-4.0")
    submit(list(run_folders.values()), name="my-system", details=details, submissions=folder)
    return folder


@pytest.fixture
def submissions(good_submissions: Path, tmp_path: Path) -> Path:
    """A good folder of submissions, for a test to spoil."""
    return Path(shutil.copytree(good_submissions, tmp_path / "submissions"))


@pytest.fixture
def system(submissions: Path) -> Path:
    """The one system in it."""
    return submissions / "my-system"


@pytest.fixture
def server() -> Iterator[Files]:
    """Serve files on loopback."""
    files = Files()
    yield files
    files.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Start a server that follows a rule, and load a model that asks it. Both are closed in the end."""
    from lgbench.models.api import requests

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(requests, "_FIRST_DELAY", 0.01)
    for name in ("NO_PROXY", "no_proxy"):  # where there is a proxy, it does not know our servers
        monkeypatch.setenv(name, "127.0.0.1")
    opened: list[Any] = []

    def serve(rule: Rule, **options: str) -> tuple[Model, Server]:
        server = Server(rule)
        model = load_model("api:tiny", {"base_url": server.url, "key_env": "OPENAI_API_KEY"} | options)
        opened.extend([model.predictor, server])
        return model, server

    yield serve
    for each in opened:
        each.close()
