"""Replies with confidence scores, computed while the model writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from lgbench.analysis.hooked import HookedModel
from lgbench.analysis.teacher import make_rows
from lgbench.data.task import Example
from lgbench.models.decoding import greedy, make_reader
from lgbench.models.prompting import generation_cap

Score = Literal[
    "length",
    "sum_logprob",
    "tempered_sum_logprob",
    "mean_logprob",
    "least_probability",
    "least_margin",
    "mean_entropy",
    "mean_energy",
    "concept_match",
    "mahalanobis",
    "relative_mahalanobis",
]
SCORES: Mapping[Score, str] = {
    "length": "minus the tokens of the prompt: no model is needed for it",
    "sum_logprob": "the logarithm of the reply's probability",
    "tempered_sum_logprob": "the same at the fitted temperature",
    "mean_logprob": "its mean over the tokens of the reply, the end included",
    "least_probability": "the least, over the tokens, of the likeliest token's probability",
    "least_margin": "the least, over the tokens, of the difference between the two largest probabilities",
    "mean_entropy": "minus the mean entropy of the next token",
    "mean_energy": "the mean of logsumexp of the logits",
    "concept_match": "maximum concept matching: the largest softmax of cosines between state and prototypes",
    "mahalanobis": "minus the squared Mahalanobis distance of the state from the nearest prototype",
    "relative_mahalanobis": "the same, less that from the mean of all",
}
"""Each is higher where the model is surer. The state is the last hidden one of the prompt."""
SCALE = 1_000_000
"""Scores are kept as integers in millionths."""


@dataclass
class _Sums:
    """Running sums for each reply of a batch, float64, shape (rows,) each.

    Args:
        rows: How many replies.
        temperature: That of `tempered_sum_logprob`.
    """

    rows: int
    temperature: float
    tokens: Tensor = field(init=False)
    sums: dict[str, Tensor] = field(init=False)
    least: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        zeros = torch.zeros(self.rows, dtype=torch.float64)
        self.tokens = zeros.clone()
        self.sums = {name: zeros.clone() for name in ("sum_logprob", "tempered_sum_logprob", "entropy", "energy")}
        self.least = {name: torch.ones_like(zeros) for name in ("least_probability", "least_margin")}

    def add(self, rows: Sequence[int], logits: Tensor, chosen: Tensor) -> None:
        """Add one token to some of the replies."""
        exact, at = logits.double().cpu(), torch.tensor(rows)
        token = chosen.cpu()[:, None]
        logs = exact.log_softmax(dim=1)
        best = logs.exp().topk(2, dim=1).values
        found = {
            "sum_logprob": logs.gather(1, token)[:, 0],
            "tempered_sum_logprob": (exact / self.temperature).log_softmax(dim=1).gather(1, token)[:, 0],
            "entropy": -(logs.exp() * logs).nan_to_num().sum(dim=1),
            "energy": exact.logsumexp(dim=1),
        }
        self.tokens[at] += 1
        for name, values in found.items():
            self.sums[name][at] += values
        for name, values in (("least_probability", best[:, 0]), ("least_margin", best[:, 0] - best[:, 1])):
            self.least[name][at] = torch.minimum(self.least[name][at], values)

    def scores(self) -> dict[Score, Tensor]:
        """The scores of the whole replies."""
        return {
            "sum_logprob": self.sums["sum_logprob"],
            "tempered_sum_logprob": self.sums["tempered_sum_logprob"],
            "mean_logprob": self.sums["sum_logprob"] / self.tokens,
            "least_probability": self.least["least_probability"],
            "least_margin": self.least["least_margin"],
            "mean_entropy": -self.sums["entropy"] / self.tokens,
            "mean_energy": self.sums["energy"] / self.tokens,
        }


@dataclass(frozen=True)
class Scored:
    """Replies to some examples.

    Attributes:
        right: Whether each is the target, bool, shape (examples,).
        scores: By name, float64, shape (examples,).
    """

    right: Tensor
    scores: Mapping[Score, Tensor]


class Prototypes:
    """The mean states of classes of prompts that the model was trained on, and the distance of other prompts to them.

    Args:
        states: Of each class, shape (examples, width).
    """

    def __init__(self, states: Sequence[Tensor]) -> None:
        self.means = torch.stack([each.mean(dim=0) for each in states])
        every = torch.cat(list(states))
        self._centre = every.mean(dim=0)
        within = torch.cat([each - mean for each, mean in zip(states, self.means, strict=True)])
        self._within, self._overall = _inverse(within), _inverse(every - self._centre)

    def scores(self, states: Tensor) -> dict[Score, Tensor]:
        """The scores of states, shape (examples, width)."""
        units = torch.nn.functional.normalize(self.means, dim=1)
        cosines = torch.nn.functional.normalize(states, dim=1) @ units.T
        apart = states[:, None] - self.means
        distances = torch.einsum("nkd,de,nke->nk", apart, self._within, apart)
        from_centre = states - self._centre
        overall = torch.einsum("nd,de,ne->n", from_centre, self._overall, from_centre)
        return {
            "concept_match": cosines.softmax(dim=1).amax(dim=1),  # temperature 1, as in arXiv 2211.13445
            "mahalanobis": -distances.amin(dim=1),
            "relative_mahalanobis": overall - distances.amin(dim=1),
        }


def _inverse(centred: Tensor) -> Tensor:
    """The inverse covariance, with a thousandth of its mean variance added to the diagonal."""
    covariance = centred.T @ centred / len(centred)
    ridge = 1e-3 * covariance.diagonal().mean().clamp(min=1e-12)
    inverse: Tensor = torch.linalg.inv(covariance + ridge * torch.eye(len(covariance), dtype=covariance.dtype))
    return inverse


def prompt_states(model: HookedModel, examples: Sequence[Example]) -> Tensor:
    """The last hidden state of each prompt, float64, shape (examples, width)."""
    found: dict[int, Tensor] = {}
    for places, tokens in _by_size(model, examples).values():
        found |= dict(zip(places, model.final_states(tokens).double().cpu(), strict=True))
    return torch.stack([found[place] for place in range(len(examples))])


def fit_temperature(model: HookedModel, examples: Sequence[Example]) -> float:
    """The temperature from 0.1 to 10 at which the targets of examples are likeliest, token by token."""
    from scipy.optimize import minimize_scalar

    logits, labels = [], []
    by_task = {each.task for each in examples}
    for rows in (
        rows for task in sorted(by_task) for rows in make_rows(model, [each for each in examples if each.task == task])
    ):
        found = _logits(model, rows.tokens, rows.start - 1)
        logits.append(found[rows.wanted].double().cpu())
        labels.append(rows.labels[rows.wanted].cpu())
    every, wanted = torch.cat(logits), torch.cat(labels)

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(every / 10**log_temperature, wanted))

    return float(10 ** minimize_scalar(loss, bounds=(-1, 1), method="bounded").x)


def _logits(model: HookedModel, tokens: Tensor, start: int) -> Tensor:
    none = torch.zeros(1, model.layers, model.heads, dtype=torch.bool, device=model.device)
    values = torch.zeros(model.layers, 1, 1, model.heads, model.size, device=model.device)
    return model.logits(tokens, none, values, start=start)[0]


def scored_replies(
    model: HookedModel, examples: Sequence[Example], prototypes: Prototypes, temperature: float
) -> Scored:
    """Have a model reply to examples, and score its confidence."""
    reader = make_reader(model.module)
    right = torch.zeros(len(examples), dtype=torch.bool)
    scores = {name: torch.zeros(len(examples), dtype=torch.float64) for name in SCORES}
    for places, tokens in _by_size(model, examples).values():
        sums = _Sums(len(places), temperature)
        cap = max(generation_cap(examples[place].prompt) for place in places)
        written = greedy(reader, tokens, cap, on_token=sums.add)
        found = sums.scores() | prototypes.scores(model.final_states(tokens).double().cpu())
        found["length"] = torch.full((len(places),), -float(tokens.shape[1]), dtype=torch.float64)
        for name, values in found.items():
            scores[name][places] = values
        for place, reply in zip(places, written, strict=True):
            each = examples[place]
            right[place] = reply == model.encode(each.task, each.prompt, each.target)[1]
    return Scored(right, scores)


def _by_size(model: HookedModel, examples: Sequence[Example]) -> dict[int, tuple[list[int], Tensor]]:
    """The prompts as batches by how many tokens they have, each with the places of its examples."""
    rows: dict[int, list[tuple[int, list[int]]]] = {}
    for place, each in enumerate(examples):
        prompt, _ = model.encode(each.task, each.prompt, "")
        rows.setdefault(len(prompt), []).append((place, prompt))
    return {
        size: ([place for place, _ in each], torch.tensor([row for _, row in each], device=model.device))
        for size, each in rows.items()
    }
