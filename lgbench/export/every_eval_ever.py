"""A result in the format of Every Eval Ever 0.3.0: an aggregate record, and one line for each reply.

Source of the format: `every_eval_ever/schemas/` in github.com/evaleval/every_eval_ever. One evaluation result is one
cell: a task at a length.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lgbench.data.cells import checked_cell, evaluated
from lgbench.data.suites import Cell, load_suite
from lgbench.data.task import Example
from lgbench.evaluation.folder import REPLIES_FILE
from lgbench.evaluation.rescoring import rescore
from lgbench.evaluation.stored import read_stored_replies
from lgbench.results.reply import Reply
from lgbench.results.schema import CellResult, Result
from lgbench.scoring.measures import wilson_interval
from lgbench.util.files import atomic_folder

SCHEMA_VERSION = "0.3.0"
_METRIC = {
    "evaluation_description": "Share of replies that equal the target, character for character.",
    "metric_id": "exact_match",
    "metric_name": "Exact match",
    "metric_kind": "accuracy",
    "metric_unit": "proportion",
    "lower_is_better": False,
    "score_type": "continuous",
    "min_score": 0.0,
    "max_score": 1.0,
}


def export_every_eval_ever(source: Path, folder: Path) -> tuple[Path, Path]:
    """Re-score a result, and write it with all its replies.

    Args:
        source: The folder of a result.
        folder: Where to; new or empty. The files lie in `data/lgbench/DEVELOPER/MODEL/`, as their database wants them.

    Returns:
        The paths of the aggregate record and of the samples.

    Raises:
        InvalidFileError: The result does not follow from its replies.
        LgbenchError: The folder is not empty, or cannot be written.
    """
    result = rescore(source).result
    replies = read_stored_replies(source / REPLIES_FILE)
    model = _model_id(result)
    place = Path("data", "lgbench", *(_slug(part) for part in model.split("/", 1)))
    name = str(uuid.UUID(bytes=bytes.fromhex(result.replies_sha256[:32]), version=4))
    record, samples = place / f"{name}.json", place / f"{name}_samples.jsonl"
    identity = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": f"lgbench-{result.suite}/{model}/{_moment(result)}",
    }
    digest, rows = hashlib.sha256(), 0
    with atomic_folder(folder) as unfinished:
        (unfinished / place).mkdir(parents=True)
        with (unfinished / samples).open("wb") as file:
            for sample in _samples(result, replies):
                line = json.dumps(identity | {"model_id": model} | sample).encode() + b"\n"
                digest.update(line)
                file.write(line)
                rows += 1
        aggregate = identity | _aggregate(result, model)
        aggregate["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": samples.as_posix(),
            "hash_algorithm": "sha256",
            "checksum": digest.hexdigest(),
            "total_rows": rows,
        }
        (unfinished / record).write_text(json.dumps(aggregate, indent=1) + "\n", encoding="utf-8")
    return folder / record, folder / samples


def _aggregate(result: Result, model: str) -> dict[str, Any]:
    system, environment = result.system, result.environment
    hidden = {"group": result.group, "seed": result.seed, "limit": result.limit, "parameters": system.parameters}
    return {
        "evaluation_timestamp": result.started.isoformat(),
        "retrieved_timestamp": _moment(result),
        "source_metadata": {
            "source_name": "lgbench",
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {
            "name": "lgbench",
            "version": environment.lgbench,
            "additional_details": {"replies_sha256": result.replies_sha256},
        },
        "model_info": {
            "name": system.model,
            "id": model,
            "inference_engine": {
                "name": _engine(result),
                "version": environment.packages.get(_engine(result), "unknown"),
            },
            "additional_details": {
                "deployment_type": "unknown" if system.kind == "api" else "self_deployed",
                "model_availability": "unknown",
                "arm": result.arm,
                **{key: str(value) for key, value in hidden.items() if value is not None},
                **{f"option_{key}": value for key, value in system.options.items()},
            },
        },
        "evaluation_results": [_cell(result, cell) for cell in result.cells],
    }


def _cell(result: Result, cell: CellResult) -> dict[str, Any]:
    counts = cell.counts
    interval = wilson_interval(counts.correct, counts.total)
    prompt = result.system.prompt
    generation: dict[str, Any] = {"temperature": 0.0} if prompt else {}
    if prompt and prompt.template is not None:
        generation["prompt_template"] = prompt.template
    return {
        "evaluation_result_id": _result_id(cell.task, cell.length),
        "evaluation_name": f"lgbench {result.suite} {cell.task} at length {cell.length}",
        "source_data": {
            "dataset_name": f"lgbench {result.suite}",
            "source_type": "other",
            "additional_details": {"task_version": str(cell.task_version), "sha256": cell.sha256},
        },
        "metric_config": _METRIC,
        "score_details": {
            "score": counts.correct / counts.total,
            "details": {
                name: str(getattr(counts, name)) for name in ("correct", "total", "empty", "early", "late", "capped")
            },
            "uncertainty": {
                "confidence_interval": {
                    "lower": interval.low,
                    "upper": interval.high,
                    "confidence_level": 0.95,
                    "method": "Wilson",
                },
                "num_samples": counts.total,
            },
        },
        "generation_config": {"generation_args": generation},
    }


def _samples(result: Result, replies: Mapping[str, Reply]) -> Iterator[dict[str, Any]]:
    suite = load_suite(result.suite, result.draft)
    for recorded in result.cells:
        cell = Cell(recorded.task, recorded.length)
        for example in evaluated(suite, cell, checked_cell(suite, cell), result.limit):
            yield _sample(result, example, replies.get(example.id, Reply(example.target)))


def _sample(result: Result, example: Example, reply: Reply) -> dict[str, Any]:
    right = reply.text == example.target
    return {
        "evaluation_name": f"lgbench {result.suite} {example.task} at length {example.length}",
        "evaluation_result_id": _result_id(example.task, example.length),
        "sample_id": example.id,
        "sample_hash": hashlib.sha256((example.prompt + example.target).encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": example.prompt, "reference": [example.target]},
        "output": {"raw": [reply.text]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": reply.text,
                "extraction_method": "exact_match",
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": float(right), "is_correct": right},
        "metadata": {"task": example.task, "length": str(example.length), "capped": str(reply.capped).lower()},
    }


def _result_id(task: str, length: int) -> str:
    return f"{task}-{length}-exact_match"


def _moment(result: Result) -> str:
    return str(int(result.started.timestamp()))


def _model_id(result: Result) -> str:
    """`organization/name`: the Hub's for a model from there; a file or folder by its own name. `@REVISION` follows."""
    name = result.system.model.partition(":")[2] or result.system.model
    revision = result.system.options.get("revision")
    if revision:
        name = name.removesuffix(f"@{revision}")
    at = f"@{_slug(revision)}" if revision else ""
    is_of_hub = result.system.kind == "hf" and not name.startswith(".") and not Path(name).exists()
    if is_of_hub and re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", name):
        return name + at
    return f"unknown/{_slug(Path(name).name)}{at}"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._@-]+", "-", text).strip("-.") or "model"


def _engine(result: Result) -> str:
    return {"hf": "transformers", "api": "openai"}.get(result.system.kind, "lgbench")
