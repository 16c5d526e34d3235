"""Systems side by side: a verdict on each pair, as tables and lines for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from lgbench.scoring.contest import Contest
from lgbench.scoring.contest_caveats import caveats, contest_notes, noun
from lgbench.scoring.contestants import Field
from lgbench.scoring.display import percent, points, points_between
from lgbench.scoring.duels import Difference, Duel
from lgbench.scoring.seen import FEWEST_SEEDS, p_text
from lgbench.util.tables import Curve, Table

_MOST_DUELS = 3
"""Of so many pairs the difference at each length is shown too."""


def contest_parts(contest: Contest) -> list[Table | str]:
    """The verdict on each pair with its caveats, then the systems by group, then by length."""
    parts: list[Table | str] = []
    for duel in contest.duels:
        parts += [*duel_lines(contest, duel), ""]
    if notes := contest_notes(contest):
        parts += [*notes, ""]
    parts += [_by_field(contest, duel) for duel in contest.duels]
    parts += [table for duel in contest.duels if (table := _gains(contest, duel)).rows]
    return parts + [_by_length(contest, field) for field in contest.fields]


def duel_lines(contest: Contest, duel: Duel) -> list[str]:
    """The verdict on a pair in a line, and below it what it rests on and what a reader should know."""
    one, other = duel.first, duel.second
    verdicts = {
        "better": f"{one} is better than {other}.",
        "worse": f"{one} is worse than {other}.",
        "consistent with better": f"The runs are consistent with {one} being better than {other}.",
        "consistent with worse": f"The runs are consistent with {one} being worse than {other}.",
        "not told apart": f"{one} and {other} cannot be told apart.",
        "too few seeds": f"There are too few seeds to tell {one} and {other} apart.",
    }
    return [verdicts[duel.word], f"  {_rests_on(contest, duel)}", *(f"  {each}" for each in caveats(contest, duel))]


def _rests_on(contest: Contest, duel: Duel) -> str:
    first, second = map(percent, duel.accuracies)
    names = list(duel.differences)
    where = names[0] if len(names) == 1 else f"mean over {len(names)} {noun(contest, len(names))}"
    return f"{first} against {second} % in the transfer zone ({where}): {_with_interval(duel)}"


def _with_interval(duel: Duel) -> str:
    about = [_interval(duel.mean)]
    if duel.word != "too few seeds" and duel.mean.p is not None:  # else p says nothing
        about.append(p_text(duel.mean.p))
        if duel.corrected_p is not None and duel.corrected_p != duel.mean.p:
            about.append(f"{p_text(duel.corrected_p)} after Holm's correction for several pairs")
    return f"{points(duel.mean.value)} points ({', '.join(about)})"


def _interval(difference: Difference) -> str:
    if difference.interval is not None:
        return points_between(*difference.interval)
    return (
        "no interval: both are right on the same examples" if difference.paired else "no interval: all seeds are equal"
    )


def _by_field(contest: Contest, duel: Duel) -> Table:
    rows: list[Sequence[object]] = []
    for field in contest.fields:
        if field.name not in duel.differences:
            continue
        difference, sides = duel.differences[field.name], [field.entries[name] for name in (duel.first, duel.second)]
        shares = [percent(side.accuracy.value) for side in sides]
        seeds = "/".join(str(side.seeds) for side in sides)
        p = duel.corrected_ps[field.name]
        if not difference.paired and min(side.seeds for side in sides) < FEWEST_SEEDS:
            p = None  # it says nothing: no verdict rests on so few
        rows.append((field.name, seeds, *shares, _bracketed(difference), None if p is None else _p(p)))
    arm = "main tasks" if contest.is_open else f"arm {contest.arm}"
    corrected = ", p after Holm's correction" if sum(len(each.differences) for each in contest.duels) > 1 else ""
    title = f"{duel.first} - {duel.second}: {arm} in the transfer zone, exact match in %{corrected}"
    noun, runs = ("task", "runs") if contest.is_open else ("group", "seeds")
    return Table(title, (noun, runs, duel.first, duel.second, "difference", "p"), rows)


def _p(p: float) -> str:
    """A p-value for a column of them."""
    return p_text(p).removeprefix("p ").removeprefix("= ").replace(" ", "")


def _gains(contest: Contest, duel: Duel) -> Table:
    rows: list[Sequence[object]] = []
    for field in contest.fields:
        if field.name in duel.gains:
            gains = [field.entries[name].gain for name in (duel.first, duel.second)]
            values = [None if gain is None else points(gain.value) for gain in gains]
            rows.append((field.name, *values, _bracketed(duel.gains[field.name])))
    title = f"{duel.first} - {duel.second}: gain of {contest.arm} over main_only, in points"
    return Table(title, ("group", duel.first, duel.second, "difference"), rows)


def _bracketed(difference: Difference) -> str:
    """A difference with its interval, as in "+16.8 [-7.0, +40.6]"; a star for one over examples alone."""
    if difference.interval is None:
        return points(difference.value)
    low, high = map(points, difference.interval)
    mark = "*" if difference.over_examples and not difference.paired else ""
    return f"{points(difference.value)} [{low}, {high}]{mark}"


def _by_length(contest: Contest, field: Field) -> Table:
    rows: list[Sequence[object]] = []
    for name, entry in field.entries.items():
        rows.append((name, *map(percent, entry.curve.mean), Curve(entry.curve.mean)))
        if entry.seeds > 1:
            seeds = list(zip(*entry.curve.seeds, strict=True))
            rows.append(("  lowest", *(percent(min(each)) for each in seeds), ""))
            rows.append(("  highest", *(percent(max(each)) for each in seeds), ""))
    for duel in contest.duels if len(contest.duels) <= _MOST_DUELS else ():
        if field.name in duel.differences:
            name = "difference" if len(contest.duels) == 1 else f"{duel.first} - {duel.second}"
            rows.append((name, *map(points, _by_length_difference(field, duel)), ""))
    title = f"{field.task} by length, exact match in %"
    if field.group is not None:
        trained = f"(trained to {field.group.main_length}, {_longest(contest, field)})"
        title = f"{field.name}: {field.task} by length {trained}, exact match in %"
    return Table(title, ("system", *map(str, field.lengths), "curve"), rows)


def _longest(contest: Contest, field: Field) -> str:
    assert field.group is not None
    others = {t: n for t, n in field.group.mixture(contest.arm).tasks.items() if t != field.task}
    return f"other tasks to {max(others.values())}" if others else "no other task"


def _by_length_difference(field: Field, duel: Duel) -> list[Fraction]:
    sides = [field.entries[name].curve.mean for name in (duel.first, duel.second)]
    return [one - other for one, other in zip(*sides, strict=True)]
