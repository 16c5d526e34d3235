"""The suite as a data set: parquet files with a dataset card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lgbench.data.cells import checked_cell
from lgbench.data.groups import Group
from lgbench.data.stream import training_stream
from lgbench.data.suites import Suite
from lgbench.data.task import Example
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.files import atomic_folder
from lgbench.version import __version__

ROWS_AT_ONCE = 8192
_SCHEMA = pa.schema(
    {"id": pa.string(), "task": pa.string(), "length": pa.int32(), "prompt": pa.string(), "target": pa.string()}
)


def export_dataset(suite: Suite, folder: Path, *, train_examples: int, report: CountReport = no_report) -> list[Path]:
    """Write the test cells of each task, and the beginning of each arm's training stream.

    Args:
        suite: The suite.
        folder: Where to; new or empty.
        train_examples: How many examples of each training stream; 0 for no streams.
        report: Takes how many files are written, and of how many.

    Returns:
        The files written.

    Raises:
        LgbenchError: The folder is not empty, or cannot be written.
    """
    files = {f"test/{task.name}.parquet": _test_examples(suite, task.name) for task in suite.tasks}
    for group in suite.groups if train_examples else ():
        for arm in _streamed(group):
            stream = islice(training_stream(suite, group.name, arm), train_examples)
            files[f"train/{group.name}/{arm}.parquet"] = stream
    with atomic_folder(folder) as unfinished:
        written = [_write(unfinished / path, examples) for path, examples in counted(list(files.items()), report)]
        card = unfinished / "README.md"
        card.write_text(_card(suite, train_examples=train_examples), encoding="utf-8")
    return [folder / path.relative_to(unfinished) for path in (*written, card)]


def _test_examples(suite: Suite, task: str) -> Iterator[Example]:
    return (example for cell in suite.cells() if cell.task == task for example in checked_cell(suite, cell))


def _streamed(group: Group) -> list[str]:
    """The arms that train on one list: what a run in stages draws of each depends on how long it is."""
    return [arm.name for arm in group.arms if not group.mixture(arm.name).stages]


def _write(path: Path, examples: Iterable[Example]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        for table in _tables(examples):
            writer.write_table(table)
    return path


def _tables(examples: Iterable[Example]) -> Iterator[Any]:
    """Tables of 8192 rows, so that no more examples than these are held at once."""
    left = iter(examples)
    while rows := list(islice(left, ROWS_AT_ONCE)):
        columns = {name: [getattr(example, name) for example in rows] for name in _SCHEMA.names}
        yield pa.table(columns, schema=_SCHEMA)


def _card(suite: Suite, *, train_examples: int) -> str:
    """A dataset card: its head names the files of each configuration, as the Hub wants it."""
    configs = [_config(task.name, "test", f"test/{task.name}.parquet") for task in suite.tasks]
    streams = "Training streams are not included; lgbench draws them.\n"
    if train_examples:
        pairs = [(group.name, arm) for group in suite.groups for arm in _streamed(group)]
        configs += [_config(f"{group}-{arm}", "train", f"train/{group}/{arm}.parquet") for group, arm in pairs]
        streams = (
            f"The other configurations hold the first {train_examples:,} examples of the training stream of an arm:\n"
            "`add-carry-transfer` is the arm `transfer` of the group `add-carry`. The streams are endless; lgbench\n"
            "draws more.\n"
        )
    body = f"""# lgbench {suite.name}

The test data of the suite {suite.name} of lgbench {__version__}, a benchmark for length generalization transfer: is a
task solved on longer inputs because a related task was trained on longer inputs?

A configuration with a task's name holds its test cells: {suite.examples_per_cell} examples at each length. A reply is
right if it equals `target`, character for character. Do not train on these.

{streams}
Columns: `id` (`task-length-index`), `task`, `length`, `prompt`, `target`.
"""
    head = "\n".join(["---", f"pretty_name: lgbench {suite.name}", "license: apache-2.0", "configs:", *configs, "---"])
    return f"{head}\n\n{body}"


def _config(name: str, split: str, path: str) -> str:
    return f"- config_name: {name}\n  data_files:\n  - split: {split}\n    path: {path}"
