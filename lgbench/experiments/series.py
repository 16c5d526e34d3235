"""A series of checkpoints of one model, by pretraining step (Figure 9 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lgbench.models.huggingface.folder import typed_path
from lgbench.results.schema import Result
from lgbench.util.errors import LgbenchError

_STEP = re.compile(r"(?:step|checkpoint)[-_]?([0-9]+)", re.IGNORECASE)
_MOST_DIGITS = 15


def pretraining_step(revision: str) -> int:
    """The step in a revision's name: the number after `step` or `checkpoint`, or else its only number.

    Raises:
        LgbenchError: It has none, or several of which none is named so.

    Examples:
        >>> pretraining_step("stage1-step140000-tokens294B")
        140000
    """
    named, numbers = _STEP.findall(revision), re.findall("[0-9]+", revision)
    if (named or len(numbers) == 1) and len(step := (named or numbers)[0]) <= _MOST_DIGITS:
        return int(step)
    raise LgbenchError(f"The revision {revision!r} names no step. A series needs names such as step-160000.")


def split_revisions(text: str) -> list[str]:
    """The revisions in `a,b,c`, by step.

    Raises:
        LgbenchError: One is empty or names no step, or two name the same.
    """
    revisions = [part.strip() for part in text.split(",")]
    if not all(revisions) or len(set(revisions)) < len(revisions):
        raise LgbenchError(f"revisions={text!r} must be different names with commas between, as step-1000,step-2000.")
    steps = {pretraining_step(revision): revision for revision in revisions}
    if len(steps) < len(revisions):
        raise LgbenchError(f"revisions={text!r} names a step twice: a series has one checkpoint of each.")
    return [steps[step] for step in sorted(steps)]


def spread_revisions(model: str, options: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """MODEL and its options, where `hf:X@a,b` is another way to write `hf:X` with the model option `revisions=a,b`.

    Raises:
        LgbenchError: An option names revisions too, or revisions are asked of another kind of model; or the model's
            folder is in a home that is not known.

    Examples:
        >>> spread_revisions("hf:me/tiny@step-1,step-2", {"dtype": "float32"})
        ('hf:me/tiny', {'dtype': 'float32', 'revisions': 'step-1,step-2'})
    """
    place, at, written = model.rpartition("@")
    is_list = model.startswith("hf:") and at and "," in written
    if not is_list or typed_path(model.removeprefix("hf:")).exists():
        if "revisions" in options and (not model.startswith("hf:") or "revision" in options):
            raise LgbenchError("The model option revisions is for hf: models, and takes the place of revision.")
        return model, dict(options)
    if given := options.keys() & {"revision", "revisions"}:
        raise LgbenchError(f"{model!r} names revisions, and so does the model option {min(given)}. Leave one out.")
    return place, {**options, "revisions": written}


def by_step(results: Sequence[Result]) -> dict[int, Result]:
    """Results of a series by step, ascending.

    Raises:
        LgbenchError: The step of one is not known, or two are of one step.
    """
    steps: dict[int, Result] = {}
    for result in results:
        step = pretraining_step(_revision(result))
        if step in steps:
            raise LgbenchError(f"Two results are of step {step}. Name the results of one series only.")
        steps[step] = result
    return dict(sorted(steps.items()))


def _revision(result: Result) -> str:
    """The revision that was evaluated, or the folder, if its name says the step."""
    _, at, revision = result.system.model.rpartition("@")
    if given := result.system.options.get("revision") or (revision if at else None):
        return given
    folder = revision.rstrip("/").rpartition("/")[2]
    if not _STEP.search(folder):
        raise LgbenchError(f"The result of {result.system.model!r} names no step, so it has no place in a series.")
    return folder
