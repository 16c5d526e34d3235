"""Prompts that demonstrate several tasks at once, and the probability that a model gives each task's answer.

Xiong et al. (2024, arXiv 2410.05603): the demonstrations of a prompt are of K tasks, in shares d; the probability P of
each task's answer to the last question is compared with its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lgbench.analysis.records import Share, Strict
from lgbench.data.task import Stream

SHARES = tuple(tenth / 10 for tenth in range(11))
LEARNED = 0.9
"""The share of right answers to prompts of one task from which on it counts as learned from the demonstrations."""
_Real = Annotated[float, Field(allow_inf_nan=False)]


class MixedAnswers(Strict):
    """A model's answers to prompts with one mixture of demonstrations. Each tuple has an entry for each task.

    Attributes:
        shares: Of the tasks' demonstrations, as whole demonstrations allow.
        probabilities: The mean probability of each task's whole answer.
        deviations: Its standard deviation over prompts.
        other: The probability of all other answers.
        greedy: The share of prompts for which greedy decoding gives each task's answer.
        divergence: Sum_k d_k log(d_k / P_k) in nats, with the shares d and the mean probabilities P.
        mean_divergence: The mean over prompts of the same with each prompt's own probabilities.
    """

    shares: tuple[Share, ...]
    probabilities: tuple[Share, ...]
    deviations: tuple[_Real, ...]
    other: Share
    greedy: tuple[Share, ...]
    divergence: _Real
    mean_divergence: _Real


class Answered(NamedTuple):
    """The scores of the tasks' answers to some prompts.

    Attributes:
        logprob: Of each whole answer, float64, shape (prompts, tasks).
        greedy: Whether each of its tokens is the likeliest, bool, the same shape.
    """

    logprob: Tensor
    greedy: Tensor


def measure(shares: Sequence[float], answered: Answered) -> MixedAnswers:
    """Summarize the answers to the prompts of one mixture.

    Args:
        shares: Of the tasks' demonstrations.
        answered: To prompts whose tasks have different answers, none of which begins with another.
    """
    probabilities = answered.logprob.exp()
    means, logs = probabilities.mean(dim=0), answered.logprob.mean(dim=0)
    given = [(place, share) for place, share in enumerate(shares) if share > 0]
    of_means = sum(share * (np.log(share) - float(answered.logprob[:, at].logsumexp(0))) for at, share in given)
    return MixedAnswers(
        shares=tuple(map(float, shares)),
        probabilities=tuple(_rounded(each) for each in means),
        deviations=tuple(_rounded(each) for each in probabilities.std(dim=0, correction=0)),
        other=_rounded(max(0.0, 1 - float(means.sum()))),
        greedy=tuple(_rounded(each) for each in answered.greedy.double().mean(dim=0)),
        divergence=_rounded(of_means + np.log(len(probabilities))),
        mean_divergence=_rounded(sum(share * (np.log(share) - float(logs[at])) for at, share in given)),
    )


def _rounded(value: float | Tensor) -> float:
    return round(float(value), 6)


def whole_shares(shares: Sequence[float], total: int) -> list[int]:
    """The number of demonstrations of each task: the nearest whole numbers to its share, with the given sum."""
    exact = [share * total / sum(shares) for share in shares]
    counts = [int(each + 1e-9) for each in exact]
    by_rest = sorted(range(len(exact)), key=lambda place: counts[place] - exact[place])
    for place in by_rest[: total - sum(counts)]:
        counts[place] += 1
    return counts


def placed(stream: Stream, counts: Sequence[int], prompts: int) -> NDArray[np.int64]:
    """Which task each demonstration is of, in random order; shape (prompts, demonstrations)."""
    tasks = np.repeat(np.arange(len(counts)), counts)
    order = np.argsort(stream.words(prompts * len(tasks)).reshape(prompts, -1), axis=1, kind="stable")
    return np.asarray(tasks[order], dtype=np.int64)


def greedy_and_logprob(logits: Tensor, tokens: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Whether each row's tokens are the likeliest, and their log-probability together.

    Args:
        logits: Shape (rows, positions, vocabulary).
        tokens: What follows each position, shape (rows, positions).
        wanted: Which of them are the answer's, bool, the same shape.
    """
    logs = logits.float().log_softmax(dim=-1).double()
    chosen = logs.gather(2, tokens[..., None])[..., 0]
    likeliest = (logs.argmax(dim=-1) == tokens) | ~wanted
    return likeliest.all(dim=1).cpu(), torch.where(wanted, chosen, 0).sum(dim=1).cpu()
