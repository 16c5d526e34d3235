"""Which results are of one system: what a user names, as systems with names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lgbench.data.groups import OPEN_ARM
from lgbench.evaluation.stored import SYSTEM_FILE
from lgbench.python.results import Result, home_of
from lgbench.python.runs import read_runs
from lgbench.scoring.systems import why_left_out
from lgbench.submissions.system import SUBMISSIONS_FOLDER
from lgbench.util.counting import CountReport, no_report
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.text import plain

Systems = dict[str, list[Result]]
_LONGEST_NAME = 200
_CHECKOUT = Path(__file__).parents[2] / SUBMISSIONS_FOLDER


class Given(NamedTuple):
    """Results that a user named together.

    Attributes:
        results: The results.
        source: What the user named: a folder, or a description.
        name: What the user calls the system; None where the results say it.
    """

    results: Sequence[Result]
    source: str
    name: str | None = None


class Found(NamedTuple):
    """The systems of what a user named.

    Attributes:
        systems: The results of each, in the order given.
        left_out: A sentence for each evaluation that is not finished.
    """

    systems: Systems
    left_out: tuple[str, ...]


def read_systems(folders: Sequence[tuple[str | None, Path]], report: CountReport = no_report) -> Found:
    """The systems in folders.

    Args:
        folders: Each with the name of the system whose runs it holds; None where these say it themselves.
        report: Takes how many runs of a folder are read, and of how many.

    Raises:
        LgbenchError: A folder does not exist or holds no finished evaluation; or something in them cannot be read,
            with a sentence for each.
    """
    given, problems, left_out = list[Given](), list[str](), list[str]()
    for name, folder in folders:
        read = read_runs([folder], report=report)
        own = _each_once(read.results, given)
        if name is not None and read.results and not own:
            raise LgbenchError(f"Every run in {str(folder)!r} is in a folder that was named before. Name each once.")
        given.append(Given(own, str(folder), name))
        problems += read.problems
        left_out += [f"{each}, as its evaluation is not finished" for each in read.unfinished]
    if problems:
        them = "it" if len(problems) == 1 else "them"
        raise LgbenchError("\n".join([*dict.fromkeys(problems), f"Fix {them}, or name only the other folders."]))
    return Found(systems_of(given), tuple(dict.fromkeys(left_out)))


def _each_once(results: Iterable[Result], given: Iterable[Given]) -> list[Result]:
    """The results whose folder was not named before."""
    known = {os.path.realpath(each.folder) for one in given for each in one.results if each.folder is not None}
    return [each for each in results if each.folder is None or os.path.realpath(each.folder) not in known]


def systems_of(given: Sequence[Given]) -> Systems:
    """Results by system.

    A name that the user gives counts before that of a submission, of the folder in which `reproduce` keeps runs, or of
    `label=`. Of the others, those of trained arms are of one system, as arms that were evaluated one by one; but of one
    for each thing that was named where two are of the same arm, group and seed. Those of arm `open` are of their model.
    """
    systems: Systems = {}
    loose: list[Given] = []
    homes = _homes(each for one in given if one.name is None for each in one.results)
    for one in given:
        if one.name is not None:
            systems.setdefault(plain(one.name, limit=_LONGEST_NAME), [])
        rest = []
        for result in one.results:
            name = one.name or homes.get(_home(result), result.given_label)
            if name is None:
                rest.append(result)
            else:
                systems.setdefault(plain(name, limit=_LONGEST_NAME), []).append(result)
        if rest:
            loose.append(one._replace(results=rest))
    trained = [one for one in loose if any(each.arm != OPEN_ARM for each in one.results)]
    others = [one for one in loose if one not in trained]
    for name, results in (*_of_arms(trained).items(), *_of_models(others).items()):
        systems.setdefault(plain(name, limit=_LONGEST_NAME), []).extend(results)
    return systems


def _home(result: Result) -> Path | None:
    home = None if result.folder is None else home_of(result.folder)
    return None if home is None or result.given_label is None else home


def _homes(results: Iterable[Result]) -> dict[Path | None, str | None]:
    """What the systems are called whose home says it: by its path, where two homes would have the same name."""
    labels = {home: each.given_label for each in results if (home := _home(each)) is not None}
    counts = Counter(labels.values())
    return {home: label if counts[label] == 1 else str(home) for home, label in labels.items()}


def _of_arms(loose: Sequence[Given]) -> Systems:
    """Results of what was named, each with trained arms in it: of one system, unless they are of the same runs."""
    runs = [
        (each.suite, each.arm, each.group, each.seed)
        for one in loose
        for each in one.results
        if each.arm != OPEN_ARM and why_left_out(each) is None
    ]
    if len(loose) < 2 or len(set(runs)) == len(runs):
        everything = [each for one in loose for each in one.results]
        return {_common_name(loose): everything} if everything else {}
    names = _distinct([one.source for one in loose])
    return {name: list(one.results) for name, one in zip(names, loose, strict=True)}


def _common_name(given: Sequence[Given]) -> str:
    """What a system is called: as the only thing that was named, as its model, or as the folder that holds all."""
    models = list(dict.fromkeys(each.label for one in given for each in one.results))
    folders = [Path(one.source).absolute() for one in given if Path(one.source).is_dir()]
    if len(given) == 1 and folders:
        return _distinct([given[0].source])[0]
    above = {folder.parent for folder in folders}
    return models[0] if len(models) == 1 or len(folders) < len(given) or len(above) > 1 else above.pop().name


def _of_models(loose: Sequence[Given]) -> Systems:
    """Results of arm `open`: of their model, or of their folder where several are of one model."""
    results = [each for one in loose for each in one.results]
    counts = Counter((each.label, each.suite, each.seed) for each in results)
    repeated = {label for (label, _, _), count in counts.items() if count > 1}
    folders = _distinct([str(each.folder or each.label) for each in results])
    systems: Systems = {}
    for folder, each in zip(folders, results, strict=True):
        systems.setdefault(folder if each.label in repeated else each.label, []).append(each)
    return systems


def _distinct(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, or the whole of those whose last part is not theirs alone."""
    names = [Path(path).absolute().name or path for path in paths]
    counts = Counter(names)
    return [name if counts[name] == 1 else path for name, path in zip(names, paths, strict=True)]


