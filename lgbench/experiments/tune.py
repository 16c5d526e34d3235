"""A tuning study: successive halving over settings, chosen by what is known in distribution alone.

Successive halving (Karnin et al., 2013; Jamieson and Talwalkar, arXiv 1502.07943) trains many trials for a while, keeps
the best, trains those on, and so forth. A run that goes on is the same run: its schedule is that of all its steps from
the beginning, so nothing is trained twice. Each trial gets the steps that fit into the same time.

What a trial is chosen by is in `lgbench.experiments.halving`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lgbench.experiments.base import Report, Run, SuiteExperiment
from lgbench.experiments.halving import Rung, Seen, Standing, Trial, ordered, see, standing
from lgbench.util.errors import DivergedError, LgbenchError
from lgbench.util.tables import Table

if TYPE_CHECKING:
    from lgbench.experiments.monitor import Monitor
    from lgbench.training.record import CurvePoint
    from lgbench.training.spec import RunSpec

FIRST_TUNING_SEED = 200
"""Reported runs have the seeds from 0 on; settings are chosen with others."""


class _Task(NamedTuple):
    """What a run is of; travels with it to the process that trains it."""

    trial: Trial
    until: int


@dataclass(frozen=True, kw_only=True)
class TuningStudy(SuiteExperiment):
    """Choose a domain's settings by successive halving. Subclass it and say what to try.

    Class attributes:
        domain: Whose settings are chosen.
        preset: The one whose settings the trials change.
        step: Changes that every trial has, of how a step is computed.
        trains: The group and arm of each run of a trial: `main_only` and `transfer` alike.
        trials: What is tried. All count, those that diverge too.
        rungs: The rounds.
        seeds: Of the runs, 200 and up.
    """

    domain: ClassVar[str]
    preset: ClassVar[str] = "mini"
    step: ClassVar[tuple[str, ...]] = ("packed=true", "length_chunks=8")
    trains: ClassVar[tuple[tuple[str, str], ...]]
    trials: ClassVar[tuple[Trial, ...]]
    rungs: ClassVar[tuple[Rung, ...]]
    seeds: ClassVar[tuple[int, ...]]

    plans_again: ClassVar[bool] = True

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """Every run that is known to be needed: those of the rounds before, and of the round at work."""
        self._check()
        last: dict[Path, Run] = {}
        for rung, trials in self._rounds(root):
            for trial in trials:
                last |= {run.folder: run for run in self._runs_of(trial, rung, root, device)}
        yield from last.values()

    def last_step(self, run: Run) -> int:
        """Where the round ends for it."""
        until: int = run.extra.until
        return until

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Train it to the end of the round, or until it diverges, which is kept."""
        from lgbench.experiments.code_history import NoteCode
        from lgbench.experiments.finish import train_run
        from lgbench.training.hooks import Hook, StopWhen

        if _is_done(run.folder, run.extra.until):
            return
        hooks: list[Hook] = [NoteCode(monitor.say)]
        if run.extra.until < run.plan.settings.steps:
            hooks.append(StopWhen(step=run.extra.until))
        try:
            train_run(run, device=device, monitor=monitor, build=None, tell=_in_distribution_line, hooks=hooks)
        except DivergedError as error:
            monitor.say(str(error))
            _keep_diverged(run.folder, run.extra.until, str(error))

    def report(self, runs: Sequence[Run]) -> Report:
        """The trials of each round, best first, and the choice if the last one has ended."""
        from lgbench.experiments.code_history import code_changes

        root = runs[0].folder.parents[1]
        tables, rounds, chosen = [], [], None
        for number, (rung, trials) in enumerate(self._rounds(root), start=1):
            standings = self._standings(rung, trials, root)
            if standings is None:
                break
            title = f"{self.domain}, round {number}: {rung.percent} % of the steps, {_count(rung.seeds, 'seed')}"
            tables.append(Table(title, _COLUMNS, [_row(each) for each in standings], text=2))
            rounds.append(
                {"percent": rung.percent, "seeds": rung.seeds, "trials": [_entry(each) for each in standings]}
            )
            chosen = standings[0].trial if number == len(self.rungs) else None
        changes = code_changes([run.folder for run in runs])
        lines = [*changes, f"{len(self.trials)} trials, {len(runs)} runs."]
        if chosen is not None:
            lines.append(f"Chosen: {chosen.name}, {' '.join((f'steps={chosen.steps}', *chosen.changes))}")
        record = {"rounds": rounds, "chosen": None if chosen is None else chosen._asdict(), "code_changes": changes}
        return Report([*tables, *lines], record)

    def choice(self, root: Path) -> Trial | None:
        """The study's choice, from the records in `root`; None while a run is missing.

        Raises:
            LgbenchError: A record is damaged.
        """
        rounds = list(self._rounds(root))
        standings = self._standings(*rounds[-1], root) if len(rounds) == len(self.rungs) else None
        return None if standings is None else standings[0].trial

    def _rounds(self, root: Path) -> Iterator[tuple[Rung, Sequence[Trial]]]:
        """Each round that can be planned, with its trials: those that the round before kept."""
        trials: Sequence[Trial] = self.trials
        for rung in self.rungs:
            yield rung, trials
            standings = self._standings(rung, trials, root)
            if standings is None:
                return
            trials = [each.trial for each in standings[: rung.keep]]

    def _standings(self, rung: Rung, trials: Sequence[Trial], root: Path) -> list[Standing] | None:
        """The trials of a round, best first; None while one of its runs is not so far."""
        found = []
        for trial in trials:
            folders, until = self._folders(trial, rung, root), _until(trial, rung)
            if not all(_is_done(folder, until) for folder in folders):
                return None
            found.append(standing(trial, [_seen(folder, until) for folder in folders]))
        return ordered(found)

    def _folders(self, trial: Trial, rung: Rung, root: Path) -> list[Path]:
        return [
            root / trial.name / f"{group}-{arm}-seed{seed}"
            for seed in self.seeds[: rung.seeds]
            for group, arm in self.trains
        ]

    def _runs_of(self, trial: Trial, rung: Rung, root: Path, device: str) -> Iterator[Run]:
        from lgbench.training.spec import Recipe

        changes = [f"steps={trial.steps}", f"evaluate_every={_every(trial)}", *self.step, *trial.changes]
        recipe = Recipe(self.opened_suite(), preset=self.preset, changes=changes, device=device)
        for seed in self.seeds[: rung.seeds]:
            for group, arm in self.trains:
                folder = root / trial.name / f"{group}-{arm}-seed{seed}"
                name = f"{trial.name}, {group} {arm} seed {seed}"
                yield Run(recipe.plan(group, arm, seed), folder, name, _Task(trial, _until(trial, rung)))

    def _check(self) -> None:
        """Raise LgbenchError if the study breaks a rule."""
        if min(self.seeds) < FIRST_TUNING_SEED:
            raise LgbenchError(
                f"Seed {min(self.seeds)} is for reported runs. Tune with seeds {FIRST_TUNING_SEED} and up."
            )
        if not {"main_only", "transfer"} <= {arm for _, arm in self.trains}:
            raise LgbenchError(
                "A tuning study trains the arms main_only and transfer alike, so that it favours neither."
            )
        if len({trial.name for trial in self.trials}) < len(self.trials):
            raise LgbenchError("Two trials of the study have one name.")
        for trial in self.trials:
            if trial.steps % POINTS:
                raise LgbenchError(f"{trial.name} has {trial.steps} steps: give a multiple of {POINTS}.")
        shares = [rung.percent for rung in self.rungs]
        if shares != sorted(shares) or shares[-1] != 100 or any(share * POINTS % 100 for share in shares):
            raise LgbenchError(f"The rounds end at {shares} % of the steps: they must rise, in steps of 10, up to 100.")
        if any(rung.seeds > len(self.seeds) for rung in self.rungs):
            raise LgbenchError(f"A round trains more seeds than the study's {len(self.seeds)}.")


