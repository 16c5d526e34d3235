"""What the maze sampler draws, against the distributions of the definition."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lgbench.data.task import Stream
from lgbench.data.tasks import get_task
from lgbench.data.tasks.mazes import _keep
from tests.chi_square import LEAST_P, p_value, uniform
from tests.oracles import GRID, MAZES, adjacent, endpoints, entries

pytestmark = pytest.mark.slow


def sample(task: str, length: int, count: int) -> list[str]:
    return get_task(task).sample(Stream("distributions", task, length), length, count)


EDGES = [edge for edge in itertools.combinations(range(1, GRID * GRID + 1), 2) if adjacent(*edge)]


def edge_kernel() -> NDArray[np.float64]:
    """The transfer-current matrix of the grid, shape (112, 112).

    The edges of a uniform spanning tree are a determinantal process with this kernel (Burton and Pemantle, 1993): a set
    of edges is in the tree with the probability of its principal minor. On the diagonal stand effective resistances.
    """
    incidence = np.zeros((len(EDGES), GRID * GRID))
    for row, (node, other) in enumerate(EDGES):
        incidence[row, node - 1], incidence[row, other - 1] = 1, -1
    return np.asarray(incidence @ np.linalg.pinv(incidence.T @ incidence) @ incidence.T)


@pytest.fixture(scope="module")
def spanning_trees() -> NDArray[np.bool_]:
    """Which edges are in the maze, for 4000 mazes of all 64 nodes, shape (4000, 112)."""
    column = {edge: number for number, edge in enumerate(EDGES)}
    present = np.zeros((4000, len(EDGES)), dtype=np.bool_)
    for row, prompt in enumerate(sample("node_list", GRID * GRID, len(present))):
        for node, neighbours in entries(prompt):
            present[row, [column[node, other] for other in neighbours if node < other]] = True
    return present


def test_spanning_trees_have_the_edge_frequencies_of_uniform_ones(spanning_trees: NDArray[np.bool_]) -> None:
    """Random weights and a minimum tree, a random depth-first maze, a walk that is not loop-erased."""
    assert (spanning_trees.sum(axis=1) == GRID * GRID - 1).all()
    kernel = edge_kernel()
    covariance = np.diag(np.diag(kernel)) - kernel * kernel.T
    error = spanning_trees.mean(axis=0) - np.diag(kernel)
    rank = len(EDGES) - 1  # the number of edges is fixed
    statistic = len(spanning_trees) * error @ np.linalg.pinv(covariance) @ error
    assert stats.chi2(rank).sf(statistic) > LEAST_P


@pytest.mark.parametrize("corner", [1, 4, 28, 37, 55])
def test_spanning_trees_have_the_local_patterns_of_uniform_ones(spanning_trees: NDArray[np.bool_], corner: int) -> None:
    """All patterns of the four edges around a square of the grid, whose probabilities the kernel gives exactly."""
    square = {corner, corner + 1, corner + GRID, corner + GRID + 1}
    around = [number for number, edge in enumerate(EDGES) if square.issuperset(edge)]
    kernel = edge_kernel()[np.ix_(around, around)]
    patterns: dict[tuple[bool, ...], float] = {}
    for pattern in itertools.product((True, False), repeat=4):
        # For an absent edge, the row of the kernel is taken from that of the identity.
        rows = np.where(np.array(pattern)[:, None], kernel, np.eye(4) - kernel)
        patterns[pattern] = float(np.linalg.det(rows))
    possible = {pattern: share for pattern, share in patterns.items() if share > 1e-9}
    assert len(possible) == (11 if corner in (1, 55) else 15)  # no cycle, and a corner of the grid has an edge
    assert p_value(map(tuple, spanning_trees[:, around].tolist()), possible) > LEAST_P


def comb() -> list[list[int]]:
    """A spanning tree of 64 cells whose nodes have many degrees: paths of every length from 0 to 9 joined at cell 0."""
    neighbours: list[list[int]] = [[] for _ in range(GRID * GRID)]
    cell = 1
    for path in itertools.count(1):
        here = 0
        for _ in range(path):
            if cell == GRID * GRID:
                return neighbours
            neighbours[here].append(cell)
            neighbours[cell].append(here)
            here, cell = cell, cell + 1
    raise AssertionError("unreachable")


def test_mazes_grow_across_a_uniformly_chosen_leaving_edge() -> None:
    """A node chosen first and then its edge, or growth from the last node only."""
    tree, size = comb(), 4
    exact: defaultdict[frozenset[int], float] = defaultdict(float)

    def grow(kept: frozenset[int], probability: float) -> None:
        if len(kept) == size:
            exact[kept] += probability
            return
        leaving = [there for here in kept for there in tree[here] if there not in kept]
        for there in leaving:
            grow(kept | {there}, probability / len(leaving))

    for cell in range(GRID * GRID):
        grow(frozenset({cell}), 1 / GRID**2)
    words = Stream("distributions", "growth").one_by_one()
    drawn: list[frozenset[int]] = [frozenset(itertools.chain(*_keep(tree, size, words))) for _ in range(60_000)]
    assert p_value(drawn, exact) > LEAST_P


@pytest.mark.parametrize("task", MAZES)
def test_start_and_goal_are_uniform_pairs_wherever_they_are_listed(task: str) -> None:
    pairs = uniform(itertools.permutations(range(4), 2))
    by_place, by_rank = [], []
    for prompt in sample(task, 4, 6000):
        start, goal = endpoints(prompt)
        listed = [node for node, _ in entries(prompt)]
        by_place.append((listed.index(start), listed.index(goal)))
        by_rank.append((sorted(listed).index(start), sorted(listed).index(goal)))
    assert p_value(by_place, pairs) > LEAST_P
    assert p_value(by_rank, pairs) > LEAST_P


def order(nodes: list[int]) -> tuple[int, ...]:
    return tuple(sorted(nodes).index(node) for node in nodes)


def test_entries_stand_in_uniform_order() -> None:
    """The order in which the maze grew, or the order of the grid."""
    drawn = (order([node for node, _ in entries(prompt)]) for prompt in sample("node_list", 4, 6000))
    assert p_value(drawn, uniform(itertools.permutations(range(4)))) > LEAST_P


def test_neighbours_stand_in_uniform_order_independent_of_each_other() -> None:
    """Parents listed first, which would lead a depth-first search."""
    listed = [neighbours for prompt in sample("node_list", 40, 800) for _, neighbours in entries(prompt)]
    for degree in (2, 3, 4):
        drawn = (order(neighbours) for neighbours in listed if len(neighbours) == degree)
        assert p_value(drawn, uniform(itertools.permutations(range(degree)))) > LEAST_P
    of_pairs = []
    for prompt in sample("dfs_trace", 20, 3000):
        twos = [order(neighbours) for _, neighbours in sorted(entries(prompt)) if len(neighbours) == 2]
        of_pairs += list(zip(twos[::2], twos[1::2], strict=False))
    assert p_value(of_pairs, uniform(itertools.product(itertools.permutations(range(2)), repeat=2))) > LEAST_P


def test_small_mazes_branch() -> None:
    """Stopping Wilson's algorithm early: then 4 % of the mazes of 8 nodes branch, and length would change structure."""
    branching = [re.search(r":(\[\d+\]){3}", prompt) is not None for prompt in sample("node_list", 8, 1000)]
    assert 0.4 < np.mean(branching) < 1