def with_baseline(systems: Systems, baseline: str) -> tuple[Systems, str]:
    """The systems with one more, unless it is one of them, and its name.

    Args:
        systems: By name.
        baseline: One of them, a folder, or a submitted system of the working directory or of the clone.

    Raises:
        UnknownNameError: It is none of these.
        LgbenchError: It is a folder of several systems, or cannot be read.
    """
    if baseline in systems:
        return systems, baseline
    folder = Path(baseline)
    if not folder.is_dir():
        folder = next((path / baseline for path in _shelves() if (path / baseline / SYSTEM_FILE).exists()), folder)
    if not folder.is_dir():
        submitted = [path.parent.name for shelf in _shelves() for path in sorted(shelf.glob(f"*/{SYSTEM_FILE}"))]
        raise UnknownNameError("system or folder", baseline, dict.fromkeys([*systems, *submitted]))
    found = read_systems([(None, folder)]).systems
    if len(found) > 1:
        raise LgbenchError(f"{baseline!r} holds {len(found)} systems, {', '.join(found)}: a baseline is one of them.")
    ((name, results),) = found.items()
    return systems if name in systems else systems | {name: results}, name


def _shelves() -> list[Path]:
    """Where submitted systems are: below the working directory, and beside the package in a clone."""
    return [Path(SUBMISSIONS_FOLDER), _CHECKOUT]


def place_of(result: Result) -> str:
    """Where a result is, or what it is of, as a sentence names it."""
    return result.label if result.folder is None else str(result.folder)
