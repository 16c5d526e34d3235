"""What an experiment is: subclass `Experiment` and give it `runs` and `report`. docs/experiments.md has an example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from lgbench.util.tables import Table

if TYPE_CHECKING:
    from lgbench.data.suites import Suite
    from lgbench.experiments.monitor import Monitor
    from lgbench.models.checkpoint import Build
    from lgbench.training.record import TrainingRecord
    from lgbench.training.spec import Recipe, RunSpec


@dataclass(frozen=True)
class Option:
    """What the command line says of a field of an experiment, in `Annotated[type, Option("...")]`.

    Attributes:
        help: One or two sentences.
        metavar: What stands for the value in the help.
        least: The least value of a number.
        most: The greatest value of a number.
        flag: The option's name where it is not that of the field, as in `--set`.
        argument: Whether it is a positional argument.
        shown: The default as the help shows it, where the field's own says little.
    """

    help: str
    metavar: str | None = None
    least: int | None = None
    most: int | None = None
    flag: str | None = None
    argument: bool = False
    shown: str | None = None


GroupName = Annotated[str, Option("A group, as `lgbench suites show` lists them.", metavar="GROUP", argument=True)]
ArmName = Annotated[str, Option("An arm, as `lgbench suites show` lists them.", metavar="ARM", argument=True)]
Seeds = Annotated[int, Option("Train seeds 0 to SEEDS - 1.", least=1)]
SeedList = Annotated[
    tuple[int, ...],
    Option(
        "Train this seed instead, or several joined by commas; may be repeated.",
        metavar="N",
        least=0,
        most=2**63 - 1,  # as `lgbench.results.schema.Seed` has it
        shown="0 to SEEDS - 1",
    ),
]
Changes = Annotated[
    tuple[str, ...],
    Option("Change one hyperparameter of docs/settings.md; may be repeated.", metavar="NAME=VALUE", flag="--set"),
]


class Run(NamedTuple):
    """One training run of an experiment.

    Attributes:
        plan: What to train.
        folder: Where `training.json`, `checkpoint` and everything else of this run go.
        name: The run in messages.
        extra: What else the experiment needs to finish and report it; pickled where another process does.
    """

    plan: RunSpec
    folder: Path
    name: str
    extra: Any = None

    def record(self) -> TrainingRecord:
        """What its `training.json` holds.

        Raises:
            LgbenchError: It is missing or damaged.
        """
        from lgbench.training.record import read_training_record

        return read_training_record(self.folder)


@dataclass(frozen=True)
class Report:
    """What came out of an experiment.

    Attributes:
        parts: Tables and lines of text, in the order in which they are printed.
        record: The same for programs: what `--json` prints.
        passed: Whether the exit status is 0, as for a check that can fail.
    """

    parts: Sequence[Table | str]
    record: Any = field(default_factory=dict)
    passed: bool = True


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """Runs that belong together. The fields of a subclass are its options, on the command line and in Python.

    An experiment says what there is to do; folders, resuming, progress, failures, `--jobs`, `--executor`, `--dry-run`
    and `--json` are those of `lgbench.experiments.launching`, for every experiment alike. Another process may build it
    again from the name of its class and its options: what belongs to one run goes into `Run.extra`.
    """

    takes_hooks: ClassVar[bool] = True
    """Whether the command line's `--hook` adds hooks to its runs."""
    plans_again: ClassVar[bool] = False
    """Whether `runs` may give more runs, or runs that go further, once those that it gave are finished."""

    @abstractmethod
    def runs(self, root: Path, device: str) -> Iterable[Run]:
        """The runs, in the order in which to start them. Where `plans_again`, called again when they are finished.

        Args:
            root: The folder of the runs' folders; each run has its own in it.
            device: Where they will be trained, as PyTorch names it.

        Raises:
            LgbenchError: An option does not fit.
        """

    @abstractmethod
    def report(self, runs: Sequence[Run]) -> Report:
        """What came out.

        Args:
            runs: Those that are finished, in the order of `runs`; at least one.
        """

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Bring one run to its end, from wherever an earlier call left it. May be called in another process.

        Args:
            run: The run.
            device: Where to train, as PyTorch names it.
            monitor: What to report to.

        Raises:
            LgbenchError: It failed.
        """
        from lgbench.experiments.finish import train_run

        train_run(run, device=device, monitor=monitor, build=self.build(run))

    def build(self, run: Run) -> Build | None:
        """What builds the module of a run; None for the reference model.

        Raises:
            LgbenchError: There is no such function.
        """
        from lgbench.training.modules import planned_build

        return planned_build(run.plan)

    def last_step(self, run: Run) -> int:
        """The step at which a run is finished."""
        return run.plan.settings.steps

    def prepare(self) -> None:  # noqa: B027  # most experiments need none
        """Called in every process before runs are planned or finished there: the place to load what runs refer to."""

    def milestones(self, planned: Sequence[Run], finished: Sequence[Run]) -> list[str]:  # for subclasses
        """What can be said once a run has finished, before all have: a sentence each.

        Args:
            planned: All runs.
            finished: Those that are finished, in the order in which they were.
        """
        return []

    def notes(self) -> list[str]:
        """What a user should know before the runs start, a sentence each."""
        return []

    @property
    def title(self) -> str:
        """The usual name of the folder in `runs/`."""
        return type(self).__name__.lower()

    @property
    def needs_output(self) -> str | None:
        """Why the folder must be named with `--output`; None where the usual one will do."""
        return None

    def options(self) -> dict[str, Any]:
        """The options by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def changed(self, options: Mapping[str, Any]) -> Experiment:
        """The same experiment with other options."""
        return replace(self, **options)


