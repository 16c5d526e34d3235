"""The data drawn a second time, as docs/protocol.md and docs/randomness.md word it, without NumPy and without lgbench.

Each `draw_*` takes words from an iterator and gives prompts. It is written for likeness to the page, not for speed.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Collection, Iterator
from itertools import islice, pairwise
from typing import TypeVar

from .oracles import GRID, MAZES, SIGNS, adjacent, complaints
from .philox import philox_words

Words = Iterator[int]
Sampler = Callable[[Words, int, int], list[str]]
_T = TypeVar("_T")
LETTERS = string.ascii_lowercase + string.ascii_uppercase
CELLS = range(GRID * GRID)
# Above, left, right, below.
AROUND = [[other for other in CELLS if adjacent(cell + 1, other + 1)] for cell in CELLS]


def sampler(task: str, split: str) -> Sampler:
    """What draws the prompts of a task in a split."""
    if task in SIGNS:
        return draw_operations(task, split)
    if task in MAZES:
        return draw_mazes
    return draw_recalls if task == "mqar" else draw_strings


def draw_cell(
    suite: str, split: str, task: str, length: int, *, count: int, held_out: Collection[str] = ()
) -> list[str]:
    """The prompts of a cell; for `dev` and `shots` those of the test cell are held out."""
    words = philox_words(f"lgbench/{suite}/{split}/{task}/1/{length}")
    prompts: dict[str, None] = {}
    while len(prompts) < count:
        drawn = sampler(task, split)(words, length, count - len(prompts))
        prompts |= dict.fromkeys(prompt for prompt in drawn if prompt not in held_out)
    return list(prompts)


def draw_block(
    suite: str,
    arm: str,
    parts: list[tuple[str, int, int]],
    number: int,
    held_out: Callable[[str, int], Collection[str]],
) -> list[tuple[str, int, str]]:
    """Task, length and prompt of each example of a training block.

    Args:
        suite: Its name.
        arm: The text that stands for the arm in keys.
        parts: Task, least and greatest length, each repeated in proportion to its share.
        number: Of the block.
        held_out: The test and dev prompts of a task at a length.
    """
    words = philox_words(f"lgbench/{suite}/train/{arm}/{number}")
    drawn = [parts[pick] for pick in take(words, 8192, len(parts))]
    cells = [(task, low + word % (high - low + 1)) for (task, low, high), word in zip(drawn, words, strict=False)]
    prompts: dict[tuple[str, int], list[str]] = {}
    for task, length in set(cells):
        of_cell = philox_words(f"lgbench/{suite}/train/{arm}/{number}/{task}/{length}")
        count, excluded = cells.count((task, length)), held_out(task, length)
        found: list[str] = []
        while len(found) < count:
            again = sampler(task, "train")(of_cell, length, count - len(found))
            found += [prompt for prompt in again if prompt not in excluded]
        prompts[task, length] = found[::-1]
    return [(*cell, prompts[cell].pop()) for cell in cells]


def take(words: Words, count: int, bound: int) -> list[int]:
    return [word % bound for word in islice(words, count)]


def draw_numbers(words: Words, widths: list[int]) -> list[str]:
    count, widest = len(widths), max(widths)
    digits = take(words, count * widest, 10)
    leading = take(words, count, 9)
    numbers = []
    for row, width in enumerate(widths):
        written = digits[row * widest : row * widest + width]
        if width > 1:
            written[-1] = 1 + leading[row]
        numbers.append("".join(map(str, written)))
    return numbers


def draw_operations(task: str, split: str) -> Sampler:
    def draw(words: Words, length: int, count: int) -> list[str]:
        varied = split == "train" and task != "cot_multiply"
        first = draw_numbers(words, [length] * count)
        widths = [1 + width for width in take(words, count, length)] if varied else [length] * count
        second = draw_numbers(words, [3] * count if task == "cot_multiply" else widths)
        swap = [0] * count
        if task == "reverse_subtract":
            swap = [int(a[::-1]) < int(b[::-1]) for a, b in zip(first, second, strict=True)]
        elif varied and task != "copy_first_op":
            swap = take(words, count, 2)
        pairs = [(b, a) if turned else (a, b) for a, b, turned in zip(first, second, swap, strict=True)]
        return [f"{a}{SIGNS[task]}{b}=" for a, b in pairs]

    return draw


def draw_texts(words: Words, length: int, count: int) -> list[str]:
    letters = [LETTERS[place] for place in take(words, count * length, 52)]
    return ["".join(letters[row * length : (row + 1) * length]) for row in range(count)]


def draw_strings(words: Words, length: int, count: int) -> list[str]:
    return [text + "=" for text in draw_texts(words, length, count)]


def draw_recalls(words: Words, length: int, count: int) -> list[str]:
    prompts: list[str] = []
    while len(prompts) < count:
        texts = draw_texts(words, length, count - len(prompts))
        for text, word in zip(texts, list(islice(words, len(texts))), strict=True):
            tried = [f"{text}={text[at : at + size]}" for size in (1, 2, 3) for at in range(length - size + 1)]
            eligible = [prompt for prompt in tried if not complaints("mqar", prompt, length=length, split="test")]
            prompts += [eligible[word % len(eligible)]] if eligible else []
    return prompts


def by_chunks(words: Words) -> Words:
    """Words that leave the stream 1024 at a time, when the first of them is needed."""
    while True:
        yield from list(islice(words, 1024))


def draw_mazes(words: Words, length: int, count: int) -> list[str]:
    keys = [list(islice(words, GRID * GRID)) for _ in range(count)]
    steps, others = by_chunks(words), by_chunks(words)
    return [draw_maze(sorted(CELLS, key=key.__getitem__), steps, others, length) for key in keys]


def draw_maze(order: list[int], steps: Words, words: Words, length: int) -> str:
    tree = draw_tree(order, steps)
    kept = next(words) % len(CELLS)
    leaving = [(kept, cell) for cell in tree[kept]]
    edges: list[tuple[int, int]] = []
    while len(edges) < length - 1:
        pick = next(words) % len(leaving)
        leaving[pick], leaving[-1] = leaving[-1], leaving[pick]
        inner, outer = leaving.pop()
        edges.append((inner, outer))
        leaving += [(outer, cell) for cell in tree[outer] if cell != inner]
    directed = shuffle(edges + [(outer, inner) for inner, outer in edges], words)
    nodes = shuffle(sorted({node for edge in edges for node in edge}), words)
    joined = {node: "".join(f"[{there + 1}]" for here, there in directed if here == node) for node in nodes}
    start = next(words) % length
    goal = (start + 1 + next(words) % (length - 1)) % length
    entries = ",".join(f"[{node + 1}]:{joined[node]}" for node in nodes)
    return f"{entries}?[{nodes[start] + 1}]>[{nodes[goal] + 1}]="


def draw_tree(order: list[int], steps: Words) -> list[list[int]]:
    tree: list[list[int]] = [[] for _ in CELLS]
    inside = {order[0]}
    for start in order:
        path = [start]
        while path[-1] not in inside:
            around = AROUND[path[-1]]
            cell = around[next(steps) % 12 % len(around)]
            path = path[: path.index(cell) + 1] if cell in path else [*path, cell]
        inside.update(path)
        for here, there in pairwise(path):
            tree[here].append(there)
            tree[there].append(here)
    return tree


def shuffle(items: list[_T], words: Words) -> list[_T]:
    for last in range(len(items) - 1, 0, -1):
        pick = next(words) % (last + 1)
        items[last], items[pick] = items[pick], items[last]
    return items
