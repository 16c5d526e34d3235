"""The order of the board: no score lifts a system above one that is verified further."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from lgbench.leaderboard.order import Entry, sections
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.systems import score_trained
from lgbench.submissions.tiers import Standing, Tier
from lgbench.training.spec import Division
from tests.made_up import MINI, group_results
from tests.submitted import SYSTEM

GROUPS = [group.name for group in MINI.groups]


def entry(
    name: str, right: Sequence[int], tier: Tier, *, division: Division = "closed", groups: int = 7
) -> SuiteScores:
    runs = [
        run
        for group in GROUPS[:groups]
        for run in group_results(group, {"main_only": [0] * len(right), "transfer": right})
    ]
    return SuiteScores(
        system=SYSTEM.model_copy(update={"name": name}),
        suite=MINI,
        parameters=(),
        trained=score_trained(runs, MINI),
        untrained=None,
        standing=Standing(division=division, tier=tier),
    )


def entries(scores: Sequence[SuiteScores]) -> list[Entry]:
    return [Entry(each, each.trained) for each in scores if each.trained is not None]


LOW, HIGH = [10, 11, 12, 13, 14], [250, 251, 252, 253, 254]


@pytest.mark.slow
def test_systems_stand_by_division_then_tier_and_places_go_on() -> None:
    found = [
        entry("a-liar", HIGH, Tier.SELF_REPORTED),
        entry("recorded", LOW, Tier.RECORDED),
        entry("recorded-too", LOW, Tier.RECORDED),
        entry("audited", LOW, Tier.AUDITED),
        entry("reproduced", LOW, Tier.REPRODUCED),
        entry("audited-three", [40, 50, 60], Tier.AUDITED),
        entry("audited-partly", HIGH, Tier.AUDITED, groups=3),
        entry("open-one", HIGH, Tier.REPRODUCED, division="open"),
    ]
    told = [
        (
            each.division,
            each.is_verified,
            each.coverage,
            [(one.on_suite.system.name, str(one.place)) for one in each.entries],
        )
        for each in sections(entries(found))
    ]
    assert told == [
        ("closed", True, "ranked", [("reproduced", "1"), ("audited", "2")]),
        ("closed", True, "few_seeds", [("audited-three", "None")]),
        ("closed", True, "fewer_groups", [("audited-partly", "None")]),
        ("closed", False, "ranked", [("recorded", "3-4"), ("recorded-too", "3-4"), ("a-liar", "5")]),
        ("open", True, "ranked", [("open-one", "1")]),
    ]


@pytest.mark.slow
def test_whatever_the_scores_and_the_tiers_no_unverified_system_stands_above_a_verified_one() -> None:
    found = [
        entry(f"{tier}-{right[0]}".replace(" ", "-"), right, tier)
        for tier, right in itertools.product(Tier, (LOW, HIGH, [5, 6, 7]))
    ]
    in_order = [each for section in sections(entries(found)) for each in section.entries]
    assert len(in_order) == len(found)
    verified = [each.on_suite.tier.is_verified for each in in_order]
    assert verified == sorted(verified, reverse=True)