@dataclass(frozen=True, kw_only=True)
class SuiteExperiment(Experiment):
    """An experiment on a suite, which may be the user's own."""

    suite: Annotated[
        str,
        Option(
            "mini-v1, standard-v1 (`lgbench suites`), or your own: FILE.py:ATTRIBUTE (docs/adding-a-task.md).",
            metavar="NAME",
        ),
    ] = "mini-v1"

    def prepare(self) -> None:
        """Open the suite, which may be the user's own."""
        self.opened_suite()

    def opened_suite(self) -> Suite:
        """The suite.

        Raises:
            LgbenchError: There is none of this name, or the user's own is not sound.
        """
        from lgbench.data.drafts import open_suite

        return open_suite(self.suite)

    def notes(self) -> list[str]:
        """That the suite is a draft, if it is."""
        suite = self.opened_suite()
        if suite.draft is None:
            return []
        return [f"{suite.name} is a draft suite ({suite.draft.reference}): its results cannot be submitted."]


@dataclass(frozen=True, kw_only=True)
class ArmExperiment(SuiteExperiment):
    """An experiment that trains arms of a suite's groups, from a preset of hyperparameters."""

    preset: Annotated[str, Option("Hyperparameters to start from: tuned, mini or paper.", metavar="NAME")] = "tuned"
    change: Changes = ()
    model: Annotated[
        str | None,
        Option(
            "A function that takes the vocabulary's size and returns a torch.nn.Module.",
            metavar="FILE.py:BUILD",
            shown="the reference model",
        ),
    ] = None
    model_option: Annotated[
        tuple[str, ...],
        Option("An option for the function of --model; may be repeated.", metavar="KEY=VALUE", flag="--model-option"),
    ] = ()
    method: Annotated[
        str | None,
        Option(
            "Change the training with a method: one of `lgbench methods`, or FILE.py:CLASS.",
            metavar="NAME",
            shown="none",
        ),
    ] = None
    method_option: Annotated[
        tuple[str, ...],
        Option("An option for that method; may be repeated.", metavar="KEY=VALUE", flag="--method-option"),
    ] = ()
    start: Annotated[
        str | None,
        Option("Start from the weights of this checkpoint.", metavar="FOLDER", shown="fresh weights"),
    ] = None
    start_parts: Annotated[
        tuple[str, ...],
        Option(
            "Load only parameters with matching names, as in 'blocks.*.attention.*'; may be repeated.",
            metavar="GLOB",
            flag="--start-parts",
            shown="all",
        ),
    ] = ()

    def recipe(self, device: str, *changes: str) -> Recipe:
        """What the runs have in common.

        Args:
            device: Decides what the precision `auto` is.
            changes: Of hyperparameters, each `name=value`; the user's `--set` come after them and win.

        Raises:
            LgbenchError: There is no such suite, or the user's own is not sound.
        """
        from lgbench.methods.registry import choose_method
        from lgbench.training.planned import planned_start
        from lgbench.training.spec import Recipe
        from lgbench.util.text import key_values

        return Recipe(
            self.opened_suite(),
            preset=self.preset,
            changes=[*changes, *self.change],
            model=self.model,
            model_options=key_values(self.model_option, flag="--model-option"),
            start=planned_start(self.start, self.start_parts),
            method=choose_method(self.method, self.method_option),
            device=device,
        )

    @property
    def needs_output(self) -> str | None:
        """With other settings the runs are not those of the preset, whose folder they would share."""
        if self.change or any(each is not None for each in (self.model, self.method, self.start)):
            return (
                "With --set, --model, --method or --start the runs are not the preset's: name their folder with "
                "--output."
            )
        return None