POINTS = 10
"""Points of a trial's curve: mastery is known to a tenth of the run."""
_COLUMNS = ("trial", "settings", "steps", "in-dist., %", "mastered, % of steps", "score", "diverged")
_DIVERGED = "diverged.json"


def _every(trial: Trial) -> int:
    return trial.steps // POINTS


def _until(trial: Trial, rung: Rung) -> int:
    return trial.steps * rung.percent // 100


def _is_done(folder: Path, until: int) -> bool:
    """Whether a run has come so far, or has diverged."""
    from lgbench.training.record import RECORD, read_training_record

    if _diverged(folder, until):
        return True
    return (folder / RECORD).is_file() and read_training_record(folder).steps_done >= until


def _seen(folder: Path, until: int) -> Seen | None:
    from lgbench.training.record import read_training_record

    return None if _diverged(folder, until) else see(read_training_record(folder), until=until)


def _diverged(folder: Path, until: int) -> bool:
    """Whether a run diverged in the round that ends at step `until`, or in one before."""
    from lgbench.util.records import parse_json, read_capped

    path = folder / _DIVERGED
    return path.is_file() and parse_json(read_capped(path, 10_000))["until"] <= until


def _keep_diverged(folder: Path, until: int, reason: str) -> None:
    from lgbench.util.files import write_atomically
    from lgbench.util.text import json_text

    write_atomically(folder / _DIVERGED, f"{json_text({'until': until, 'reason': reason})}\n".encode())


def _in_distribution_line(plan: RunSpec, point: CurvePoint) -> str:
    """What a run at work shows: only what the choice may know."""
    from lgbench.data.cells import DEV_EXAMPLES
    from lgbench.scoring.display import one_decimal

    main, *auxiliaries = plan.parts
    counts = [count for length, count in point.correct[main.task].items() if length <= main.max_length]

    shown = [f"{main.task} in-distribution {one_decimal(Fraction(sum(counts), DEV_EXAMPLES * len(counts)))} %"]
    shown += [
        f"{each.task} {point.correct[each.task][each.max_length]}/{DEV_EXAMPLES} at length {each.max_length}"
        for each in auxiliaries
    ]
    return ", ".join(shown)


def _row(each: Standing) -> tuple[Any, ...]:
    trial = each.trial
    from lgbench.scoring.display import percent

    shown = [percent(each.accuracy), percent(each.mastered), f"{float(each.score):+.3f}"]
    return (trial.name, " ".join(trial.changes) or "the preset", trial.steps, *shown, each.diverged)


def _entry(each: Standing) -> Mapping[str, Any]:
    return {
        "trial": each.trial.name,
        "in_distribution": float(each.accuracy),
        "mastered": float(each.mastered),
        "score": float(each.score),
        "diverged": each.diverged,
    }


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number > 1 else ''}"
