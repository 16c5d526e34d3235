"""A pretrained language model, finetuned under one arm of a group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lgbench.experiments.base import ArmName, Changes, GroupName, Option, Report, Run, SeedList, Seeds, SuiteExperiment
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

if TYPE_CHECKING:
    from lgbench.experiments.monitor import Monitor
    from lgbench.models.checkpoint import Build

_HF = "hf:"
# Gentler and shorter than from scratch; `--set` changes each.
_FULL = ("steps=1000", "learning_rate=5e-5", "evaluate_every=100", "length_chunks=1")
_LORA = ("steps=1000", "learning_rate=3e-4", "evaluate_every=100", "length_chunks=1")


@dataclass(frozen=True, kw_only=True)
class Finetune(SuiteExperiment):
    """Finetune a pretrained language model under an arm, and save it so that `lgbench eval hf:...` reads it.

    Rerun to resume.
    """

    model: Annotated[
        str, Option("A Hugging Face model; @REVISION may follow.", metavar="hf:FOLDER_OR_ID", argument=True)
    ]
    group: GroupName
    arm: ArmName
    lora: Annotated[int, Option("Train adapters of this rank; 0: all weights.", metavar="RANK", least=0)] = 0
    seeds: Seeds = 1
    seed: SeedList = ()
    change: Changes = ()

    @property
    def title(self) -> str:
        """The usual folder's name."""
        return "finetuning"

    def options(self) -> dict[str, Any]:
        """The options; a local model is named by its whole path, under which other machines must have it too."""
        place = Path(self.model.removeprefix(_HF)).expanduser()
        folder, at, _ = str(place).rpartition("@")  # a revision
        is_local = place.is_dir() or (bool(at) and Path(folder).is_dir())
        return super().options() | ({"model": f"{_HF}{place.absolute()}"} if is_local else {})

    def prepare(self) -> None:
        """Open the suite, once it is known that the model can be trained at all."""
        if not self.model.startswith(_HF):
            raise LgbenchError(f"{self.model!r} is not a pretrained model. Valid: hf:FOLDER or hf:ID on the Hub.")
        require_extra("hf", *(["peft"] if self.lora else []), purpose="`lgbench finetune`")
        super().prepare()

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """A run for each seed, which is that of the new tokens' and adapters' initial weights."""
        from lgbench.training.spec import Recipe

        suite = self.opened_suite()
        changes = [*(_LORA if self.lora else _FULL), *self.change]
        recipe = Recipe(suite, preset="mini", changes=changes, model=self.model, lora_rank=self.lora, device=device)
        plans = [recipe.plan(self.group, self.arm, seed) for seed in self.seed or range(self.seeds)]
        self._source()  # before anything is begun
        for plan in plans:
            name = f"{self.group} {self.arm} seed {plan.seed}"
            yield Run(plan, root / f"{suite.name}-{self.group}-{self.arm}-seed{plan.seed}", name)

    def _source(self) -> Path:
        """The folder of the pretrained model, checked.

        Raises:
            LgbenchError: There is none that can be trained.
        """
        from lgbench.models.huggingface.folder import check_folder, find_folder

        source = find_folder(self.model.removeprefix(_HF), revision=None)
        check_folder(source)
        return source

    def build(self, run: Run, *, rehearsed: bool = False) -> Build:
        """What loads the model; `rehearsed`: and tries then what comes after training, in the run's folder."""
        return partial(_build, self._source(), run, rehearsed)

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Rehearse its end, train it, and write the model."""
        from lgbench.experiments.finish import train_run
        from lgbench.models.tokenizer import suite_vocabulary
        from lgbench.training.finetuning import leave_model

        train_run(run, device=device, monitor=monitor, build=self.build(run, rehearsed=True))
        leave_model(run.folder, self._source(), lora_rank=self.lora, vocabulary=suite_vocabulary(run.plan.loaded_suite))

    def report(self, runs: Sequence[Run]) -> Report:
        """What each has cost and learned, and the command that evaluates it."""
        import shlex

        from lgbench.models.folders import MODEL
        from lgbench.training.costs import cost
        from lgbench.training.finetuning import evaluation_template
        from lgbench.training.points import zone_accuracies, zones_line

        parts, record = [], []
        for run in runs:
            trained, template = run.record(), evaluation_template(run.folder / MODEL)
            command = ["lgbench", "eval", f"{_HF}{run.folder / MODEL}", "--suite", self.suite, "--group", self.group]
            command += ["--arm", self.arm, "--seed", str(run.plan.seed), "--model-option", f"template={template}"]
            point = trained.curve[-1]
            parts += [
                f"{run.name}: {cost(trained)}",
                f"On dev examples: {zones_line(run.plan, point)}",
                f"Evaluate it with:\n  {shlex.join(command)}",
            ]
            shares = zone_accuracies(run.plan, point).items()
            record.append(
                {
                    "seed": run.plan.seed,
                    "model": str(run.folder / MODEL),
                    "template": template,
                    "zones": {zone: None if share is None else float(share) for zone, share in shares},
                }
            )
        return Report(parts, record)


def _build(source: Path, run: Run, rehearsed: bool, vocabulary_size: int) -> Any:
    from lgbench.models.tokenizer import suite_vocabulary
    from lgbench.training.finetuning import load_pretrained
    from lgbench.training.rehearsal import rehearse

    suite = run.plan.loaded_suite
    module, tokenizer = load_pretrained(source, lora_rank=run.plan.lora_rank, vocabulary=suite_vocabulary(suite))
    if rehearsed:
        rehearse(run.folder, module, tokenizer, suite=suite, group=run.plan.group)
    return module
