"""What a reader should know beside the verdict on two systems. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from lgbench.results.schema import Result
from lgbench.scoring.contest import Contest
from lgbench.scoring.contestants import Contestant, Field
from lgbench.scoring.display import percent
from lgbench.scoring.duels import Duel
from lgbench.scoring.seen import ENOUGH_SEEDS, FEWEST_SEEDS


def caveats(contest: Contest, duel: Duel) -> list[str]:
    """What a reader should know beside the verdict on a pair, a sentence each."""
    fields = [field for field in contest.fields if field.name in duel.differences]
    found = [*_seed_caveats(contest, duel, fields), *_scope_caveats(contest, duel, fields)]
    found += [each for name in (duel.first, duel.second) for each in _learning_caveats(contest, name, fields)]
    return [*found, *_likeness_caveats(contest, duel, fields)]


def _seed_caveats(contest: Contest, duel: Duel, fields: Sequence[Field]) -> list[str]:
    if duel.mean.paired:
        return [
            "Each system has one run, so the interval is over examples. It says nothing about other training runs or "
            "prompts."
        ]
    sides = [(name, field) for name in (duel.first, duel.second) for field in fields]
    found = []
    if duel.word not in ("better", "worse") and duel.fewest_seeds < ENOUGH_SEEDS:
        found.append(_few_seeds(duel, sides))
    if duel.mean.over_examples:
        found.append("With a single run of a system, the interval (*) is over its examples alone, so it is too narrow.")
    if duel.mean.interval is None and duel.mean.p is not None:
        return [*found, "All seeds of each system are equal, so p is that of the exact permutation test over seeds."]
    if duel.mean.interval is None:
        return [
            *found,
            "All seeds of each system are equal in every group, so their spread is unknown and nothing is tested.",
        ]
    equal = [(name, field) for name, field in sides if _seeds_are_equal(field, name)]
    if equal:
        found.append(f"All seeds are equal in {_places(equal)}, so their spread is unknown and counts as 0.")
    return found


def _few_seeds(duel: Duel, sides: Sequence[tuple[str, Field]]) -> str:
    """Where there are too few seeds for a verdict, or for a better one."""
    few = [(name, field) for name, field in sides if field.entries[name].seeds == duel.fewest_seeds]
    everywhere = "each system" if len(sides) == 2 else "each system and group"
    names = {name for name, _ in few}
    if len(few) == len(sides):
        where = everywhere
    elif len(names) == 1 and 2 * len(few) == len(sides):
        where = names.pop()  # in all of its groups
    else:
        where = _places(few)
    seeds = f"{duel.fewest_seeds} seed{'' if duel.fewest_seeds == 1 else 's'} in {where}"
    if duel.fewest_seeds < FEWEST_SEEDS:
        return f"{seeds}: {FEWEST_SEEDS} are needed for a verdict."
    return f"{seeds}: {ENOUGH_SEEDS} are needed for 'better' or 'worse'."


def _places(sides: Sequence[tuple[str, Field]]) -> str:
    return _listed([f"{name} ({field.name})" for name, field in sides])


def _seeds_are_equal(field: Field, name: str) -> bool:
    return field.entries[name].seeds > 1 and field.entries[name].accuracy.interval is None


def _scope_caveats(contest: Contest, duel: Duel, fields: Sequence[Field]) -> list[str]:
    groups = len(contest.suite.groups)
    found = []
    if not contest.is_open and len(fields) < groups:
        found.append(f"The comparison covers {len(fields)} of the suite's {groups} groups.")
    if contest.arm not in ("transfer", "open"):
        found.append(f"This compares the arm {contest.arm}, and says nothing about transfer.")
    return found


def _learning_caveats(contest: Contest, name: str, fields: Sequence[Field]) -> list[str]:
    """The tasks that the arm of a system did not learn, a sentence for each group."""
    found = []
    for field in fields:
        if field.group is None or not (shares := field.entries[name].unlearned):
            continue
        lengths = field.group.mixture(contest.arm).tasks
        tasks = _listed([f"{task} ({percent(share)} % up to length {lengths[task]})" for task, share in shares.items()])
        found.append(f"{name} did not learn {tasks} in {field.name}.")
    return found


def _likeness_caveats(contest: Contest, duel: Duel, fields: Sequence[Field]) -> list[str]:
    """Where the two differ in more than their name says, or in less."""
    groups = {None if field.group is None else field.name for field in fields}
    compared = {
        each.name: [result for result in each.results if result.arm == contest.arm and result.group in groups]
        for each in contest.contestants
    }
    one, other = compared[duel.first], compared[duel.second]
    found = []
    replies = [{each.replies_sha256 for each in own} for own in (one, other)]
    if same := len(replies[0] & replies[1]):
        runs = "a run has" if same == 1 else f"{same} runs have"
        found.append(f"{runs[0].upper()}{runs[1:]} the same replies in both: one may be a copy of the other.")
    sizes = [_sizes(own) for own in (one, other)]
    if all(sizes) and sizes[0] != sizes[1]:
        found.append(f"They differ in size: {duel.first} has {sizes[0]} parameters, {duel.second} {sizes[1]}.")
    training = {each.name: _trained(each, compared[each.name]) for each in contest.contestants}
    ways = [training[name] for name in (duel.first, duel.second)]
    if all(ways) and ways[0] != ways[1]:
        found.append(f"They were trained differently: {duel.first} in {ways[0]}, {duel.second} in {ways[1]}.")
    prompts = [_prompts(own) for own in (one, other)]
    if prompts[0] != prompts[1]:
        found.append(f"They were asked differently: {duel.first} {prompts[0]}, {duel.second} {prompts[1]}.")
    return found


def _trained(contestant: Contestant, compared: Sequence[Result]) -> str:
    """How the compared runs of a system were trained; empty if that is not known of all."""
    known = dict(zip(map(id, contestant.results), contestant.trained, strict=False))
    ways = [known.get(id(each)) for each in compared]
    return "" if None in ways else " or ".join(sorted({str(each) for each in ways}))


def _sizes(results: Sequence[Result]) -> str:
    known = sorted({each.system.parameters for each in results if each.system.parameters is not None})
    return " to ".join(f"{count:,}" for count in dict.fromkeys((*known[:1], *known[-1:])))


def _prompts(results: Sequence[Result]) -> str:
    return _listed(sorted({"without a prompt" if r.system.prompt is None else str(r.system.prompt) for r in results}))


def contest_notes(contest: Contest) -> list[str]:
    """What is compared with nothing, and what else is of all pairs."""
    found = []
    if contest.suite.draft is not None:
        found.append(f"{contest.suite.name} is a draft suite: no result of it counts on the leaderboard.")
    for one, other in contest.apart:
        found.append(f"{one} and {other} have no {noun(contest, 1)} in common, so they are not compared.")
    for name, groups in contest.alone.items():
        these = "this group is" if len(groups) == 1 else "these groups are"
        found.append(f"Only {name} has runs of {_listed(groups)}, so {these} not compared.")
    return found


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def noun(contest: Contest, count: int) -> str:
    """What the systems are compared in: groups, or main tasks."""
    return ("main task" if contest.is_open else "group") + ("" if count == 1 else "s")
