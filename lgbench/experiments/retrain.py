"""Recorded runs trained again: do they come out as recorded?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from lgbench.experiments.base import Experiment, Option, Report, Run

if TYPE_CHECKING:
    from lgbench.experiments.monitor import Monitor
    from lgbench.training.record import CurvePoint, TrainingRecord
    from lgbench.training.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Retrain(Experiment):
    """Train recorded runs again and say whether they come out the same. Rerun to resume.

    If one of them does not, the exit status is 1.
    """

    run: Annotated[
        tuple[str, ...],
        Option("The folders of recorded runs, or their training.json.", metavar="RUN", argument=True),
    ]
    model: Annotated[
        str | None,
        Option("The module that was trained, if it is not the reference model.", metavar="FILE.py:BUILD", shown="none"),
    ] = None
    hook: Annotated[
        tuple[str, ...],
        Option("A hook of your own that the runs had; may be repeated.", metavar="FILE.py:CLASS", shown="none"),
    ] = ()
    method: Annotated[
        str | None,
        Option("The method that the runs had, if it is your own.", metavar="FILE.py:CLASS", shown="the recorded one"),
    ] = None
    start: Annotated[
        str | None,
        Option("The checkpoint that the runs started from, if any.", metavar="FOLDER", shown="none"),
    ] = None
    until: Annotated[
        int | None, Option("Stop at the first point at or after this step.", metavar="STEP", least=1, shown="all")
    ] = None
    suite: Annotated[
        str | None, Option("The draft suite that they are of.", metavar="FILE.py:ATTRIBUTE", shown="none")
    ] = None

    takes_hooks: ClassVar[bool] = False

    def prepare(self) -> None:
        """Open the draft suite, if the runs are of one."""
        if self.suite is not None:
            from lgbench.data.drafts import open_suite

            open_suite(self.suite)

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """A run for each record, in a folder named like the recorded one's."""
        from lgbench.training.record import read_training_record
        from lgbench.training.retraining import check_output, plan_again, recorded_folder

        sources = list(dict.fromkeys(recorded_folder(Path(each)).resolve() for each in self.run))
        names = Counter(source.name for source in sources)
        for source in sources:
            name = source.name if names[source.name] == 1 else f"{source.parent.name}-{source.name}"
            recorded = read_training_record(source)
            check_output(root / name, source)
            plan = plan_again(
                recorded, model=self.model, hooks=self.hook, start=self.start, method=self._own_method(recorded.plan)
            )
            yield Run(plan, root / name, name, recorded)

    def _own_method(self, plan: RunSpec) -> str | None:
        """What the user gave to `--method`, which lgbench's own methods do not need."""
        from lgbench.methods.registry import METHODS

        if plan.method is not None and plan.method.name in METHODS:
            return plan.method.name if self.method is None else self.method
        return self.method

    def notes(self) -> list[str]:
        """What equal curves will not say."""
        from lgbench.training.record import read_training_record
        from lgbench.training.retraining import recorded_folder, reservations

        records = [read_training_record(recorded_folder(Path(each))) for each in self.run]
        return list(dict.fromkeys(each for record in records for each in reservations(record)))

    def last_step(self, run: Run) -> int:
        """The step of the last point that is compared."""
        from lgbench.training.retraining import last_step

        return last_step(run.extra, self.until)

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Train it as far as it is compared, with as many threads as were recorded."""
        from lgbench.experiments.finish import train_run
        from lgbench.models.devices import fast_bfloat16
        from lgbench.training.curve_diff import elsewhere_note, point_difference
        from lgbench.training.hooks import StopWhen
        from lgbench.training.points import zones_line
        from lgbench.training.record import Machine
        from lgbench.training.retraining import threads_of, trained_before

        recorded: TrainingRecord = run.extra
        last = self.last_step(run)
        with threads_of(recorded):
            for note in elsewhere_note(recorded, Machine.current(device), fast_bfloat16=fast_bfloat16(device)):
                monitor.say(note)
            if trained_before(run.plan, run.folder, until=last) is not None:
                monitor.say(f"Nothing is left to train: the run in {str(run.folder)!r} is compared as it is.")
                return
            hooks = [StopWhen(step=last)] if last < run.plan.settings.steps else []
            points = {point.step: point for point in recorded.curve}

            def tell(plan: RunSpec, point: CurvePoint) -> str:
                differs = point_difference(points[point.step], point)
                news = "as recorded" if differs is None else f"not as recorded: {differs}"
                return f"{zones_line(plan, point)}; {news}"

            train_run(run, device=device, monitor=monitor, build=self.build(run), tell=tell, hooks=hooks)

    def report(self, runs: Sequence[Run]) -> Report:
        """A verdict on each."""
        from lgbench.util.text import plain

        found = [self._verdict(run) for run in runs]
        if len(runs) == 1:
            parts = [found[0].sentences]
        else:
            equal = sum(each.equal for each in found)
            parts = [f"{plain(run.name)}: {each.sentences}" for run, each in zip(runs, found, strict=True)]
            parts.append(f"{equal} of {len(runs)} runs came out as recorded.")
        record = [
            {"run": run.name, "folder": str(run.folder), **each.record} for run, each in zip(runs, found, strict=True)
        ]
        return Report(parts, record, passed=all(each.equal for each in found))

    def _verdict(self, run: Run) -> _Verdict:
        from lgbench.training.curve_diff import compare, machine_differences, verdict
        from lgbench.training.retraining import fast_products, reservations, trained_before
        from lgbench.util.text import plain

        recorded, last = run.extra, self.last_step(run)
        here = trained_before(run.plan, run.folder, until=last) or run.record()
        comparison = compare(recorded, here, until=last)
        elsewhere = machine_differences(recorded, here.machine, fast_bfloat16=fast_products(here.machine))
        but = [plain(each, limit=2000) for each in reservations(recorded)]
        sentences = "\n".join([verdict(recorded, comparison, elsewhere), *but])
        record = {
            "equal": comparison.is_equal,
            "points": len(comparison.recorded),
            "differing_steps": [point.step for point, _ in comparison.differing],
            "counts": list(comparison.counts),
            "machine_differences": elsewhere,
            "reservations": but,
        }
        return _Verdict(comparison.is_equal, sentences, record)


class _Verdict(NamedTuple):
    equal: bool
    sentences: str
    record: dict[str, Any]
