"""A folder of submissions, of real evaluations."""

import os
import shutil
import signal
from pathlib import Path

import pytest

from lgbench.evaluation import evaluate
from lgbench.submissions.submitting import Details, submit
from tests.submitted import OTHER_SEED, RUN, RightUpTo

# The models of the tests are so small that threads would wait for each other longer than they work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell without job control starts what it puts in the background deaf to Ctrl-C, and the deafness is inherited:
# the tests that press Ctrl-C would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs, by the name of their folder in a submission: right up to length 4, and up to length 6."""
    root = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate((RUN, OTHER_SEED)):
        model = RightUpTo(len("1234+1234=") + 4 * seed)
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
