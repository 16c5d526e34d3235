"""The folder of a run whose user names none."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from lgbench.util.files import write_errors

_LONGEST_STEM = 150  # characters of a folder's name; most file systems take 255 bytes


@contextlib.contextmanager
def new_run_folder(model: str, *parts: str) -> Iterator[Path]:
    """A folder in runs/ that did not exist yet, named for the reader only: nothing is read from its name.

    It is made at once, so that two runs that begin together do not choose the same.

    Raises:
        LgbenchError: It cannot be made.
    """
    name = re.sub(r"[^A-Za-z0-9]+", "-", "-".join([Path(model).name, *parts])).strip("-")
    runs = Path("runs").absolute()  # the model may change the working directory
    made = not runs.exists()
    with write_errors(runs, advice="Choose an --output."):
        runs.mkdir(exist_ok=True)
        for number in itertools.count(1):
            folder = Path("runs") / f"{name[:_LONGEST_STEM]}-{number}"
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
                break
    try:
        yield folder
    finally:
        # Only what is empty can be removed: nothing stays of a run that failed at its start.
        with contextlib.suppress(OSError):
            (runs / folder.name).rmdir()
        if made:
            with contextlib.suppress(OSError):
                runs.rmdir()
