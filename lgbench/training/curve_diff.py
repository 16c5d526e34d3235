"""Whether a run that was trained again came out as it was recorded. Pure."""

from __future__ import annotations

from typing import NamedTuple

from lgbench.data.cells import DEV_EXAMPLES
from lgbench.training.points import zones_line
from lgbench.training.record import CurvePoint, Machine, TrainingRecord
from lgbench.util.text import plain

WHERE_EQUAL = (
    "Floating-point results are equal only on the same kind of machine, with the same PyTorch and as many threads."
)


class Comparison(NamedTuple):
    """The points of two records of one plan, up to some step.

    Attributes:
        recorded: The points that were recorded.
        here: Those of the run here, after the same steps.
        counts: Where the numbers of parameters or tokens differ, in words: no machine rounds these.
    """

    recorded: tuple[CurvePoint, ...]
    here: tuple[CurvePoint, ...]
    counts: tuple[str, ...] = ()

    @property
    def differing(self) -> list[tuple[CurvePoint, CurvePoint]]:
        """The points that are not equal: as recorded, and as here."""
        pairs = zip(self.recorded, self.here, strict=True)
        return [(recorded, here) for recorded, here in pairs if recorded != here]

    @property
    def is_equal(self) -> bool:
        """Whether the run came out as recorded."""
        return not self.differing and not self.counts


def compare(recorded: TrainingRecord, here: TrainingRecord, *, until: int) -> Comparison:
    """Lay two records side by side.

    Args:
        recorded: The record.
        here: That of the run here, with a point wherever the record has one.
        until: The last step to compare.
    """
    before, now = (tuple(point for point in record.curve if point.step <= until) for record in (recorded, here))
    names = ["parameters"] + (["tokens", "target_tokens"] if recorded.steps_done == here.steps_done else [])
    counts = ((name.replace("_", " "), getattr(recorded, name), getattr(here, name)) for name in names)
    return Comparison(before, now, tuple(f"{a:,} {name} recorded, {b:,} here" for name, a, b in counts if a != b))


def point_difference(recorded: CurvePoint, here: CurvePoint) -> str | None:
    """How two points of the same step differ, in words; None where they are equal, to the last digit of the loss."""
    found = []
    if recorded.loss != here.loss:
        found.append(f"loss {recorded.loss!r} recorded, {here.loss!r} here")
    counts = [
        f"{task} at length {length}: {count} of {DEV_EXAMPLES} recorded, {here.correct[task][length]} here"
        for task, by_length in recorded.correct.items()
        for length, count in by_length.items()
        if count != here.correct[task][length]
    ]
    found += counts[:1]
    if (more := len(counts) - 1) > 0:
        found.append(f"{more} more count{'s' if more > 1 else ''}")
    return "; ".join(found) or None


def machine_differences(recorded: TrainingRecord, here: Machine, *, fast_bfloat16: bool) -> list[str]:
    """What of a recorded machine is not so here.

    Args:
        recorded: The record.
        here: The machine here.
        fast_bfloat16: Whether its products of bfloat16 matrices are fast.
    """
    before, now = recorded.machine.model_dump(), here.model_dump()
    found = [
        f"{name} {plain(str(value))} recorded, {now[name]} here"
        for name, value in before.items()
        if value is not None and _kind(name, value) != _kind(name, now[name])
    ]
    if recorded.plan.settings.precision == "bfloat16" and not fast_bfloat16:
        found.append("precision bfloat16 recorded, which is only emulated here")
    return found


def _kind(name: str, value: object) -> object:
    """What of a field decides how sums are rounded: not how many cores there are, but how many threads."""
    return str(value).partition(",")[0] if name == "platform" else value


def elsewhere_note(recorded: TrainingRecord, here: Machine, *, fast_bfloat16: bool) -> list[str]:
    """What to say before training where the recorded machine is not this one; nothing where it is."""
    found = machine_differences(recorded, here, fast_bfloat16=fast_bfloat16)
    threads = recorded.machine.threads
    advice = f" Set OMP_NUM_THREADS={threads} and start anew." if threads != here.threads else ""
    return [f"The record is of another machine: {'; '.join(found)}. {WHERE_EQUAL}{advice}"] if found else []


def verdict(recorded: TrainingRecord, comparison: Comparison, elsewhere: list[str]) -> str:
    """What came out, in sentences.

    Args:
        recorded: The record.
        comparison: Its points beside those of the run here.
        elsewhere: As `machine_differences` lists them.
    """
    if comparison.is_equal:
        return _equal(recorded, comparison)
    if comparison.counts:
        return f"{'; '.join(comparison.counts)}: the recorded run is of another model or of other data."
    plan, before, now = recorded.plan, comparison.recorded[-1], comparison.here[-1]
    return "\n".join(
        [
            _first_difference(comparison),
            f"The last point, at step {before.step}, recorded: {zones_line(plan, before)}; "
            f"here: {zones_line(plan, now)}.",
            _reason(recorded, elsewhere),
        ]
    )


def _equal(recorded: TrainingRecord, comparison: Comparison) -> str:
    points, last = len(comparison.recorded), comparison.recorded[-1].step
    steps = recorded.plan.settings.steps
    which = "of the curve" if last == steps else f"up to step {last} of {steps}"
    what = f"All {points} points {which} are" if points > 1 else f"The one point {which} is"
    return f"{what} equal to the recorded one{'s' if points > 1 else ''}, to the last digit."


def _first_difference(comparison: Comparison) -> str:
    differing, points = comparison.differing, len(comparison.recorded)
    before, now = differing[0]
    many = len(differing) > 1
    return (
        f"{len(differing)} of {points} point{'s' if points > 1 else ''} of the curve "
        f"{'differ from the recorded ones, first' if many else 'differs from the recorded one,'} "
        f"at step {before.step}: {point_difference(before, now)}."
    )


def _reason(recorded: TrainingRecord, elsewhere: list[str]) -> str:
    if elsewhere:
        return f"The likely reason: the record is of another machine ({'; '.join(elsewhere)}). {WHERE_EQUAL}"
    unnamed = "a processor of another model, which this record does not name, or "
    return (
        "What the record tells of its machine is so here too. The reason may be "
        f"{unnamed if recorded.machine.processor is None else ''}a record that is not of this run."
    )
