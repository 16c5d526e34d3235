"""What keeps a result whose counts are right from being submitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from lgbench.errors import LgbenchError
from lgbench.groups import OPEN_ARM
from lgbench.records import Problem
from lgbench.replies import Reply
from lgbench.results import Result, SystemInfo
from lgbench.running.replies import RepliesDigest
from lgbench.scoring.measures import expected_cells
from lgbench.suites import Cell, load_suite, opened_suites

_ENOUGH_WRONG = 20  # different wrong replies, in all of which no two trained models agree


def ineligible(result: Result) -> Iterator[Problem]:
    """Why a result cannot be submitted, whatever its counts. An unknown suite is for re-scoring to tell."""
    if result.draft is not None or any(suite.name == result.suite for suite in opened_suites()):
        yield Problem("suite", f"is {result.suite!r}, a draft suite: only results of published suites are accepted.")
        return
    if result.limit is not None:
        yield Problem("limit", f"is {result.limit}: only results over every example of a cell are accepted.")
    if _is_own(result.system):
        yield Problem("system.model", "is a built-in or bundled model, which checks the plumbing and is no system.")
    if len(result.system.source_sha256) > 1:
        yield Problem(
            "system.source_sha256", "names several hashes: the model's file changed in the middle of the run."
        )
    yield from _wrong_cells(result)


def _is_own(system: SystemInfo) -> bool:
    """Whether a model is a built-in, under whatever name, or a bundled checkpoint."""
    if system.kind in ("module", "object"):  # `lgbench.models:builtin.Oracle` is one too
        return system.model.replace(":", ".").startswith("lgbench.models.builtin.")
    return system.kind == "builtin" or (system.kind == "checkpoint" and system.model.startswith("tiny:"))


def _wrong_cells(result: Result) -> Iterator[Problem]:
    try:
        of_suite = set(load_suite(result.suite, result.draft).cells())
    except LgbenchError:
        return
    try:
        expected = expected_cells(result)
    except LgbenchError as error:
        yield Problem("group", str(error))
        return
    given = [Cell(cell.task, cell.length) for cell in result.cells]
    for number, cell in enumerate(given):
        if cell in of_suite and cell not in expected:
            yield Problem(f"cells[{number}]", f"{cell} is no cell of {_experiment(result)}.")
    there = set(given)
    if missing := [cell for cell in expected if cell not in there]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        named = ", ".join(map(str, missing[:3])) + more
        yield Problem("cells", f"is partial, so it has no score: {named} of {len(expected)} cells are missing.")


def digest_of_main(result: Result, replies: Mapping[str, Reply]) -> str | None:
    """A digest of a run's wrong replies to the main task of its group.

    None where fewer than 20 of them differ from each other: another model could give the same. What a cap, a limit or
    a server made wrong is not counted, as it can be the same of any two models.

    Args:
        result: The result.
        replies: Its stored replies by example id, which fit it.
    """
    if result.group is None:
        return None
    main = load_suite(result.suite, result.draft).group(result.group).main
    wrong = sorted((name, reply) for name, reply in replies.items() if name.partition("-")[0] == main)
    if len({reply.text for _, reply in wrong if not reply.flags}) < _ENOUGH_WRONG:
        return None
    digest = RepliesDigest()
    for name, reply in wrong:
        digest.add(name, reply.text)
    return digest.hexdigest()


def repeated(results: Mapping[str, Result], of_main: Mapping[str, str | None]) -> Iterator[tuple[str, Problem]]:
    """The runs of one system that are there twice, each with the name of its folder.

    Two seeds that give exactly the same replies are one run under two names, unless every reply is right. Two arms
    have other cells, but share those of the main task.

    Args:
        results: By the name of their folder.
        of_main: The `digest_of_main` of each, likewise.
    """
    for (first, result), (second, other) in combinations(results.items(), 2):
        if _identity(result) == _identity(other):
            message = f"repeats {first}: {_experiment(other)} with seed {other.seed} is there twice."
            yield second, Problem("seed", message)
        elif _same_weights(result, other):
            message = (
                f"names the same weights as {first} ({_experiment(result)}, seed {result.seed}): a checkpoint was "
                "trained under one arm, with one seed."
            )
            yield second, Problem("system.source_sha256", message)
        elif _suspiciously_equal(result, other):
            message = (
                f"equals that of {first} ({_experiment(result)}, seed {result.seed}): no two trained models give the "
                "same wrong replies throughout."
            )
            yield second, Problem("replies_sha256", message)
        elif _same_main_replies(result, other, (of_main[first], of_main[second])):
            message = (
                f"covers the same wrong replies to the main task as that of {first} ({_experiment(result)}, seed "
                f"{result.seed}): one model was evaluated as two."
            )
            yield second, Problem("replies_sha256", message)


def copied(systems: Mapping[str, Mapping[str, Result]]) -> Iterator[tuple[str, str, Problem]]:
    """The runs whose replies are those of another system's run, each with its system and the name of its folder.

    Nothing tells which of them was first, so each is told of the other. Equal weights are none of these: one model
    asked in two ways is two systems.

    Args:
        systems: The runs of each system, by the name of their folder.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for system, runs in systems.items():
        for run, result in runs.items():
            if not _is_perfect(result):
                alike.setdefault(result.replies_sha256, []).append((system, run))
    for found in alike.values():
        for system, run in found:
            if others := [f"{other}/{its_run}" for other, its_run in found if other != system]:
                message = (
                    f"equals that of {others[0]}: no two systems give the same wrong replies throughout. A system is "
                    "on the board once, and one that is trained in the same way again has other seeds."
                )
                yield system, run, Problem("replies_sha256", message)


def _identity(result: Result) -> tuple[str, str, str | None, int | None]:
    return result.suite, result.arm, result.group, result.seed


def _same_weights(result: Result, other: Result) -> bool:
    """Whether one file of weights is said to come from two trainings."""
    one, two = result.system, other.system
    if result.arm == other.arm == OPEN_ARM and result.suite != other.suite:
        return False  # one model, asked two suites
    same_file = one.kind == two.kind and one.kind in ("checkpoint", "hf") and one.source_sha256 == two.source_sha256
    return same_file and one.source_sha256 != () and not _same_training(result, other)


def _same_training(result: Result, other: Result) -> bool:
    """Whether two results can be of one training: groups whose lists are equal share a run."""
    if (result.suite, result.arm, result.seed) != (other.suite, other.arm, other.seed):
        return False
    if result.group is None or other.group is None:
        return result.group == other.group
    try:
        suite = load_suite(result.suite, result.draft)
        return suite.group(result.group).mixture(result.arm) == suite.group(other.group).mixture(other.arm)
    except LgbenchError:  # a name that does not exist, which is told elsewhere
        return True


def _same_main_replies(result: Result, other: Result, of_main: tuple[str | None, str | None]) -> bool:
    one, two = of_main
    return one is not None and one == two and result.suite == other.suite and not _same_training(result, other)


def _suspiciously_equal(result: Result, other: Result) -> bool:
    if result.replies_sha256 != other.replies_sha256 or _same_training(result, other):
        return False
    return not _is_perfect(result)


def _is_perfect(result: Result) -> bool:
    return all(cell.counts.correct == cell.counts.total for cell in result.cells)


def _experiment(result: Result) -> str:
    of_group = f" of group {result.group!r}" if result.group else ""
    return f"arm {result.arm!r}{of_group} on {result.suite}"
