"""Mazes: trees of nodes on an 8 by 8 grid. Length: number of nodes. Strings and rules: docs/protocol.md.

The grid's cells are the node tokens `[1]`..`[64]`, row by row. A maze is written as entries joined by `,`; an entry is
a node, `:` and its neighbours; after `?` stand START, `>` and GOAL, then `=`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np

from lgbench.data.task import Domain, Lengths, Stream, Task, Walk

SIDE = 8
CELLS = SIDE * SIDE
TOKENS = tuple(f"[{cell + 1}]" for cell in range(CELLS))
DOMAIN = Domain(
    name="mazes", alphabet=",:?>=", tokens=TOKENS, preset="mazes", lengths=Lengths(8, 16, tuple(range(4, 25, 4)))
)
_T = TypeVar("_T")
_NODES = re.compile(r"(?:\[[0-9]+\])+")


def _grid_neighbours(cell: int) -> list[int]:
    row, column = divmod(cell, SIDE)
    around = ((row - 1, column), (row, column - 1), (row, column + 1), (row + 1, column))
    return [r * SIDE + c for r, c in around if 0 <= r < SIDE and 0 <= c < SIDE]


# A cell has 2, 3 or 4 neighbours. Repeated to 12 entries, one draw below 12 picks among any of them uniformly.
_STEPS = tuple(tuple(_grid_neighbours(cell) * (12 // len(_grid_neighbours(cell)))) for cell in range(CELLS))


class Maze(NamedTuple):
    """A parsed prompt: the neighbours of each node, both in the order listed, and the two ends."""

    neighbours: dict[str, list[str]]
    start: str
    goal: str


def parse(prompt: str) -> Maze:
    """Read a maze prompt.

    Raises:
        ValueError: The text is no maze prompt.

    Examples:
        >>> parse("[1]:[2],[2]:[1]?[1]>[2]=")
        Maze(neighbours={'[1]': ['[2]'], '[2]': ['[1]']}, start='[1]', goal='[2]')
    """
    entries, ends = prompt.removesuffix("=").split("?")
    start, goal = ends.split(">")
    neighbours = {}
    for entry in entries.split(","):
        node, joined = entry.split(":")
        neighbours[node] = _split_nodes(joined)
    return Maze(neighbours, start, goal)


def _split_nodes(text: str) -> list[str]:
    return [node + "]" for node in text.split("]")[:-1]]


def _search(maze: Maze) -> tuple[list[str], list[str]]:
    """Depth-first search from START to GOAL in the order listed: every node stood on, and the branch at the end."""
    walk, branch, seen = [maze.start], [maze.start], {maze.start}
    while branch[-1] != maze.goal:
        fresh = next((node for node in maze.neighbours[branch[-1]] if node not in seen), None)
        if fresh is None:
            branch.pop()
            if not branch:
                raise ValueError(f"{maze.goal!r} cannot be reached from {maze.start!r}.")
        else:
            seen.add(fresh)
            branch.append(fresh)
        walk.append(branch[-1])
    return walk, branch


def shortest_path(prompt: str) -> str:
    """The nodes on the path from START to GOAL, both included. In a tree there is only one.

    Examples:
        >>> shortest_path("[2]:[3][1][10],[1]:[2],[3]:[2],[10]:[2]?[1]>[10]=")
        '[1][2][10]'
    """
    _, branch = _search(parse(prompt))
    return "".join(branch)


def dfs_trace(prompt: str) -> str:
    """The walk of a depth-first search from START that takes unvisited neighbours in the order listed.

    Every node it stands on is written, steps back included, until it stands on GOAL.

    Examples:
        >>> dfs_trace("[2]:[3][1][10],[1]:[2],[3]:[2],[10]:[2]?[1]>[10]=")
        '[1][2][3][2][10]'
    """
    walk, _ = _search(parse(prompt))
    return "".join(walk)


def node_list(prompt: str) -> str:
    """Control: the first node of each entry, in the order listed.

    Examples:
        >>> node_list("[2]:[3][1][10],[1]:[2],[3]:[2],[10]:[2]?[1]>[10]=")
        '[2][1][3][10]'
    """
    return "".join(parse(prompt).neighbours)


def check_walk(prompt: str, reply: str) -> Walk:
    """Diagnose a reply to a path task: are its moves valid, and does it end at GOAL?

    `valid_moves`: the reply is node tokens only, begins at START, and consecutive nodes are joined in the maze.
    `right_endpoint`: the reply is node tokens only, and the last is GOAL.

    Examples:
        >>> check_walk("[1]:[2],[2]:[1]?[1]>[2]=", "[1][2]")
        Walk(valid_moves=True, right_endpoint=True)
        >>> check_walk("[1]:[2],[2]:[1]?[1]>[2]=", "[2] ")
        Walk(valid_moves=False, right_endpoint=False)
    """
    if not _NODES.fullmatch(reply):
        return Walk(valid_moves=False, right_endpoint=False)
    maze, nodes = parse(prompt), _split_nodes(reply)
    joined = all(after in maze.neighbours.get(before, ()) for before, after in pairwise(nodes))
    return Walk(valid_moves=nodes[0] == maze.start and joined, right_endpoint=nodes[-1] == maze.goal)


def _spanning_tree(order: list[int], steps: Iterator[int]) -> list[list[int]]:
    """A uniform spanning tree of the grid, by Wilson's algorithm (1996): the neighbours of every cell.

    Loop-erased random walks start at the cells in `order`, skipping those already in the tree; as `order` is a uniform
    permutation, each start is uniform among the cells outside the tree. `steps` gives uniform draws below 12.
    """
    in_tree = [False] * CELLS
    in_tree[order[0]] = True
    onward = [0] * CELLS
    neighbours: list[list[int]] = [[] for _ in range(CELLS)]
    for start in order:
        cell = start
        while not in_tree[cell]:
            onward[cell] = cell = _STEPS[cell][next(steps)]
        # A cell keeps only the last step taken from it, so following the steps from the start walks the erased path.
        cell = start
        while not in_tree[cell]:
            in_tree[cell] = True
            neighbours[cell].append(onward[cell])
            neighbours[onward[cell]].append(cell)
            cell = onward[cell]
    return neighbours


def _keep(neighbours: list[list[int]], length: int, words: Iterator[int]) -> list[tuple[int, int]]:
    """Grow a subtree of `length` cells from a uniform cell, each time across a uniformly chosen edge that leaves it.

    Returns its edges as (inner, outer) pairs. Leaving edges lead to different cells, as the whole is a tree.
    """
    first = next(words) % CELLS
    leaving = [(first, cell) for cell in neighbours[first]]
    edges: list[tuple[int, int]] = []
    while len(edges) < length - 1:
        pick = next(words) % len(leaving)
        leaving[pick], leaving[-1] = leaving[-1], leaving[pick]
        inner, outer = edge = leaving.pop()
        edges.append(edge)
        leaving += [(outer, cell) for cell in neighbours[outer] if cell != inner]
    return edges


def _shuffle(items: list[_T], words: Iterator[int]) -> None:
    """Shuffle in place (Durstenfeld's version of the Fisher-Yates shuffle, 1964)."""
    for last in range(len(items) - 1, 0, -1):
        pick = next(words) % (last + 1)
        items[last], items[pick] = items[pick], items[last]


def _write(edges: list[tuple[int, int]], words: Iterator[int]) -> str:
    """The prompt of a maze: entries and neighbours in random order, then two distinct nodes."""
    directed = edges + [(outer, inner) for inner, outer in edges]
    _shuffle(directed, words)
    # Restricted to one cell's edges, a uniform order of all edges is a uniform order of those.
    joined: dict[int, str] = {}
    for here, there in directed:
        joined[here] = joined.get(here, "") + TOKENS[there]
    nodes = sorted(joined)
    _shuffle(nodes, words)
    entries = ",".join(f"{TOKENS[node]}:{joined[node]}" for node in nodes)
    start = next(words) % len(nodes)
    goal = (start + 1 + next(words) % (len(nodes) - 1)) % len(nodes)
    return f"{entries}?{TOKENS[nodes[start]]}>{TOKENS[nodes[goal]]}="


def _mazes(stream: Stream, length: int, count: int) -> list[str]:
    orders = np.argsort(stream.words(count * CELLS).reshape(count, CELLS), axis=1, kind="stable").tolist()
    steps, words = stream.one_by_one(12), stream.one_by_one()
    return [_write(_keep(_spanning_tree(order, steps), length, words), words) for order in orders]


_READING = (
    "The text describes a maze: each entry names a node, then after : the nodes joined to it. After ? stand the start, "
    "> and the goal."
)
_MAZE = "[2]:[3][1][10],[1]:[2],[3]:[2],[10]:[2]?[1]>[10]="

MAZES = (
    Task(
        name="shortest_path",
        version=1,
        domain=DOMAIN,
        definition=f"{_READING} Write the nodes on the shortest path from start to goal, both included.",
        example=_MAZE,
        sample=_mazes,
        solve=shortest_path,
        min_length=2,
        max_length=CELLS,
        walk=check_walk,
    ),
    Task(
        name="dfs_trace",
        version=1,
        domain=DOMAIN,
        definition=f"{_READING} Search the maze depth first from the start: always step to the first listed neighbour "
        "not visited yet, and step back when there is none. Write every node you stand on, steps back included, until "
        "you stand on the goal.",
        example=_MAZE,
        sample=_mazes,
        solve=dfs_trace,
        min_length=2,
        max_length=CELLS,
        walk=check_walk,
    ),
    Task(
        name="node_list",
        version=1,
        domain=DOMAIN,
        definition=f"{_READING} Write the first node of each entry, in the order listed.",
        example=_MAZE,
        sample=_mazes,
        solve=node_list,
        min_length=2,
        max_length=CELLS,
    ),
)
