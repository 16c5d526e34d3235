"""Hypothesis strategies for prompts of every task, written from the definition and not from the package's samplers."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from .oracles import GRID, SIGNS, adjacent, complaints

Drawn = tuple[str, int, str]
"""A prompt, its length, and the split that it is legal in."""

SPLITS = st.sampled_from(("test", "train"))


def drawn_prompts(task: str) -> st.SearchStrategy[Drawn]:
    """Prompts of a task with their length and split."""
    if task in SIGNS:
        return _arithmetic(task)
    if task == "mqar":
        return _recalls()
    return _mazes() if task in ("shortest_path", "dfs_trace", "node_list") else _strings()


@st.composite
def _arithmetic(draw: st.DrawFn, task: str) -> Drawn:
    length, split = draw(st.integers(1, 45)), draw(SPLITS)
    other_length = 3 if task == "cot_multiply" else length if split == "test" else draw(st.integers(1, length))
    first, second = draw(_numbers(length)), draw(_numbers(other_length))
    if task == "reverse_subtract":
        first, second = max(first, second), min(first, second)
    elif task != "copy_first_op" and task != "cot_multiply" and draw(st.booleans()):
        first, second = second, first
    return f"{str(first)[::-1]}{SIGNS[task]}{str(second)[::-1]}=", length, split


def _numbers(digits: int) -> st.SearchStrategy[int]:
    return st.integers(0 if digits == 1 else 10 ** (digits - 1), 10**digits - 1)


@st.composite
def _strings(draw: st.DrawFn) -> Drawn:
    length = draw(st.integers(1, 45))
    return draw(_texts(string.ascii_letters, length)) + "=", length, "test"


@st.composite
def _recalls(draw: st.DrawFn) -> Drawn:
    # Few letters, so that many substrings repeat.
    length = draw(st.integers(2, 45))
    text = draw(_texts(draw(st.sampled_from((string.ascii_letters, "abAB"))), length))
    queries = {text[start:stop] for start in range(length) for stop in range(start + 1, min(start + 4, length))}
    legal = sorted(each for each in queries if not complaints("mqar", f"{text}={each}", length=length, split="test"))
    return (f"{text}={draw(st.sampled_from(legal))}", length, "test") if legal else ("ab=a", 2, "test")


def _texts(alphabet: str, length: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=length, max_size=length)


@st.composite
def _mazes(draw: st.DrawFn) -> Drawn:
    length = draw(st.integers(2, 24))
    cells = range(1, GRID * GRID + 1)
    neighbours: dict[int, list[int]] = {draw(st.sampled_from(cells)): []}
    while len(neighbours) < length:
        leaving = [(here, there) for here in neighbours for there in cells if adjacent(here, there)]
        here, there = draw(st.sampled_from([edge for edge in leaving if edge[1] not in neighbours]))
        neighbours[here].append(there)
        neighbours[there] = [here]
    entries = [
        f"[{node}]:" + "".join(f"[{other}]" for other in draw(st.permutations(neighbours[node])))
        for node in draw(st.permutations(sorted(neighbours)))
    ]
    start, goal = draw(st.permutations(sorted(neighbours)))[:2]
    return f"{','.join(entries)}?[{start}]>[{goal}]=", length, "test"
