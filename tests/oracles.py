"""The tasks written a second time from their definition, by other routes, to hold the package to it.

Nothing here imports lgbench. `answer` solves a prompt; `complaints` says why a text is not a prompt of a task, length
and split.
"""

from __future__ import annotations

import re
import string
from collections import deque
from collections.abc import Callable, Iterator
from itertools import zip_longest

SIGNS = {
    "reverse_add": "+",
    "no_carry": "+",
    "carry_only": "+",
    "reverse_subtract": "-",
    "copy_first_op": "+",
    "cot_multiply": "*",
}
GRID = 8

DIGITS = string.digits
SWAPPED_CASE = str.maketrans(
    string.ascii_lowercase + string.ascii_uppercase, string.ascii_uppercase + string.ascii_lowercase
)


def answer(task: str, prompt: str) -> str:
    """The target of a prompt."""
    return _ORACLES[task](prompt)


def operands(prompt: str) -> tuple[str, str]:
    """The two operands of an arithmetic prompt, as written: least significant digit first."""
    first, second = re.findall(r"\d+", prompt)
    return first, second


def add_columns(first: str, second: str) -> str:
    """School addition of two numbers written least significant digit first, with the last carry always written."""
    written, carry = "", 0
    for x, y in zip_longest(first, second, fillvalue="0"):
        carry, digit = divmod(int(x) + int(y) + carry, 10)
        written += str(digit)
    return written + str(carry)


def reverse_add(prompt: str) -> str:
    return add_columns(*operands(prompt))


def no_carry(prompt: str) -> str:
    # Adding y to x without a carry turns a dial of ten digits, which stands at x, by y.
    dials = [(DIGITS[int(x) :] + DIGITS[: int(x)], int(y)) for x, y in zip_longest(*operands(prompt), fillvalue="0")]
    return "".join(dial[turn] for dial, turn in dials) + "0"


def carry_only(prompt: str) -> str:
    first, second = operands(prompt)
    a, b = int(first[::-1]), int(second[::-1])
    # The lowest k digits overflow into the next column just when their sum needs more than k digits.
    columns = range(max(len(first), len(second)) + 1)
    return "".join("1" if a % 10**k + b % 10**k >= 10**k else "0" for k in columns)


def reverse_subtract(prompt: str) -> str:
    # Nines' complement: with L nines N, a - b = N - ((N - a) + b).
    first, second = operands(prompt)
    nines = str.maketrans(DIGITS, DIGITS[::-1])
    flipped = add_columns(first.translate(nines), second)[: len(first)]
    return flipped.translate(nines) + "0"


def copy_first_op(prompt: str) -> str:
    return prompt.partition("+")[0]


def cot_multiply(prompt: str) -> str:
    first, second = operands(prompt)
    partial_products = []
    total = "0"
    for position, digit in enumerate(second):
        product = "0"
        for _ in range(int(digit)):
            product = add_columns(product, first)
        shifted = "0" * position + (product.rstrip("0") or "0")
        partial_products.append(shifted)
        total = add_columns(total, shifted)
    return "+".join(partial_products) + "=" + (total.rstrip("0") or "0").ljust(len(first) + 1, "0")


def string_copy(prompt: str) -> str:
    return "".join(re.findall("[a-zA-Z]", prompt))


def reverse(prompt: str) -> str:
    stack = list(prompt.removesuffix("="))
    return "".join(stack.pop() for _ in range(len(stack)))


def capitalize(prompt: str) -> str:
    return prompt.removesuffix("=").translate(SWAPPED_CASE)


def capitalize_reverse(prompt: str) -> str:
    return reverse(capitalize(prompt))


def mqar(prompt: str) -> str:
    text, query = prompt.split("=")
    found = re.fullmatch(f".*{query}(.+)", text)
    assert found, f"{query} does not occur in {text} or ends it"
    return found[1]


def repeat_first(prompt: str) -> str:
    return re.sub("[a-zA-Z]", prompt[0], prompt.removesuffix("="))


def entries(prompt: str) -> list[tuple[int, list[int]]]:
    """The entries of a maze prompt in the order listed, each a node and its neighbours as listed."""
    listed = []
    for entry in prompt.split("?")[0].split(","):
        node, *neighbours = map(int, re.findall(r"\d+", entry))
        listed.append((node, neighbours))
    return listed


def endpoints(prompt: str) -> tuple[int, int]:
    """START and GOAL of a maze prompt."""
    start, goal = map(int, re.findall(r"\d+", prompt.split("?")[1]))
    return start, goal


def write_nodes(nodes: list[int]) -> str:
    return "".join(f"[{node}]" for node in nodes)


def shortest_path(prompt: str) -> str:
    """Breadth-first search from GOAL, then downhill from START."""
    neighbours = dict(entries(prompt))
    start, goal = endpoints(prompt)
    distance = {goal: 0}
    queue = deque([goal])
    while queue:
        node = queue.popleft()
        for other in neighbours[node]:
            if other not in distance:
                distance[other] = distance[node] + 1
                queue.append(other)
    path = [start]
    while path[-1] != goal:
        path.append(min(neighbours[path[-1]], key=distance.__getitem__))
    return write_nodes(path)


