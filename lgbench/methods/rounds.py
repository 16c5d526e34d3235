"""The rounds of R&B in a run."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lgbench.data.suites import Cell
from lgbench.methods.balance import HeadGradients, balanced, gram, sorted_order
from lgbench.methods.domains import DomainQueues, Domains, by_task, picked, stream_of_cells
from lgbench.methods.regroup import find_clusters
from lgbench.training.batching import Batch
from lgbench.training.hooks import RowSource
from lgbench.training.rows import Row
from lgbench.training.spec import RunSpec
from lgbench.training.trainer import Training
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.methods.rnb import RnB

_EXAMPLES_OF_A_CELL = 32


class Balancing(RowSource):
    """Draws each step's examples by the domains' shares, and sets these at the end of each round.

    Args:
        method: The options.
        plan: The run's plan.
    """

    def __init__(self, method: RnB, plan: RunSpec) -> None:
        self._method, self._suite, self._parts = method, plan.loaded_suite, plan.mixture.parts
        self._main, self._settings = plan.suite_group.main, plan.settings
        self._first = method.warm if method.domains == "clusters" else 0  # the first step that is drawn by shares
        self._plain = stream_of_cells(self._suite, self._parts, start=0)
        self._domains: Domains = {}
        self._shares: list[float] = []
        self._queues: DomainQueues | None = None
        self._gradients: HeadGradients | None = None
        self._saved: dict[str, Tensor] = {}
        self._order: list[int] = []
        if method.domains != "clusters":
            buckets = method.buckets if method.domains == "task-length" else 1
            self._begin(by_task(self._suite, self._parts, buckets))

    def _begin(self, domains: Domains) -> None:
        self._domains = domains
        self._shares = [1 / len(domains)] * len(domains)

    def start(self, training: Training) -> None:
        """Find the output layer, and continue where the run was."""
        if training.step < self._first or (training.step == self._first and not self._domains):
            self._plain = stream_of_cells(
                self._suite, self._parts, start=training.step * self._settings.batch, workers=self._settings.workers
            )
        if self._domains:
            self._watch(training)

    def _watch(self, training: Training) -> None:
        self._gradients = HeadGradients(output_layer(training.module), len(self._domains))
        if self._saved:
            self._gradients.sums.copy_(self._saved["sums"])
            self._gradients.counts.copy_(self._saved["counts"])

    def rows(self, step: int) -> list[Row]:
        """The rows of a step: from the arm's own stream up to the regrouping, then drawn by the shares."""
        size = self._settings.batch
        if step < self._first:
            return [each.row for each in islice(self._plain, size)]
        if self._queues is None:
            stream = stream_of_cells(self._suite, self._parts, start=self._first * size, workers=self._settings.workers)
            taken = self._saved["taken"].tolist() if self._saved else []
            self._queues = DomainQueues(stream, self._domains, taken)
        numbers = picked(self._suite, self._parts, step, self._shares, size)
        rows = [self._queues.take(number) for number in numbers]
        self._order = [numbers[place] for place in sorted_order(rows, self._settings.length_chunks)]
        return rows

    def before_step(self, training: Training, batch: Batch) -> None:
        """Collect the gradients of this step, if it is one that is used."""
        self._batch = batch
        if self._gradients is not None and self._counts(training.step):
            self._gradients.begin()

    def _counts(self, step: int) -> bool:
        return step >= self._first and (step - self._first + 1) % self._method.every == 0

    def step(self, training: Training, loss: Tensor) -> None:
        """Add the gradients; at the end of a round, set the shares."""
        if training.step == self._first and not self._domains:
            self._regroup(training)
            return
        if self._gradients is None or training.step <= self._first:
            return
        if self._counts(training.step - 1):
            self._gradients.end(self._batch, self._order)
        if (training.step - self._first) % self._method.round_steps == 0:
            self._end_round(training)

    def _regroup(self, training: Training) -> None:
        head = output_layer(training.module)
        found = find_clusters(
            self._suite, self._parts, training.module, head, features=self._method.features, each=_EXAMPLES_OF_A_CELL
        )
        self._begin(found.domains)
        self._watch(training)
        training.measure(
            {
                "clusters": len(found.domains),
                "silhouette": found.silhouette,
                "purity/task": found.purity_by_task,
                "purity/length": found.purity_by_length,
            }
        )
        training.tell(
            f"{len(found.domains)} clusters of cells were found, silhouette {found.silhouette:.2f}, purity by task "
            f"{found.purity_by_task:.0%}"
        )
        examples = _EXAMPLES_OF_A_CELL * sum(map(len, found.domains.values()))
        training.count_extra(examples=examples)

    def _end_round(self, training: Training) -> None:
        gradients, names = self._gradients, list(self._domains)
        assert gradients is not None
        if bool((gradients.counts == 0).any()):  # a domain that was not drawn has no gradient: the shares stay
            training.tell("the shares of the domains stay, as one of them was not drawn in this round")
        else:
            target = self._target().to(gradients.sums.device)
            products = gram(gradients.sums, gradients.counts)
            found = balanced(products, target, strength=self._method.strength, floor=self._method.floor)
            self._shares = found.double().tolist()
            gain = (products @ target).tolist()
            training.measure(
                {f"share/{name}": share for name, share in zip(names, self._shares, strict=True)}
                | {f"gain/{name}": each for name, each in zip(names, gain, strict=True)}
            )
        gradients.clear()

    def _target(self) -> Tensor:
        """The proportions in which the domains count."""
        cells = self._domains.values()
        if self._method.target == "uniform":
            counted = [1.0] * len(self._domains)
        else:  # of a cluster, as much as it holds of the main task
            counted = [sum(cell.task == self._main for cell in own) / len(own) for own in cells]
        return torch.tensor(counted) / sum(counted)

    def state(self) -> dict[str, Any]:
        """The domains and their shares."""
        cells = {name: sorted(map(list, own)) for name, own in self._domains.items()}
        return {"domains": cells, "shares": self._shares}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take them back."""
        found = {name: frozenset(Cell(*cell) for cell in own) for name, own in state["domains"].items()}
        self._domains, self._shares = found, state["shares"]

    def tensors(self) -> dict[str, Tensor]:
        """The gradients of the round so far, and how many examples of each domain were taken."""
        if self._gradients is None:
            return {}
        taken = torch.tensor([0] * len(self._domains) if self._queues is None else self._queues.taken)
        return {"sums": self._gradients.sums, "counts": self._gradients.counts, "taken": taken}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take them back."""
        self._saved = {name: each.clone() for name, each in tensors.items()}


def output_layer(module: nn.Module) -> nn.Linear:
    """The last linear layer of a module, whose outputs are tokens.

    Raises:
        LgbenchError: There is none without a bias.
    """
    linear = [each for each in module.modules() if isinstance(each, nn.Linear)]
    if not linear or getattr(linear[-1], "bias", None) is not None:
        raise LgbenchError("The method rnb needs a module whose last linear layer, its output, has no bias.")
    return linear[-1]
