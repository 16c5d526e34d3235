"""The suite as a task folder of lm-evaluation-harness: one of its tasks for each cell, strict exact match."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from lgbench.data.cells import checked_cell, recorded_digest
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example
from lgbench.evaluation.planning import Plan
from lgbench.models.loading import check_texts
from lgbench.models.prompting import generation_cap, prompt_style, question
from lgbench.results.schema import PromptStyle
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.files import atomic_folder

MODULE = "lgbench_cells"
# Runs inside the harness, where lgbench need not be installed; so it is written out as text.
_LOADER = '''"""Written by `lgbench export lm-eval`: loads a cell, checks its hash, and scores by strict exact match."""

import hashlib
import json
from pathlib import Path

from datasets import Dataset


def load(cell, sha256, **_):
    """The documents of a cell; they must be the published examples of the benchmark."""
    lines = (Path(__file__).parent / "data" / f"{cell}.jsonl").read_text(encoding="ascii").splitlines()
    documents = [json.loads(line) for line in lines]
    pairs = [json.dumps([each["prompt"], each["target"]], separators=(",", ":")) + "\\n" for each in documents]
    if hashlib.sha256("".join(pairs).encode("ascii")).hexdigest() != sha256:
        raise ValueError(f"The examples of {cell} are not the published ones. Export the suite again.")
    return {"test": Dataset.from_list(documents)}


def score(document, replies):
    """1 where the reply equals the target, character for character."""
    return {"exact_match": float(replies[0] == document["target"])}
'''


def export_lm_eval(plan: Plan, folder: Path, *, template: str | None = None, report: CountReport = no_report) -> str:
    """Write the cells of a plan as a task folder.

    Args:
        plan: The cells; its limit is not heeded, since the harness has one of its own.
        folder: Where to; new or empty.
        template: As for style `raw` of `hf:`.
        report: Takes how many cells are written, and of how many.

    Returns:
        The name of the group of all cells, for `--tasks`.

    Raises:
        LgbenchError: The folder is not empty or cannot be written, or the template lacks `{prompt}` or is no text to
            record.
    """
    check_texts({"template": template or ""})
    style = prompt_style("raw", chat=None, has_chat=False, template=template, shots=None)
    whole = f"lgbench_{plan.suite.name.replace('-', '_')}"
    with atomic_folder(folder) as unfinished:
        _write(plan, unfinished, style, whole, report)
    return whole


def _write(plan: Plan, folder: Path, style: PromptStyle, whole: str, report: CountReport) -> None:
    (folder / "data").mkdir()
    (folder / f"{MODULE}.py").write_text(_LOADER, encoding="utf-8")
    by_task: dict[str, list[str]] = {}
    for cell in counted(plan.cells, report):
        examples = checked_cell(plan.suite, cell)
        records = [
            {
                "id": example.id,
                "text": question(style, plan.suite, example.prompt, example.task),
                "prompt": example.prompt,
                "target": example.target,
            }
            for example in examples
        ]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / "data" / f"{cell.task}-{cell.length}.jsonl").write_text(lines, encoding="ascii")
        name = f"{whole}_{cell.task}_{cell.length}"
        (folder / f"{name}.yaml").write_text(_task(name, plan.suite, cell, examples), encoding="utf-8")
        by_task.setdefault(f"{whole}_{cell.task}", []).append(name)
    for name, tasks in by_task.items():
        (folder / f"{name}.yaml").write_text(_group(name, tasks), encoding="utf-8")
    (folder / f"{whole}.yaml").write_text(_group(whole, list(by_task)), encoding="utf-8")


def _task(name: str, suite: Suite, cell: Cell, examples: Sequence[Example]) -> str:
    cap = max(generation_cap(example.prompt) for example in examples)
    return f"""task: {name}
custom_dataset: !function {MODULE}.load
dataset_kwargs:
  cell: {cell.task}-{cell.length}
  sha256: {recorded_digest(suite, cell)}
test_split: test
num_fewshot: 0
output_type: generate_until
doc_to_text: text
doc_to_target: target
target_delimiter: ""
process_results: !function {MODULE}.score
generation_kwargs:
  do_sample: false
  max_gen_toks: {cap}
  until: []
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
metadata:
  version: {suite.task(cell.task).version}
"""


def _group(name: str, tasks: Sequence[str]) -> str:
    listed = "".join(f"  - {task}\n" for task in tasks)
    return f"""group: {name}
task:
{listed}aggregate_metric_list:
  - metric: exact_match
    aggregation: mean
    weight_by_size: true
"""