def dfs_trace(prompt: str) -> str:
    """The search as a recursion that reports every node it stands on; its caller stops listening at GOAL."""
    neighbours = dict(entries(prompt))
    start, goal = endpoints(prompt)
    visited: set[int] = set()

    def search(node: int) -> Iterator[int]:
        visited.add(node)
        yield node
        for other in neighbours[node]:
            if other not in visited:
                yield from search(other)
                yield node

    walk = []
    for node in search(start):
        walk.append(node)
        if node == goal:
            break
    return write_nodes(walk)


def node_list(prompt: str) -> str:
    return "".join(re.findall(r"(\[\d+\]):", prompt))


_ARITHMETIC = (
    reverse_add,
    no_carry,
    carry_only,
    reverse_subtract,
    copy_first_op,
    cot_multiply,
)
_STRINGS = (
    string_copy,
    reverse,
    capitalize,
    capitalize_reverse,
    mqar,
    repeat_first,
)
_MAZES = (
    shortest_path,
    dfs_trace,
    node_list,
)
_ORACLES: dict[str, Callable[[str], str]] = {
    function.__name__: function for function in (*_ARITHMETIC, *_STRINGS, *_MAZES)
}
TASKS = tuple(_ORACLES)
STRINGS = tuple(function.__name__ for function in _STRINGS)
MAZES = tuple(function.__name__ for function in _MAZES)


def complaints(task: str, prompt: str, *, length: int, split: str) -> list[str]:
    """Why the text is not a prompt of the task with this length in this split; empty where it is one."""
    if task in SIGNS:
        return _arithmetic_complaints(task, prompt, length, split)
    if task in STRINGS:
        return _string_complaints(task, prompt, length)
    assert task in MAZES, f"{task} has no oracle"
    return _maze_complaints(prompt, length)


def _arithmetic_complaints(task: str, prompt: str, length: int, split: str) -> list[str]:
    number = r"(\d|\d+[1-9])"  # written backwards, so a leading zero would come last
    shape = re.fullmatch(number + re.escape(SIGNS[task]) + number + "=", prompt)
    if not shape:
        return ["not two numbers without leading zeros around the sign"]
    first, second = shape[1], shape[2]
    rules = {"the first operand does not have `length` digits": len(first) == length}
    if task == "cot_multiply":
        rules["the second operand does not have three digits"] = len(second) == 3
    elif split != "train":
        rules["the second operand does not have `length` digits"] = len(second) == length
    elif task in ("copy_first_op", "reverse_subtract"):
        rules["the second operand is longer than the first"] = len(second) <= length
    else:
        rules = {"the longer operand does not have `length` digits": max(len(first), len(second)) == length}
    if task == "reverse_subtract":
        rules["the difference is negative"] = int(first[::-1]) >= int(second[::-1])
    return [complaint for complaint, holds in rules.items() if not holds]


def _string_complaints(task: str, prompt: str, length: int) -> list[str]:
    query = "[a-zA-Z]{1,3}" if task == "mqar" else ""
    if not re.fullmatch(f"[a-zA-Z]{{{length}}}={query}", prompt):
        return ["not `length` letters, an equals sign, and for mqar one to three letters"]
    if task != "mqar":
        return []
    text, query = prompt.split("=")
    starts = [found.start() for found in re.finditer(f"(?={query})", text)]
    if len(starts) != 1:
        return [f"the query occurs {len(starts)} times"]
    return ["the query ends the string"] if starts[0] + len(query) == length else []


def _maze_complaints(prompt: str, length: int) -> list[str]:
    node = r"\[[1-9]\d?\]"
    entry = f"{node}:({node})+"
    if not re.fullmatch(rf"{entry}(,{entry})*\?{node}>{node}=", prompt):
        return ["not a list of entries and a question"]
    listed = entries(prompt)
    start, goal = endpoints(prompt)
    nodes = {node for node, _ in listed}
    edges = [(node, other) for node, neighbours in listed for other in neighbours]
    rules = {
        "not `length` entries": len(listed) == length,
        "a node has two entries": len(nodes) == len(listed),
        "a node is not on the grid": nodes <= set(range(1, GRID * GRID + 1)),
        "an edge is listed twice": len(set(edges)) == len(edges),
        "an edge is listed at one end only": {(other, node) for node, other in edges} == set(edges),
        "an edge joins nodes that are not adjacent on the grid": all(adjacent(*edge) for edge in edges),
        "not the number of edges of a tree": len(edges) == 2 * (length - 1),
        "not connected": _reachable(dict(listed), listed[0][0]) == nodes,
        "START or GOAL is no node of the maze": {start, goal} <= nodes,
        "START is GOAL": start != goal,
    }
    return [complaint for complaint, holds in rules.items() if not holds]


def adjacent(node: int, other: int) -> bool:
    """Whether two nodes are neighbours on the 8x8 grid, numbered row by row from 1."""
    (row, column), (other_row, other_column) = divmod(node - 1, GRID), divmod(other - 1, GRID)
    return abs(row - other_row) + abs(column - other_column) == 1


def _reachable(neighbours: dict[int, list[int]], start: int) -> set[int]:
    reached, frontier = {start}, [start]
    while frontier:
        for other in neighbours.get(frontier.pop(), []):
            if other not in reached:
                reached.add(other)
                frontier.append(other)
    return reached
