"""R&B's regroup: domains found by clustering instead of given by tasks."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.data.mixtures import Parts
from lgbench.data.suites import Cell, Suite
from lgbench.methods.domains import Domains, cells_of, stream_of_cells
from lgbench.training.batching import IGNORED, pad
from lgbench.training.rows import Row
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

Features = Literal["hidden", "gradient"]
MOST_CLUSTERS, MOST_READ = 12, 200_000
_PROJECTED = 64


class Clusters(NamedTuple):
    """Domains that were found.

    Attributes:
        domains: Named `cluster 1` and so on.
        silhouette: Of this clustering, from -1 to 1.
        purity_by_task: Share of the cells whose task is the commonest of their cluster.
        purity_by_length: The same of their length.
    """

    domains: Domains
    silhouette: float
    purity_by_task: float
    purity_by_length: float


def find_clusters(
    suite: Suite, parts: Parts, module: nn.Module, head: nn.Linear, *, features: Features, each: int
) -> Clusters:
    """Cluster the cells of a list by what a model makes of their examples.

    Args:
        suite: The suite.
        parts: The list.
        module: The model.
        head: Its output layer.
        features: `hidden`, the mean input of the output layer at target tokens; or `gradient`, that of the output
        layer's
            weights, randomly projected.
        each: Examples of a cell.

    Raises:
        LgbenchError: scikit-learn is missing, or there are too few cells.
    """
    require_extra("regroup", purpose="The method rnb with domains=clusters")
    cells = cells_of(suite, parts)
    if len(cells) < 4:
        raise LgbenchError(f"{len(cells)} cells are too few to be clustered: give domains=task.")
    vectors = np.stack([_feature(module, head, rows, features) for rows in _examples(suite, parts, cells, each)])
    labels, score = best_clusters(vectors)
    domains = {
        f"cluster {number + 1}": frozenset(cell for cell, label in zip(cells, labels, strict=True) if label == number)
        for number in range(int(max(labels)) + 1)
    }
    return Clusters(
        domains,
        score,
        _purity(domains, [cell.task for cell in cells], cells),
        _purity(domains, [c.length for c in cells], cells),
    )


def best_clusters(vectors: NDArray[np.float64]) -> tuple[list[int], float]:
    """k-means for every k from 2 to 12: the labels of the k with the best silhouette, and that score.

    Args:
        vectors: Shape (cells, features). Each feature is standardised first.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    spread = vectors.std(axis=0)
    scaled = (vectors - vectors.mean(axis=0)) / np.where(spread > 0, spread, 1)
    best: tuple[list[int], float] = ([0] * len(vectors), -1.0)
    for count in range(2, min(MOST_CLUSTERS, len(vectors) - 1) + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer distinct points than clusters
            labels = KMeans(count, n_init=10, random_state=0).fit_predict(scaled)
        if len(set(labels)) > 1 and (score := float(silhouette_score(scaled, labels))) > best[1]:
            names = {label: number for number, label in enumerate(dict.fromkeys(labels.tolist()))}
            best = [names[label] for label in labels.tolist()], score
    return best


def _examples(suite: Suite, parts: Parts, cells: Sequence[Cell], each: int) -> list[list[Row]]:
    """The first examples of each cell in the list's stream."""
    found: dict[Cell, list[Row]] = {cell: [] for cell in cells}
    left = len(cells)
    for number, (cell, row) in enumerate(stream_of_cells(suite, parts, start=0)):
        if len(found[cell]) < each:
            found[cell].append(row)
            left -= len(found[cell]) == each
        if not left or number == MOST_READ:
            break
    if empty := [cell for cell, rows in found.items() if not rows]:
        raise LgbenchError(f"{empty[0].task} at length {empty[0].length} has no example in the stream: no domain.")
    return list(found.values())


@torch.no_grad()
def _feature(module: nn.Module, head: nn.Linear, rows: Sequence[Row], features: Features) -> NDArray[np.float64]:
    """One vector for a cell."""
    chunk = pad(rows)
    kept: list[Tensor] = []
    handle = head.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    was_training = module.training
    try:
        logits = module.eval()(chunk.inputs.to(head.weight.device))
    finally:
        handle.remove()
        module.train(was_training)
    asked = (chunk.labels != IGNORED).to(logits.device)
    hidden, labels = kept[0][asked].float(), chunk.labels.to(logits.device)[asked]
    if features == "hidden":
        return np.asarray(hidden.mean(dim=0).double().cpu().numpy())
    off = logits[asked].float().softmax(dim=-1) - F.one_hot(labels, logits.shape[-1])
    gradient = (off.T @ hidden / len(hidden)).flatten().cpu()
    generator = torch.Generator().manual_seed(0)
    projection = torch.randn(_PROJECTED, len(gradient), generator=generator) / len(gradient) ** 0.5
    return np.asarray((projection @ gradient).double().numpy())


def _purity(domains: Domains, kinds: Sequence[object], cells: Sequence[Cell]) -> float:
    """The share of cells whose kind is the commonest of their domain."""
    kind = dict(zip(cells, kinds, strict=True))
    return sum(Counter(kind[cell] for cell in own).most_common(1)[0][1] for own in domains.values()) / len(cells)
